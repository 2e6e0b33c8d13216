"""The diabetes benchmark, against scikit-learn's own loader and a loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_diabetes

from harness import CorruptFile
from harness.testing import check_benchmark
from harness_benchmarks import diabetes
from harness_benchmarks.diabetes import Diabetes, DiabetesOptions

CPU = torch.device("cpu")


def linear(inputs: torch.Tensor) -> torch.Tensor:
    weight = torch.randn(10, 1, generator=torch.Generator().manual_seed(3))
    return inputs @ weight


@pytest.mark.parametrize("validation_size", [42, 0])
def test_contract(validation_size: int) -> None:
    check_benchmark(Diabetes, {"validation_size": validation_size})


def test_splits_are_disjoint_and_whole_and_standardised_by_training_rows() -> None:
    benchmark = Diabetes(DiabetesOptions())
    parts = {name: benchmark._split(name, CPU)[0] for name in ("train", "validation", "test")}
    assert {name: len(part) for name, part in parts.items()} == {"train": 300, "validation": 42, "test": 100}
    found = np.concatenate([torch.cat([p.inputs, p.targets], 1).double().numpy() for p in parts.values()])
    assert np.abs(found[:300].mean(0)).max() < 1e-6 and np.abs(found[:300].std(0) - 1).max() < 1e-6
    data = load_diabetes(scaled=False)
    whole = np.column_stack([data.data, data.target])
    # What standardised it is recovered from two rows that differ: the largest and the smallest of each column.
    low, high = found.min(0), found.max(0)
    ours = (found - low) / (high - low) * (whole.max(0) - whole.min(0)) + whole.min(0)
    order = [np.lexsort(np.round(rows, 3).T) for rows in (ours, whole)]
    np.testing.assert_allclose(ours[order[0]], whole[order[1]], atol=1e-3)


def test_what_goes_along_with_exports_gives_the_numbers_again() -> None:
    benchmark = Diabetes(DiabetesOptions())
    patients, told = benchmark._split("test", CPU)[0], benchmark.preprocessing()
    raw = patients.inputs.double() * torch.tensor(told["inputs"]["deviation"]) + torch.tensor(told["inputs"]["mean"])
    points = patients.targets.double() * told["outputs"]["deviation"] + told["outputs"]["mean"]
    data = load_diabetes(scaled=False)
    whole, found = np.column_stack([data.data, data.target]), torch.cat([raw, points], 1).numpy()
    assert np.abs(found[:, None] - whole).max(2).min(1).max() < 1e-2, "each is one of the patients"


def test_validation_is_cut_from_training_only() -> None:
    some, more = (Diabetes(DiabetesOptions(validation_size=n)) for n in (0, 200))
    assert (some.spec().examples, more.spec().examples) == (342, 142)
    for name in ("inputs", "targets"):
        standard = [getattr(b._split("test", CPU)[0], name).double() for b in (some, more)]
        a, b = ((x - x.mean(0)) / x.std(0) for x in standard)
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    assert some.evaluate(linear, "validation", CPU) == {}


def test_evaluation_against_a_loop_in_points() -> None:
    benchmark = Diabetes(DiabetesOptions())
    scores = benchmark.evaluate(linear, "validation", CPU)
    patients, deviation = benchmark._split("validation", CPU)
    targets = load_diabetes(scaled=False).target
    assert 60 < deviation < 90 and abs(deviation - targets.std()) < 5
    predicted = [float(linear(row[None])[0, 0]) for row in patients.inputs]
    errors = [deviation * (p - float(t)) for p, t in zip(predicted, patients.targets[:, 0], strict=True)]
    mean = math.fsum(e * e for e in errors) / 42
    assert scores["mse"].value == pytest.approx(mean, rel=1e-5)
    assert scores["mae"].value == pytest.approx(math.fsum(map(abs, errors)) / 42, rel=1e-5)
    variance = math.fsum((e * e - mean) ** 2 for e in errors) / 41
    assert scores["mse"].stderr == pytest.approx(math.sqrt(variance / 42), rel=1e-5)
    assert scores["mse"].examples is not None
    assert scores["mse"].examples.values == pytest.approx([e * e for e in errors], rel=1e-4, abs=0.1)
    assert tuple(scores) == tuple(metric.name for metric in Diabetes.metrics)
    assert {metric.direction for metric in Diabetes.metrics} == {"min"}


def test_the_reference_is_the_mean_training_target() -> None:
    benchmark = Diabetes(DiabetesOptions(validation_size=0))
    rows = diabetes._load()[:, -1]
    order = diabetes.stratified_order(np.zeros(442, int))
    test, mean = rows[order[:100]], rows[order[100:]].mean()
    expected = math.fsum((t - mean) ** 2 for t in test) / 100
    assert benchmark.references(CPU) == {"the mean training target": pytest.approx(expected, rel=1e-6)}


def test_other_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diabetes, "_SHA256", "0" * 64)
    with pytest.raises(CorruptFile, match="diabetes: scikit-learn's copy has other content than expected"):
        Diabetes(DiabetesOptions()).training_data(CPU)


@pytest.mark.parametrize("wrong", [{"validation_size": -1}, {"validation_size": 201}, {"normalize": "unit"}])
def test_wrong_options(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DiabetesOptions.model_validate(wrong)
