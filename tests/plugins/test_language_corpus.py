"""Reading corpora: windows, spec, fingerprints, tokens of others, and what is wrong with shards and options."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from harness import CorruptFile, DataMissing, UserError
from harness.testing import check_benchmark
from harness_language.corpora.manifest import Manifest
from harness_language.corpora.windows import ShardWindows
from harness_language.corpus import Corpus, CorpusOptions
from harness_language.language import Windows

CPU = torch.device("cpu")


def corpus(path: Path | str, **options: object) -> Corpus:
    given = {"path": path, "tokenizer": "bytes", "context": 8, "name": "c", "workers": 1, **options}
    return Corpus(CorpusOptions.model_validate(given))


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def documents(data: Path) -> Path:
    path = data / "documents.jsonl"
    path.parent.mkdir()
    rng = np.random.default_rng(0)
    lines = [json.dumps({"text": f"document {i} " + "x" * int(rng.integers(50))}) for i in range(300)]
    path.write_text("\n".join(lines))
    return path


# --- windows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes",
    [[1000], [64, 64, 64], [100, 1, 2, 3, 200], [7, 7, 7, 7, 7], [1] * 60, [17, 16, 15], [9], [8], [], [200, 3]],
)
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_windows_cover_every_token_once(sizes: list[int], dtype: type) -> None:
    stream = np.arange(sum(sizes)) + 60_000
    shards = np.split(stream.astype(dtype), np.cumsum(sizes)[:-1]) if sizes else []
    expected = stream.astype(dtype).astype(np.int64)
    windows = ShardWindows(shards, 8, CPU)
    assert len(windows) == max(0, len(stream) - 1) // 8
    if len(windows):
        inputs, targets = windows.batch(torch.arange(len(windows)))
        assert inputs.dtype == targets.dtype == torch.int64
        assert inputs.is_contiguous() and targets.is_contiguous()
        assert inputs.flatten().tolist() == expected[: 8 * len(windows)].tolist()
        assert targets.flatten().tolist() == expected[1 : 8 * len(windows) + 1].tolist()


def test_windows_in_any_order_equal_those_in_memory() -> None:
    stream = np.random.default_rng(0).integers(0, 2**16, 5000).astype(np.uint16)
    many = ShardWindows(np.split(stream, [3, 1000, 1500, 1501, 4000]), 16, CPU)
    one = Windows(torch.from_numpy(stream.astype(np.int64)), 16)
    order = torch.randperm(len(one), generator=torch.Generator().manual_seed(0))
    order = torch.cat([order, order[:5]])
    for got, want in zip(many.batch(order), one.batch(order), strict=True):
        assert torch.equal(got, want)


# --- what it says --------------------------------------------------------------------------------


def test_contract(documents: Path) -> None:
    options = {"path": documents, "tokenizer": "bytes", "context": 8, "workers": 1, "name": "c", "shard_tokens": 1000}
    options |= {"validation_fraction": 0.2, "test_fraction": 0.2}
    Corpus(CorpusOptions.model_validate(options)).prepare()
    check_benchmark(Corpus, options)


def test_first_tokens_of_a_corpus_that_has_more(documents: Path) -> None:
    corpus(documents, shard_tokens=100).prepare()
    whole = corpus(documents)
    few = corpus(documents, tokens=1234)
    assert few.spec().examples == len(few.training_data(CPU)) == 1233 // 8
    assert whole.spec().examples == len(whole.training_data(CPU)) > 500
    rows = torch.arange(1233 // 8)
    assert torch.equal(few.training_data(CPU).batch(rows)[1], whole.training_data(CPU).batch(rows)[1])


def test_spec_needs_the_manifest_only(documents: Path, data: Path) -> None:
    benchmark = corpus(documents)
    benchmark.prepare()
    for path in [documents, *(data / "corpora" / "c").glob("*.bin")]:
        path.unlink()
    again = corpus(documents)
    assert again.spec() == benchmark.spec()
    assert again.fingerprint() == benchmark.fingerprint()
    with pytest.raises(DataMissing, match=r"train_00000.bin does not exist.*harness data prepare"):
        again.training_data(CPU)


def test_validation_and_test_scores_are_those_of_their_bytes(documents: Path, data: Path) -> None:
    benchmark = corpus(documents, eval_tokens=None, validation_fraction=0.3, test_fraction=0.2)
    benchmark.prepare()
    logits = torch.randn(256, generator=torch.Generator().manual_seed(0))
    for split in ("validation", "test"):
        scores = benchmark.evaluate(lambda inputs: logits.expand(*inputs.shape, 256), split, CPU)
        scored = np.frombuffer((data / f"corpora/c/{split}_00000.bin").read_bytes(), np.uint16)[1:]
        log_probability = logits.double().log_softmax(0).numpy()
        assert scores["loss"].n == len(scored)
        assert scores["loss"].value == pytest.approx(-log_probability[scored].mean(), rel=1e-6)
        assert scores["bits_per_byte"].value == pytest.approx(scores["loss"].value / math.log(2))


def test_fingerprint_is_of_the_content(documents: Path) -> None:
    first, again = corpus(documents), corpus(documents, name="other", validation_tokens=10**6)
    changed = corpus(documents, name="changed")
    first.prepare()
    again.prepare()
    assert first.fingerprint() == again.fingerprint()
    documents.write_text(documents.read_text().replace("document 7 ", "document seven "))
    changed.prepare()
    assert changed.fingerprint() != first.fingerprint()


def test_not_prepared(documents: Path) -> None:
    benchmark = corpus(documents)
    for action in (benchmark.spec, benchmark.fingerprint, lambda: benchmark.training_data(CPU)):
        with pytest.raises(DataMissing, match=r"'c' is not prepared in .*harness data prepare.*HARNESS_DATA"):
            action()
    assert [path.name for path in benchmark.files()] == ["manifest.json"]


def test_allow_repeat_is_no_part_of_the_data(documents: Path) -> None:
    assert corpus(documents).allow_repeat is False
    assert corpus(documents, allow_repeat=True).allow_repeat is True
    assert CorpusOptions.model_fields["allow_repeat"].json_schema_extra == {"hashed": False}


# --- what can be wrong ---------------------------------------------------------------------------


def test_tokenizer_that_does_not_match(documents: Path, data: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?")).save(str(data / "other.json"))
    corpus(documents).prepare()
    for action in (lambda c: c.spec(), lambda c: c.prepare()):
        with pytest.raises(UserError, match=r"the tokenizer bytes, but `tokenizer: other.json` is tokenizers:.*`name`"):
            action(corpus(documents, tokenizer="other.json"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"validation_fraction": 0.1}, "`validation_fraction: 0.005`, but 0.1 is asked for"),
        ({"tokens": 2000}, "`tokens: 1000`, but 2000 is asked for"),
        ({"tokens": None}, "`tokens: 1000`, but everything is asked for"),
        ({"separator": "##"}, "`separator"),
    ],
)
def test_options_other_than_it_was_prepared_with(documents: Path, options: dict[str, object], said: str) -> None:
    corpus(documents, tokens=1000).prepare()
    with pytest.raises(UserError, match=said):
        corpus(documents, **{"tokens": 1000, **options}).spec()


def test_damaged_shard_is_named(documents: Path, data: Path) -> None:
    benchmark = corpus(documents, shard_tokens=1000)
    benchmark.prepare()
    assert benchmark.verify() == []
    shard = data / "corpora/c/train_00002.bin"
    content = bytearray(shard.read_bytes())
    content[99] ^= 1
    shard.write_bytes(content)
    problems = benchmark.verify()
    assert len(problems) == 1 and "train_00002.bin is damaged" in problems[0] and "SHA-256" in problems[0]
    shard.write_bytes(content[:-2])
    assert "has 1998 bytes and should have 2000" in benchmark.verify()[0]
    with pytest.raises(CorruptFile, match=r"train_00002.bin has 1998 bytes"):
        benchmark.training_data(CPU)
    benchmark.prepare()
    assert benchmark.verify() == []


def test_damaged_manifest(documents: Path, data: Path) -> None:
    corpus(documents).prepare()
    manifest = data / "corpora/c/manifest.json"
    manifest.write_text(manifest.read_text()[:100])
    with pytest.raises(CorruptFile, match=r"manifest.json is no manifest"):
        corpus(documents).spec()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "either `dataset` or `path`"),
        ({"dataset": "pile", "path": "x"}, "either `dataset` or `path`"),
        ({"dataset": "openwebtxt"}, "Did you mean 'openwebtext'"),
        ({"dataset": "a/b", "test_path": "x"}, "go with `path`"),
        ({"path": "x", "validation_fraction": 0.5, "test_fraction": 0.5}, "must be below 1"),
        ({"path": "x", "name": "../up"}, "pattern"),
        ({"path": "x", "tokenizer": "gpt5"}, "must be bytes, one of"),
    ],
)
def test_wrong_options(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CorpusOptions.model_validate(options)


def test_known_corpora_bring_their_options() -> None:
    wikitext = CorpusOptions(dataset="wikitext_103")
    assert (wikitext.config, wikitext.test_split) == ("wikitext-103-raw-v1", "test")
    assert CorpusOptions(dataset="fineweb_100m", tokens=5).tokens == 5
    from harness_language.corpora.well_known import FineWeb100M

    benchmark = FineWeb100M(FineWeb100M.Options())
    assert (benchmark.name, benchmark.options.tokens) == ("fineweb_100m", 100_000_000)


def test_folders_of_local_corpora_differ() -> None:
    names = {corpus(path, name=None).name for path in ("a/part_*.txt.gz", "b/part_*.txt.gz", "a")}
    assert len(names) == 3
    assert all(name.replace("-", "").replace("_", "").isalnum() for name in names)


def test_too_few_tokens(documents: Path) -> None:
    corpus(documents, tokens=8).prepare()
    with pytest.raises(UserError, match=r"8 training bytes are not enough for one window of context \+ 1 = 9"):
        corpus(documents, tokens=8).spec()


# --- tokens of others ----------------------------------------------------------------------------


def llm_c(path: Path, tokens: np.ndarray, magic: int = 20240520, version: int = 1, count: int | None = None) -> None:
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, len(tokens) if count is None else count
    path.write_bytes(header.tobytes() + tokens.astype("<u2").tobytes())


def bins(folder: Path, **options: object) -> Corpus:
    return corpus(folder, tokenizer="gpt2.json", **options)


@pytest.fixture
def tokens(data: Path) -> np.ndarray:
    from tokenizers import Tokenizer, models

    (data / "bins").mkdir(parents=True)
    vocabulary = {str(i): i for i in range(60_000)}
    Tokenizer(models.WordLevel(vocabulary, unk_token="0")).save(str(data / "gpt2.json"))
    return np.random.default_rng(0).integers(0, 60_000, 1000)


def test_nanogpt_files_are_read_as_they_are(data: Path, tokens: np.ndarray) -> None:
    tokens[:900].astype(np.uint16).tofile(data / "bins/train.bin")
    tokens[900:].astype(np.uint16).tofile(data / "bins/val.bin")
    before = {path: path.read_bytes() for path in (data / "bins").iterdir()}
    benchmark = bins(Path("bins"))
    benchmark.prepare(download=False)
    assert {path: path.read_bytes() for path in (data / "bins").iterdir()} == before
    assert benchmark.spec().examples == 899 // 8
    rows = torch.arange(899 // 8)
    assert benchmark.training_data(CPU).batch(rows)[1].flatten().tolist() == tokens[1 : 899 // 8 * 8 + 1].tolist()
    assert benchmark.splits()["validation"].tolist() == tokens[900:950].tolist()
    assert benchmark.splits()["test"].tolist() == tokens[950:].tolist()
    assert benchmark.verify() == []
    (data / "bins").rename(data / "moved")
    moved = bins(Path("moved"))
    assert moved.fingerprint() == benchmark.fingerprint()
    assert len(moved.training_data(CPU)) == 112


def test_llm_c_shards_are_read_as_they_are(data: Path, tokens: np.ndarray) -> None:
    llm_c(data / "bins/fineweb_train_000001.bin", tokens[:100])
    llm_c(data / "bins/fineweb_train_000002.bin", tokens[100:800])
    llm_c(data / "bins/fineweb_val_000000.bin", tokens[800:])
    benchmark = bins(Path("bins"), eval_tokens=30)
    benchmark.prepare()
    inputs, _ = benchmark.training_data(CPU).batch(torch.arange(99))
    assert inputs.flatten().tolist() == tokens[:792].tolist()
    assert benchmark.splits()["validation"].tolist() == tokens[800:831].tolist()
    assert benchmark.splits()["test"].tolist() == tokens[900:931].tolist()
    manifest = Manifest.read(data / "corpora/c")
    assert manifest is not None and manifest.splits["train"].shards[0].bytes == 1024 + 200
    llm_c(data / "bins/fineweb_train_000002.bin", tokens[200:900])
    assert "fineweb_train_000002.bin is damaged" in benchmark.verify()[0]


def test_wrong_token_files(data: Path, tokens: np.ndarray) -> None:
    train = data / "bins/train.bin"
    llm_c(train, tokens, count=999)
    with pytest.raises(CorruptFile, match=r"3024 bytes, but 999 tokens by its header"):
        bins(Path("bins")).prepare()
    llm_c(train, tokens, version=7)
    with pytest.raises(UserError, match="version 7; only version 1"):
        bins(Path("bins")).prepare()
    train.write_bytes(b"abc")
    with pytest.raises(CorruptFile, match="no uint16 tokens"):
        bins(Path("bins")).prepare()
    tokens.astype(np.uint16).tofile(train)
    with pytest.raises(UserError, match=r"holds token \d+, but the tokenizer 'bytes' has only 256"):
        corpus("bins").prepare()
    train.rename(data / "bins/validation.bin")
    with pytest.raises(DataMissing, match=r"no \.bin file with 'train'"):
        bins(Path("bins")).prepare()
    assert not (data / "corpora/c/manifest.json").exists()


# --- splits without documents --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"test_fraction": 0}, r"0 bytes\. Too few documents .*: raise `test_fraction` from 0, or give `test_path`"),
        (
            {"validation_path": "one.txt"},
            r"0 bytes\. Too few validation documents .*: give more of them, or `test_path`",
        ),
        ({"test_path": "one.txt"}, r"1 bytes\. Give `test_path` more text"),
    ],
)
def test_nothing_to_test_on(documents: Path, data: Path, options: dict[str, object], said: str) -> None:
    (data / "one.txt").write_text("3")  # a document for validation, where it is to be halved
    made = corpus(documents, **options)
    made.prepare()
    for action in (lambda: made.examples("test"), lambda: made.evaluate(lambda x: x, "test", CPU)):
        with pytest.raises(UserError, match=rf"the test split has {said}"):
            action()
    assert made.spec().examples > 100, "it can be trained on"


def test_number_of_scored_tokens(documents: Path) -> None:
    made = corpus(documents, validation_fraction=0.2, test_fraction=0.2, eval_tokens=50)
    made.prepare()
    assert (made.examples("validation"), made.examples("test")) == (50, 50)
    whole = corpus(documents, validation_fraction=0.2, test_fraction=0.2, eval_tokens=None)
    assert whole.examples("test") == whole.manifest.splits["test"].tokens - 1
    assert corpus(documents, name="d", validation_fraction=0).folder != made.folder
    none = corpus(documents, name="d", validation_fraction=0, test_fraction=0.2)
    none.prepare()
    assert none.examples("validation") == 0 and none.evaluate(lambda x: x, "validation", CPU) == {}


def test_what_a_corpus_will_take_on_disk() -> None:
    def expected(**options: Any) -> int | None:
        return Corpus(CorpusOptions(**options)).disk_bytes()

    assert expected(dataset="openwebtext") == 18_000_000_000
    assert expected(dataset="openwebtext", tokens=1000) == 2000
    assert expected(dataset="openwebtext", tokens=1000, tokenizer="cl100k_base") == 4000
    assert expected(dataset="owner/name") is None
