"""Pareto fronts: cheapest first, and nothing is judged by a mean that does not exist."""

from typing import Any

import pytest

from harness.analysis.comparison_row import ComparisonRow
from harness.errors import UserError
from harness.report.comparisons import pareto


def row(number: int, method: str, density: float, mean: float, **others: Any) -> ComparisonRow:
    made: dict[str, Any] = {
        **dict.fromkeys(("suite", "experiment", "architecture", "benchmark", "trained_on", "protocol", "unit"), "x"),
        "metric": "accuracy",
        "direction": "max",
        "id": number,
        "method": method,
        "density_mask": density,
        "density_low": density,
        "density_high": density,
        "density_total": density,
        "parameters": 1000.0,
        "inference_flops_sparse": 2000 * density,
        "mean": mean,
        "n": 3,
    }
    return ComparisonRow(**made | others)


def told(table: list[ComparisonRow], cost: str = "density") -> tuple[dict[str, bool], str]:
    """Whether each row is efficient, in the order shown, and the notes."""
    (shown,) = pareto([table], cost)
    return {cells[1]: cells[0] == "yes" for cells in shown.rows}, " ".join(shown.notes)


def test_rows_without_a_mean_are_left_out_by_name() -> None:
    table = [row(0, "dense", 1.0, 0.9), row(1, "random", 0.1, 0.8), row(2, "genome", 0.05, 0.99, mixed=True)]
    assert told(table)[0] == {"random": True, "dense": True}
    assert "there is no mean: genome." in told(table)[1]
    with pytest.raises(UserError, match="no mean to set against a cost"):
        list(pareto([table[2:]], "density"))


def test_networks_that_do_not_work_are_not_efficient_and_rule_out_nothing() -> None:
    broken = row(2, "empty", 0.05, 0.99, broken=dict.fromkeys(range(3), "cut"))
    assert told([row(0, "dense", 1.0, 0.9), row(1, "random", 0.1, 0.8), broken])[0] == {
        "empty": False,
        "random": True,
        "dense": True,
    }
    broken.broken.pop(0)  # one seed works
    assert told([row(0, "dense", 1.0, 0.9), broken])[0] == {"empty": True, "dense": False}


def test_soft_masks_cost_all_and_a_smaller_network_what_as_many_parameters_do() -> None:
    soft = row(2, "genome", 1.0, 0.85, mask_mean=0.1134)
    small = row(
        3,
        "narrow",
        1.0,
        0.7,
        density_asked=0.05,
        small=True,
        parameters=50.0,
        density_total=1.0,
        inference_flops_sparse=90.0,
    )
    table = [row(0, "dense", 1.0, 0.9), row(1, "random", 0.1, 0.8), soft, small]
    expected = {
        "narrow (smaller network)": True,
        "random": True,
        "genome (soft masks, mean 0.11)": False,
        "dense": True,
    }
    found, notes = told(table)
    assert (found, list(found)) == (expected, list(expected))
    assert "narrow at 0.0500" in notes
    assert "smaller network stands" not in told(table, "flops")[1]
