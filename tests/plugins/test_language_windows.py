"""Windows, scores and texts of the language benchmarks, and the standard library as text."""

from __future__ import annotations

import hashlib
import math
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import Measurement, UserError
from harness.testing import check_benchmark
from harness_language import language
from harness_language.language import LanguageBenchmark, LanguageOptions, Tokens, Windows
from harness_language.python_stdlib import PythonStdlib, PythonStdlibOptions

CPU = torch.device("cpu")
TABLE = torch.randn(256, 256, generator=torch.Generator().manual_seed(1))


def causal(inputs: torch.Tensor) -> torch.Tensor:
    """Logits from the sum of the embeddings of everything up to here."""
    return TABLE[inputs].cumsum(dim=1)


class Fixed(LanguageBenchmark[LanguageOptions]):
    tokens = np.random.default_rng(5).integers(0, 256, 103).astype(np.uint8)

    def splits(self) -> Mapping[str, Tokens]:
        return {"train": self.tokens, "validation": self.tokens[:1], "test": self.tokens}


def reference(tokens: list[int], context: int) -> list[list[float]]:
    """Loss of every token but the first, by window, one at a time in float64."""
    table = TABLE.double().tolist()
    windows: list[list[float]] = []
    for position in range(1, len(tokens)):
        start = (position - 1) // context * context
        if position - 1 == start:
            windows.append([])
        z = [sum(table[t][v] for t in tokens[start:position]) for v in range(256)]
        top = max(z)
        windows[-1].append(top + math.log(math.fsum(math.exp(x - top) for x in z)) - z[tokens[position]])
    return windows


def test_contract() -> None:
    check_benchmark(PythonStdlib)


def test_windows_overlap_by_one() -> None:
    data = Windows(torch.arange(11, dtype=torch.uint8), 3)
    assert len(data) == 3
    inputs, targets = data.batch(torch.tensor([2, 0]))
    assert inputs.tolist() == [[6, 7, 8], [0, 1, 2]]
    assert targets.tolist() == [[7, 8, 9], [1, 2, 3]]
    assert inputs.dtype == targets.dtype == torch.int64
    assert targets.is_contiguous()
    assert [len(Windows(torch.arange(n), 3)) for n in (0, 1, 3, 4, 6, 7)] == [0, 0, 0, 1, 1, 2]


@pytest.mark.parametrize("logits_at_once", [256, 256 * 15, 2**26])
@pytest.mark.parametrize("cap", [None, 23, 102, 1000])
def test_every_token_is_scored_once(cap: int | None, logits_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "_LOGITS", logits_at_once)
    scores = Fixed(LanguageOptions(context=5, eval_tokens=cap)).evaluate(causal, "test", CPU)
    n = min(cap or 102, 102)
    windows = reference(Fixed.tokens[: n + 1].tolist(), 5)
    mean = math.fsum(map(math.fsum, windows)) / n
    assert scores["loss"].n == scores["bits_per_byte"].n == n
    assert scores["loss"].value == pytest.approx(mean, rel=1e-6)
    assert scores["bits_per_byte"].value == pytest.approx(mean / math.log(2), rel=1e-6)
    squares = sum((math.fsum(w) - mean * len(w)) ** 2 for w in windows)
    stderr = math.sqrt(len(windows) / (len(windows) - 1) * squares) / n
    assert scores["loss"].stderr == pytest.approx(stderr, rel=1e-5)
    assert scores["bits_per_byte"].stderr == pytest.approx(stderr / math.log(2), rel=1e-5)


def test_uniform_logits_cost_eight_bits_a_byte() -> None:
    scores = Fixed(LanguageOptions(context=7)).evaluate(lambda x: torch.zeros(*x.shape, 256), "test", CPU)
    assert scores["bits_per_byte"].value == pytest.approx(8, abs=1e-6)
    assert isinstance(scores["bits_per_byte"].value, float)


def test_standard_error_of_equal_windows_is_that_of_their_means() -> None:
    means = np.array([1.0, 2.0, 4.0, 9.0])
    measured = Measurement.ratio(torch.tensor(means * 10), torch.full((4,), 10))
    assert measured.value == pytest.approx(4)
    assert measured.n == 40
    assert measured.stderr == pytest.approx(means.std(ddof=1) / 2)
    assert Measurement.ratio(torch.tensor([3.0]), torch.tensor([2])).stderr is None


class Documents(Fixed):
    """Token 7 ends a document."""

    tokens = np.array([1, 7, 3, 2, 5, 7, 7, 9, 4, 7, 8], dtype=np.uint8)

    def end(self) -> int:
        return 7

    def token_bytes(self) -> np.ndarray:
        return np.where(np.arange(256) == 7, 0, np.arange(256) % 5 + 1)


