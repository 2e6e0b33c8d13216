"""The text benchmark: splits, fingerprints, tokenizers."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from harness import DataMissing, UserError
from harness.testing import check_benchmark
from harness_language.no_training import NoTraining, NoTrainingOptions
from harness_language.splits import share
from harness_language.text import Text, TextOptions
from harness_language.tokenizers import encoding_files

CPU = torch.device("cpu")


def text(path: Path, **options: object) -> Text:
    return Text(TextOptions.model_validate({"path": path, "context": 4, **options}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "corpus"
    for i in range(60):
        path = root / f"part{i % 3}" / f"{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"document number {i}\n")
    (root / ".hidden").write_text("not this")
    (root / "empty.txt").touch()
    return root


def parts(benchmark: Text) -> dict[str, bytes]:
    return {name: tokens.tobytes() for name, tokens in benchmark.splits().items()}


@pytest.mark.parametrize("place", ["", "part0/0.txt"])
def test_contract(folder: Path, place: str) -> None:
    (folder / "part0" / "0.txt").write_text("to be or not to be" * 9)
    check_benchmark(Text, {"path": folder / place, "context": 8})


def test_one_file_is_cut_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(bytes(range(100)))
    benchmark = text(tmp_path / "a.txt", validation_fraction=0.2, test_fraction=0.1)
    assert parts(benchmark) == {
        "train": bytes(range(70)),
        "validation": bytes(range(70, 90)),
        "test": bytes(range(90, 100)),
    }
    assert benchmark.spec().examples == 69 // 4


def test_cuts_never_part_a_character(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("€" * 33)
    split = parts(text(tmp_path / "a.txt"))
    assert "".join(part.decode() for part in split.values()) == "€" * 33
    assert len(split["test"]) == 12, "0.9 * 99 = 89 bytes, moved back to 87"


def test_no_validation_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 100)
    benchmark = text(tmp_path / "a.txt", validation_fraction=0)
    assert {name: len(part) for name, part in parts(benchmark).items()} == {"train": 90, "validation": 0, "test": 10}
    assert benchmark.evaluate(lambda x: torch.zeros(*x.shape, 256), "validation", CPU) == {}


def test_documents_go_by_the_hash_of_their_content(folder: Path) -> None:
    expected = {"train": b"", "validation": b"", "test": b""}
    documents = [f"document number {i}\n".encode() for i in range(60)]
    for document in sorted(documents, key=lambda d: hashlib.sha256(d).digest()):
        place = int(hashlib.sha256(document).hexdigest(), 16) / 2**256
        expected["validation" if place < 0.3 else "test" if place < 0.5 else "train"] += document
    assert parts(text(folder, validation_fraction=0.3, test_fraction=0.2)) == expected
    assert all(expected.values())


def test_fingerprint_is_of_the_content_alone(folder: Path, tmp_path: Path) -> None:
    before, split = text(folder).fingerprint(), parts(text(folder))
    moved = folder.rename(tmp_path / "elsewhere")
    (moved / "part0" / "0.txt").rename(moved / "renamed.md")
    assert text(moved).fingerprint() == before
    assert parts(text(moved)) == split
    (moved / "part1" / "1.txt").write_text("document number one\n")
    assert text(moved).fingerprint() != before
    field = TextOptions.model_fields["path"]
    assert field.json_schema_extra == {"hashed": False}


def test_a_tokenizers_file_that_was_rewritten(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))

    def write(*words: str) -> None:
        coder = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[0]))
        coder.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        coder.save(str(tmp_path / "words.json"))

    made = text(folder, tokenizer="words.json"), NoTraining(NoTrainingOptions(tokenizer="words.json"))
    write("?", "document")
    before, tokens = [benchmark.fingerprint() for benchmark in made], made[0].splits()["train"]
    assert [benchmark.fingerprint() for benchmark in made] == before
    write("document", "number", "?")
    assert all(now != then for now, then in zip([m.fingerprint() for m in made], before, strict=True))
    assert set(tokens.tolist()) == {0, 1} and set(made[0].splits()["train"].tolist()) == {0, 1}
    assert made[0].splits()["train"].tolist() != tokens.tolist() and made[0].vocabulary() == 3
    assert NoTraining(NoTrainingOptions()).fingerprint() == "1", "as it was: an encoding's name says all"


def test_relative_paths_are_in_the_data_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(folder.parent))
    assert text(Path("corpus")).fingerprint() == text(folder).fingerprint()
    assert text(Path("corpus")).files() == [folder]


def test_missing_and_empty_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    for action in (lambda t: t.spec(), lambda t: t.prepare(), lambda t: t.fingerprint()):
        with pytest.raises(DataMissing, match=rf"{tmp_path}/no does not exist.*HARNESS_DATA"):
            action(text(Path("no")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataMissing, match="holds no text"):
        text(Path("empty")).spec()


@pytest.mark.parametrize(
    "wrong", [{}, {"validation_fraction": 0.5, "test_fraction": 0.5}, {"tokenizer": "gpt5"}, {"test_fraction": 0}]
)
def test_wrong_options(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TextOptions.model_validate({**({"path": "x"} if wrong else {}), **wrong})


def test_missing_tokenizer_is_not_downloaded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    benchmark = text(folder, tokenizer="cl100k_base")
    for action in (benchmark.spec, lambda: benchmark.prepare(download=False)):
        with pytest.raises(DataMissing, match=r"'cl100k_base' needs 9b5ad71b2ce5302211f9c61530b329a4922fc6a4 in"):
            action()
    assert "9b5ad71b2ce5302211f9c61530b329a4922fc6a4" in str(benchmark.files()[1])


@pytest.fixture
def gpt2() -> None:
    if "TIKTOKEN_CACHE_DIR" not in os.environ or not all(path.is_file() for path in encoding_files("gpt2")):
        pytest.skip("set TIKTOKEN_CACHE_DIR to a folder with the files of gpt2")


@pytest.mark.usefixtures("gpt2")
def test_tokens_and_bits_per_byte(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello world<|endoftext|>hello world" * 10)
    benchmark = text(tmp_path / "a", tokenizer="gpt2", validation_fraction=0.2, test_fraction=0.5)
    tokens = benchmark.splits()["test"].tolist()
    assert tokens[:5] == [31373, 995, 50256, 31373, 995]
    assert benchmark.spec().outputs == 50257
    scores = benchmark.evaluate(lambda x: torch.zeros(*x.shape, 50257), "test", CPU)
    assert scores["loss"].value == pytest.approx(math.log(50257), rel=1e-6)
    assert scores["loss"].n == len(tokens) - 1
    scored_bytes = len("hello world" * 10) - len("hello")
    assert scores["bits_per_byte"].n == scored_bytes
    assert scores["bits_per_byte"].value == pytest.approx((len(tokens) - 1) * math.log2(50257) / scored_bytes, rel=1e-6)
    assert [metric.unit for metric in benchmark.metrics] == ["nats/token", "bits/byte"]
    assert "gpt2" in benchmark.protocol


def test_documents_of_bytes_are_files(folder: Path, tmp_path: Path) -> None:
    """Each ends in its only line end."""
    benchmark = text(folder, validation_fraction=0.3, test_fraction=0.2)
    for split, content in parts(benchmark).items():
        documents = benchmark.documents(split)
        assert documents is not None and len(documents) == len(content)
        assert documents.tolist() == [content[:i].count(b"\n") for i in range(len(content))]
    (tmp_path / "one.txt").write_text("a single document")
    assert text(tmp_path / "one.txt").documents("test") is None


@pytest.mark.usefixtures("gpt2")
def test_documents_are_divided_by_end_of_text(folder: Path) -> None:
    tokens = text(folder, tokenizer="gpt2").splits()["train"].tolist()
    documents = text(folder).splits()["train"].tobytes().count(b"\n")
    assert tokens.count(50256) == documents - 1


@pytest.mark.usefixtures("gpt2")
def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"caf\xe9 " * 20)
    with pytest.raises(UserError, match=r"not all UTF-8.*tokenizer: bytes"):
        text(tmp_path / "a", tokenizer="gpt2").spec()


def test_share_by_thresholds() -> None:
    at = [share(int(x * 2**64).to_bytes(8, "big"), 0.25, 0.5) for x in (0.0, 0.249, 0.25, 0.749, 0.75, 0.999)]
    assert at == ["validation", "validation", "test", "test", "train", "train"]
