"""Only what was declared and can be a number becomes a score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.core.benchmark import Benchmark, Measurement, Metric
from harness.core.examples import Examples
from harness.errors import BadScore
from harness.stages.scoring import checked


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nothing", r"Faulty.evaluate\('test'\) returned None; it must return a mapping"),
        ("no_mapping", "returned 0.5; it must return a mapping"),
        ("empty", "has no examples to score: returned no score"),
        ("misspelt", "unknown metric 'accurracy'. Did you mean 'accuracy'\\?"),
        ("more", "unknown metric 'time'.* Declare it in `metrics`"),
        ("less", "lacks the declared loss: returned accuracy"),
        ("number", r"\['accuracy'\] is 0.5; it must be a harness.Measurement"),
        ("text", r"\['accuracy'\] is '0.5', a str; it must be a number"),
        ("no_examples", "is over n = 0 examples; n must be a whole number of at least 1"),
        ("negative_examples", "is over n = -5 examples"),
        ("half_an_example", "is over n = 2.5 examples"),
        ("percent", r"\['accuracy'\] is 50; its unit is fraction, from 0 to 1"),
        ("negative_error", r"stderr of .* is -0.1, below 0"),
        ("all_nan", r"accuracy is nan \(not a number\), loss is inf \(too large to write down\): no score"),
        ("writes", "changed the network that it was to score"),
    ],
)
def test_what_is_no_score_fails_the_cell(lab, fault: str, message: str) -> None:
    with pytest.raises(BadScore, match=message):
        records_of(lab, fault)


@pytest.mark.parametrize(
    ("fault", "scores", "beyond"),
    [
        ("none", {"accuracy": 0.5, "loss": 1.0}, {}),
        ("infinite", {"accuracy": 0.5}, {"loss": "inf"}),
        ("huge", {"accuracy": 0.5}, {"loss": "-inf"}),
        ("nan", {"loss": 1.0}, {"accuracy": "nan"}),
        ("nan_error", {"accuracy": 0.5, "loss": 1.0}, {}),
        ("others_numbers", {"accuracy": 0.5, "loss": 1.0}, {}),
    ],
)
def test_finite_scores_stay(lab, fault: str, scores: dict[str, float], beyond: dict[str, str]) -> None:
    record = records_of(lab, fault)
    assert {name: metric["value"] for name, metric in record["metrics"].items()} == scores
    assert record["not_finite"] == beyond and record["status"] == "done"
    assert all(type(metric["n"]) is int and metric["n"] == 60 for metric in record["metrics"].values())
    error = {"nan_error": None, "others_numbers": 0.125}.get(fault)
    assert record["metrics"].get("accuracy", {}).get("stderr") == error
    assert list(record["metrics"]) == [name for name in ("accuracy", "loss") if name in scores]
    assert record["metrics"][min(scores)]["primary"] is (min(scores) == "accuracy")


def records_of(lab, fault: str) -> dict[str, object]:
    benchmarks = f"{{blobs: {{}}, faulty: {{fault: {fault}}}}}"
    keys = {"benchmarks": benchmarks, "train_on": "blobs", "include": "[{benchmark: faulty}]"}
    return lab().records("{m: {use: programmed, program: train_held}}", **keys)["m"]


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([0.5], r"examples of .*\['m'\] are \[0.5\], a list; they must be harness.Examples"),
        (Examples(np.array([0.0, 1.0, 1.0])), r"\['m'\] is 0.5, and the mean of its 3 examples 0.66666667"),
    ],
)
def test_examples_that_are_not_what_the_value_is_made_of_fail(examples: object, message: str) -> None:
    with pytest.raises(BadScore, match=message):
        checked(One(None), "test", {"m": Measurement(0.5, 2, examples=examples)})  # type: ignore[arg-type]


def test_examples_of_a_score_stay_and_those_of_none_do_not() -> None:
    made = Measurement.mean(torch.tensor([0.0, 1.0]))
    assert checked(One(None), "test", {"m": made}).scores["m"].examples is made.examples
    beyond = Measurement.mean(torch.tensor([0.0, float("nan")]))
    assert checked(One(None), "test", {"m": beyond}).not_finite == {"m": "nan"}


def test_rounding_is_no_fault_of_a_fraction() -> None:
    for value in (-1e-12, 1 + 1e-12):
        assert checked(One(None), "test", {"m": Measurement(value, 2)}).values == {"m": value}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("gini", "fraction", "less"), "direction of metric 'gini' is 'less'; it must be 'max', 'min' or 'none'"),
        (("", "fraction", "max"), "name and unit must be texts, the name not empty"),
        (("gini", None, "max"), "name and unit must be texts"),
    ],
)
def test_a_metric_that_cannot_be_is_refused_when_it_is_written_down(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Metric(*wrong)


class One(Benchmark[Any]):
    metrics = (Metric("m", "fraction", "max"),)
