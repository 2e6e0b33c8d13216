"""The digits benchmark, and what all image benchmarks share."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits

from harness import Benchmark, CorruptFile
from harness.testing import check_benchmark
from harness_benchmarks import digits, harness_register_benchmarks
from harness_benchmarks.digits import Digits, DigitsOptions
from harness_benchmarks.splits import stratified_order

CPU = torch.device("cpu")


def linear(inputs: torch.Tensor) -> torch.Tensor:
    weight = torch.randn(10, 64, generator=torch.Generator().manual_seed(3))
    return inputs.flatten(1) @ weight.T


def test_registered_entries_exist() -> None:
    for entry in harness_register_benchmarks():
        module, name = str(entry.target).split(":")
        assert issubclass(getattr(import_module(module), name), Benchmark)


def test_listing_imports_neither_torch_nor_sklearn() -> None:
    code = (
        "import sys, harness_benchmarks as b; b.harness_register_benchmarks(); "
        "assert not {'torch', 'sklearn', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_contract() -> None:
    check_benchmark(Digits)


@pytest.mark.parametrize("how", ["standard", "unit"])
def test_what_goes_along_with_exports_makes_inputs_of_pixels(how: str) -> None:
    benchmark = Digits(DigitsOptions(normalize=how))
    data, told = benchmark.training_data(CPU), benchmark.preprocessing()["inputs"]
    inputs, _ = data.batch(torch.arange(20))
    made = data.pixels[:20].double() / 16
    if how == "standard":
        assert told["formula"] == "(pixels / 16 - mean) / deviation, a number a channel"
        made = (made - torch.tensor(told["mean"])) / torch.tensor(told["deviation"])
    else:
        assert told == {"formula": "pixels / 16"}
    torch.testing.assert_close(inputs.double(), made.double(), rtol=0, atol=1e-5)


def test_stratified_order_holds_classes_in_proportion_in_every_prefix() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    order = stratified_order(labels)
    assert sorted(order) == list(range(100))
    for k in range(1, 101):
        counts = [int((labels[order[:k]] == c).sum()) for c in range(3)]
        assert all(abs(count - k * share) <= 1 for count, share in zip(counts, (0.5, 0.3, 0.2), strict=True))
    first = [int(i) for i in order if i < 50]
    assert first != sorted(first), "order within a class is random"


def test_stratified_order_never_changes() -> None:
    assert stratified_order(np.array([0, 1, 0, 1, 0, 1, 0, 1])).tolist() == [6, 1, 2, 3, 4, 7, 0, 5]
    large = stratified_order(np.arange(60_000) % 10)
    assert hashlib.sha256(large.astype("<i8").tobytes()).hexdigest().startswith("3b6a2c000469b75c")


def test_digits_splits_are_disjoint_stratified_and_whole() -> None:
    benchmark = Digits(DigitsOptions(normalize="unit"))
    splits = {name: benchmark._split(name, CPU) for name in ("train", "validation", "test")}
    assert {name: len(split) for name, split in splits.items()} == {"train": 1257, "validation": 180, "test": 360}
    parts = [split.batch(torch.arange(len(split))) for split in splits.values()]
    found = torch.cat([images.flatten(1) for images, _ in parts])
    ours = sorted((*map(float, row), int(y)) for row, y in zip(found, torch.cat([y for _, y in parts]), strict=True))
    data = load_digits()
    assert ours == sorted((*(row / 16), int(y)) for row, y in zip(data.data, data.target, strict=True))
    for split in splits.values():
        shares = torch.bincount(split.labels) / len(split)
        assert torch.allclose(shares, torch.full((10,), 0.1), atol=0.012)


def test_digits_validation_is_cut_from_training_only() -> None:
    sets = [Digits(DigitsOptions(validation_size=n)) for n in (0, 300)]
    whole, cut = (s.training_data(CPU) for s in sets)
    assert (len(whole), len(cut)) == (1437, 1137) == tuple(s.spec().examples for s in sets)
    assert torch.equal(whole.pixels[300:], cut.pixels)
    assert torch.equal(whole.pixels[:300], sets[1]._split("validation", CPU).pixels)
    assert torch.equal(sets[0]._split("test", CPU).pixels, sets[1]._split("test", CPU).pixels)
    assert sets[0].evaluate(linear, "validation", CPU) == {}


def test_standard_normalisation_has_mean_zero_and_deviation_one() -> None:
    data = Digits(DigitsOptions(validation_size=0)).training_data(CPU)
    images, _ = data.batch(torch.arange(len(data)))
    assert images.shape == (1437, 1, 8, 8)
    assert images.dtype == torch.float32
    assert abs(float(images.double().mean())) < 1e-3
    assert abs(float(images.double().std()) - 1) < 1e-3


def test_batch_gathers_in_the_order_asked_for() -> None:
    data = Digits(DigitsOptions(normalize="unit")).training_data(CPU)
    images, labels = data.batch(torch.tensor([7, 2, 7]))
    for row, index in enumerate([7, 2, 7]):
        assert torch.equal(images[row, 0], data.pixels[index, 0] / 16)
        assert labels[row] == data.labels[index]


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_evaluation_against_a_loop(batch_size: int) -> None:
    benchmark = Digits(DigitsOptions())
    benchmark.eval_batch_size = batch_size  # type: ignore[misc]
    scores = benchmark.evaluate(linear, "validation", CPU)
    split = benchmark._split("validation", CPU)
    hits, losses = [], []
    for i in range(180):
        images, labels = split.batch(torch.tensor([i]))
        z = [float(x) for x in linear(images)[0]]
        y = int(labels)
        hits.append(z.index(max(z)) == y)
        losses.append(math.log(math.fsum(math.exp(x - z[y]) for x in z)))
    p, mean = sum(hits) / 180, math.fsum(losses) / 180
    assert scores["accuracy"].value == pytest.approx(p, abs=1e-12)
    assert scores["accuracy"].stderr == pytest.approx(math.sqrt(p * (1 - p) / 179))
    assert scores["loss"].value == pytest.approx(mean, rel=1e-6)
    variance = math.fsum((x - mean) ** 2 for x in losses) / 179
    assert scores["loss"].stderr == pytest.approx(math.sqrt(variance / 180), rel=1e-5)
    assert scores["loss"].n == scores["accuracy"].n == 180
    assert tuple(scores) == tuple(metric.name for metric in Digits.metrics)


def test_digits_verify_and_spec() -> None:
    benchmark = Digits(DigitsOptions())
    assert benchmark.verify() == ()
    spec = benchmark.spec()
    assert (spec.kind, spec.inputs, spec.outputs, spec.examples, spec.tokens) == (
        "classification",
        (1, 8, 8),
        10,
        1257,
        1,
    )


def test_other_digits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "_SHA256", "0" * 64)
    with pytest.raises(CorruptFile, match="scikit-learn's copy has other content than expected"):
        Digits(DigitsOptions()).training_data(CPU)


@pytest.mark.parametrize("wrong", [{"validation_size": -1}, {"validation_size": 1001}, {"normalise": "unit"}])
def test_wrong_options(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DigitsOptions.model_validate(wrong)