@pytest.mark.parametrize("cap", [None, 7])
def test_results_are_kept_by_document(cap: int | None) -> None:
    """An end belongs to the document that it ends; the first token is not scored."""
    scores = Documents(LanguageOptions(context=3, eval_tokens=cap)).evaluate(causal, "test", CPU)
    losses = [loss for window in reference(Documents.tokens.tolist(), 3) for loss in window]
    parts = [slice(0, 1), slice(1, 5), slice(5, 6), slice(6, 9), slice(9, 10)]
    if cap:
        losses, parts = losses[:cap], parts[:4]
    found = scores["loss"].examples
    assert found is not None and found.sizes is not None and found.unit == "document"
    assert found.values == pytest.approx([sum(losses[part]) for part in parts], rel=1e-5)
    assert found.sizes.tolist() == [len(losses[part]) for part in parts]
    assert found.value == pytest.approx(scores["loss"].value, rel=1e-12)
    stood_for = Documents(LanguageOptions()).token_bytes()[Documents.tokens[1:]][: len(losses)]
    bits = scores["bits_per_byte"].examples
    assert bits is not None and bits.sizes is not None
    assert bits.sizes.tolist() == [stood_for[part].sum() for part in parts]
    assert bits.value == pytest.approx(scores["bits_per_byte"].value, rel=1e-12)


def test_without_documents_results_are_kept_by_window() -> None:
    for benchmark in (Fixed, type("OneDocument", (Documents,), {"tokens": Fixed.tokens[Fixed.tokens != 7]})):
        found = benchmark(LanguageOptions(context=5)).evaluate(causal, "test", CPU)["loss"].examples
        assert found is not None and found.unit == "window"


def test_documents_of_the_library_are_its_files() -> None:
    library = PythonStdlib(PythonStdlib.Options())
    for split, tokens in library.splits().items():
        if split != "train":
            documents = library.documents(split)
            assert len(documents) == len(tokens) and documents[-1] > 10 and (np.diff(documents) >= 0).all()


def test_empty_validation_has_no_metrics() -> None:
    assert Fixed(LanguageOptions(context=5)).evaluate(causal, "validation", CPU) == {}


def test_too_little_text() -> None:
    assert Fixed(LanguageOptions(context=102)).spec().examples == 1
    with pytest.raises(UserError, match=r"103 training bytes .* context \+ 1 = 104"):
        Fixed(LanguageOptions(context=103)).spec()


def test_protocols_name_what_changes_the_score() -> None:
    protocols = {Fixed(LanguageOptions(context=c, eval_tokens=e)).protocol for c in (5, 6) for e in (None, 10, 20)}
    assert len(protocols) == 6
    assert Fixed(LanguageOptions()).metrics[0].unit == "nats/byte"


def test_library_splits_are_files_by_the_hash_of_their_path() -> None:
    benchmark = PythonStdlib(PythonStdlibOptions(train_bytes=None))
    root = Path(sysconfig.get_path("stdlib"))
    packages = [p for p in root.iterdir() if p.is_dir() and "-packages" not in p.name]
    found = [path for package in packages for path in package.rglob("*.py")] + list(root.glob("*.py"))
    files = {
        hashlib.sha256(path.relative_to(root).as_posix().encode()).hexdigest(): path
        for path in found
        if not {"test", "tests", "idle_test", "encodings", "pydoc_data"} & set(path.relative_to(root).parts)
        and not path.name.startswith("_sysconfigdata")
    }
    expected = {"train": b"", "validation": b"", "test": b""}
    for digest in sorted(files):
        tenth = int(int(digest, 16) * 10 / 2**256)
        expected[{0: "validation", 1: "test"}.get(tenth, "train")] += files[digest].read_bytes()
    assert {name: tokens.tobytes() for name, tokens in benchmark.splits().items()} == expected
    assert min(map(len, expected.values())) > 300_000


def test_library_spec_and_fingerprint_follow_the_caps() -> None:
    default = PythonStdlib(PythonStdlibOptions())
    spec = default.spec()
    assert (spec.kind, spec.inputs, spec.outputs, spec.examples) == ("language", (64,), 256, 1_999_999 // 64)
    assert len(default.training_data(CPU)) == spec.examples
    small = PythonStdlib(PythonStdlibOptions(train_bytes=1000))
    assert small.splits()["train"].tobytes() == default.splits()["train"].tobytes()[:1000]
    prints = [
        PythonStdlib(PythonStdlibOptions(**options)).fingerprint()
        for options in ({}, {}, {"train_bytes": 1000}, {"eval_tokens": 1000})
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
