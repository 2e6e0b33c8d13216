"""IMDB: a few reviews written here, and the real ones where there are any."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from harness import CorruptFile, DataMissing
from harness.errors import StorageError
from harness.testing import check_benchmark
from harness_benchmarks import review_ids
from harness_benchmarks.imdb import ImdbSentiment, ImdbSentimentOptions
from harness_benchmarks.reviews import LINE_BREAK, Review, content, read_reviews, write_reviews
from harness_benchmarks.splits import interleaved
from harness_benchmarks.texts import Texts
from harness_benchmarks.word_pieces import BERT, WordPieces, vocabulary_file

CPU = torch.device("cpu")
REAL = Path(os.environ.get("HARNESS_DATA", "~/.cache/harness/data")).expanduser()


def reviews(count: int, seed: int) -> list[Review]:
    """Half of them for the film; of different lengths, with commas, quotes and line ends; two that come twice."""
    random = np.random.default_rng(seed)
    words = ["good", "bad", 'a "plot"', "film, really", "so\nlong", "<br />", "é"]
    made = [(" ".join(random.choice(words, size=1 + i % 17)) + f" {seed} {i}", i % 2) for i in range(count - 2)]
    return [*made, made[0], made[1]]


def without_breaks(made: list[Review]) -> list[Review]:
    return [(text.replace(LINE_BREAK, ""), label) for text, label in made]


TRAIN, TEST = reviews(200, 1), reviews(60, 2)
TWICE = {TRAIN[0], TRAIN[1]}
# A copy that has lost its markup, and has one review otherwise.
COPY = [("good !" if i == 5 else text, label) for i, (text, label) in enumerate(without_breaks(TRAIN))]


class Tiny(ImdbSentiment):
    sizes: ClassVar = (200, 60)
    content: ClassVar = ((content(TRAIN), content(COPY)), (content(TEST),))

    class Options(ImdbSentimentOptions):
        length: int = 24
        tokenizer: str = "bytes"
        validation_size: int = 40
        train_size: int | None = 160
        test_size: int = 60


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    write_reviews(tmp_path / "imdb/imdb_train.csv.gz", TRAIN)
    write_reviews(tmp_path / "imdb/imdb_test.csv.gz", TEST)
    return tmp_path / "imdb"


def tiny(**options: Any) -> Tiny:
    return Tiny(Tiny.Options(**options))


def words(data: Texts) -> list[tuple[bytes, int]]:
    ids, labels = data.batch(torch.arange(len(data)))
    return [(bytes(i for i in row.tolist() if i < 256), int(label)) for row, label in zip(ids, labels, strict=True)]


def test_contract(folder: Path) -> None:
    check_benchmark(Tiny)


def test_what_is_written_is_read(folder: Path) -> None:
    assert read_reviews(folder / "imdb_train.csv.gz") == TRAIN


def test_splits_are_fixed_disjoint_balanced_and_of_the_reviews_not_of_their_places(folder: Path) -> None:
    parts = {name: words(tiny()._split(name, CPU)) for name in ("train", "validation", "test")}
    assert [len(part) for part in parts.values()] == [160, 40, 60]
    cut = sorted((text.encode()[:24], label) for text, label in without_breaks(TRAIN))
    assert sorted(parts["train"] + parts["validation"]) == cut
    assert [sum(label for _, label in part) for part in parts.values()] == [80, 20, 30]
    write_reviews(folder / "imdb_train.csv.gz", TRAIN[::-1])
    assert words(tiny()._split("validation", CPU)) == parts["validation"]
    few = tiny(train_size=50, test_size=20)
    assert words(few._split("train", CPU)) == parts["train"][:50]
    assert words(few._split("test", CPU)) == parts["test"][:20]
    assert (
        few.protocol
        == "accuracy on 20 of the official test reviews, without line breaks, of their first 24 tokens (bytes)"
    )


def test_reviews_that_come_twice_are_not_held_out(folder: Path) -> None:
    whole = tiny(length=999, validation_size=190, train_size=10, line_breaks=True)
    found = [(text.decode(), label) for text, label in words(whole._split("validation", CPU))]
    assert not TWICE & set(found) and len(set(found)) == 190
    assert {(text.decode(), label) for text, label in words(whole._split("train", CPU))} > TWICE


def test_line_breaks_stay_only_where_they_are_asked_for(folder: Path) -> None:
    def held_out(**options: Any) -> list[Review]:
        data = tiny(length=999, **options)._split("validation", CPU)
        return [(text.decode(), label) for text, label in words(data)]

    plain, marked = held_out(), held_out(line_breaks=True)
    assert plain == without_breaks(marked), "the same ones"
    assert any(LINE_BREAK in text for text, _ in marked) and set(marked) <= set(TRAIN)
    assert "with line breaks" in tiny(line_breaks=True).protocol


def test_a_copy_without_markup_gives_the_same_splits_but_no_markup(folder: Path) -> None:
    before = {name: words(tiny()._split(name, CPU)) for name in ("train", "validation", "test")}
    write_reviews(folder / "imdb_train.csv.gz", COPY)
    assert tiny().verify() == []
    after = {name: words(tiny()._split(name, CPU)) for name in before}
    other = {name: set(before[name]) ^ set(after[name]) for name in before}
    assert len(other["train"]) + len(other["validation"]) <= 4, "the review that differs, and who stood behind it"
    assert other["test"] == set()
    with pytest.raises(CorruptFile, match=r"have lost their <br />: leave out line_breaks: true"):
        tiny(line_breaks=True).training_data(CPU)
    assert "have lost their <br />" in tiny(line_breaks=True).verify()[0]


def test_ids_are_made_once_for_all_that_they_depend_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(reviews: list[Review]) -> list[Review]:
        made.append(len(reviews))
        return ordered(reviews)

    ordered = review_ids.ordered
    monkeypatch.setattr(review_ids, "ordered", counted)
    found = words(tiny().training_data(CPU))
    for _ in range(2):
        assert words(tiny(train_size=100).training_data(CPU)) == found[:100]
    assert made == [200, 60]
    tiny(length=12).training_data(CPU)
    tiny(line_breaks=True).training_data(CPU)
    pieces = WordPieces("bytes", 24)
    pieces.identity = "another"
    review_ids.review_ids(tiny().files(), tiny()._official, pieces, False)
    write_reviews(folder / "imdb_train.csv.gz", TRAIN[::-1])
    assert words(tiny().training_data(CPU)) == found
    assert made == 5 * [200, 60] and len(list(folder.glob("ids_*.npz"))) == 5


def test_ids_that_are_damaged_are_made_anew(folder: Path) -> None:
    found = words(tiny().training_data(CPU))
    (kept,) = folder.glob("ids_*.npz")
    whole = kept.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-9], whole.replace(b"ids1", b"ids9"), b"no archive"):
        kept.write_bytes(damaged)
        assert words(tiny().training_data(CPU)) == found
        assert kept.stat().st_size == len(whole)


def test_a_folder_that_cannot_be_written_is_enough(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise StorageError("read-only")

    monkeypatch.setattr(review_ids, "write_atomic", refuse)
    assert len(tiny().training_data(CPU)) == 160 and not list(folder.glob("ids_*"))


def test_classes_alternate_in_the_order_that_they_have() -> None:
    assert interleaved(np.array([0, 0, 0, 1, 1, 1])).tolist() == [0, 3, 1, 4, 2, 5]


def test_a_batch_is_as_long_as_its_longest(folder: Path) -> None:
    data = tiny().training_data(CPU)
    short, long = int(data.lengths.argmin()), int(data.lengths.argmax())
    ids, labels = data.batch(torch.tensor([short, long]))
    assert ids.shape == (2, int(data.lengths.max())) and ids.dtype == labels.dtype == torch.int64
    assert (ids[0, int(data.lengths[short]) :] == 256).all() and not (ids[1] == 256).any()
    alone, label = data.batch(torch.tensor([short]))
    assert torch.equal(ids[0, : alone.shape[1]], alone[0]) and label[0] == labels[0]
    last = torch.tensor([len(data) - 1])
    assert data.batch(last)[0].shape[1] == int(data.lengths[-1])


def test_scores_are_in_the_benchmarks_order(folder: Path) -> None:
    benchmark = tiny()
    test = benchmark._split("test", CPU)
    seen: list[int] = []

    def model(inputs: torch.Tensor) -> torch.Tensor:
        seen.append(inputs.shape[1])
        first = inputs[:, 0].double() / 256
        return torch.stack([first, 1 - first], 1)

    benchmark.eval_batch_size = 7
    scores = benchmark.evaluate(model, "test", CPU)
    logits = model(test.batch(torch.arange(60))[0])
    right = (logits.argmax(1) == test.labels).double()
    assert scores["accuracy"].examples is not None
    assert np.array_equal(scores["accuracy"].examples.values, right.numpy())
    assert seen[:-1] == sorted(seen[:-1]) and seen[0] < seen[-2], "of like length together"
    assert tiny(validation_size=0).evaluate(model, "validation", CPU) == {}


def test_files_that_are_missing_or_others_are_named(folder: Path) -> None:
    table = folder / "imdb_test.csv.gz"
    write_reviews(table, TEST[:-1])
    assert "does not hold IMDB's 60 reviews" in tiny().verify()[0]
    with pytest.raises(CorruptFile, match=r"imdb_test\.csv\.gz does not hold"):
        tiny().training_data(CPU)
    for damaged in (b"no gzip", gzip.compress(b"text\nx\n"), gzip.compress(b'text,label\n"x,1\n'), b""):
        table.write_bytes(damaged)
        assert "imdb_test.csv.gz" in tiny().verify()[0]
    table.write_bytes(gzip.compress(b"text,label\ngood,2\n"))
    assert "is no gzipped table of text and label (0 or 1)" in tiny().verify()[0]
    table.unlink()
    assert "imdb_test.csv.gz is missing" in tiny().verify()[0]
    with pytest.raises(DataMissing, match=r"imdb_test\.csv\.gz not found in .*harness data prepare imdb_sentiment"):
        tiny().training_data(CPU)


def test_without_a_network_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    benchmark = ImdbSentiment(ImdbSentimentOptions())
    with pytest.raises(DataMissing, match=r"imdb_train\.csv\.gz.* not found.*put tables .*The download failed"):
        benchmark.prepare()
    assert benchmark.spec().vocabulary == 30_522, "known without files"
    assert not list((tmp_path / "imdb").glob("*"))


def test_another_vocabulary_is_refused(folder: Path) -> None:
    with pytest.raises(DataMissing, match=r"vocab\.txt does not exist"):
        WordPieces(BERT, 8).encode(["good"])
    vocabulary_file().parent.mkdir()
    vocabulary_file().write_text("[UNK]\ngood\n")
    with pytest.raises(CorruptFile, match="not the vocabulary of bert-base-uncased"):
        WordPieces(BERT, 8).encode(["good"])


def test_options_that_cannot_be() -> None:
    with pytest.raises(ValidationError, match=r"train_size 24000 is more than the 22500"):
        ImdbSentimentOptions(train_size=24_000)
    with pytest.raises(ValidationError, match="must be bert-base-uncased, bytes, one of gpt2"):
        ImdbSentimentOptions(tokenizer="bert")


@pytest.mark.skipif(
    not (REAL / "imdb").is_dir() or not (REAL / BERT).is_dir(), reason="IMDB or BERT's vocabulary is not here"
)
def test_the_real_reviews(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(REAL))
    options = {"train_size": 200, "validation_size": 100, "test_size": 300, "length": 64}
    check_benchmark(ImdbSentiment, options)
    data = ImdbSentiment(ImdbSentimentOptions(**options)).training_data(CPU)
    ids = data.batch(torch.arange(200))[0]
    assert (ids[:, 0] == 101).all() and int(data.lengths.max()) == 64  # [CLS]
    ends = ids.gather(1, data.lengths.unsqueeze(1) - 1)
    assert (ends == 102).all(), "[SEP], also where the text is cut"
    assert WordPieces(BERT, 16).encode(["Hello, WORLD! café"])[0].tolist() == [101, 7592, 1010, 2088, 999, 7668, 102]
