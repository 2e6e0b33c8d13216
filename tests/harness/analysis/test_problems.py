"""Who wins how often, and performance profiles: against counts and definitions by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.problems import Tally, performance_profile, problems, tallies

NOISE = np.array([0.0, 0.002, -0.001, 0.001])


def row(method: str, mean: float, group: int = 1, direction: str = "max", **changes: Any) -> ComparisonRow:
    values = mean + NOISE * (1 + len(method) % 3)
    named = dict.fromkeys(("suite", "experiment", "architecture", "benchmark", "trained_on", "protocol"), "any")
    found = {"density_mask": 0.1, "n": 4, "density_asked": 0.1, **changes}
    density = {"density_low": found["density_mask"], "density_high": found["density_mask"]}
    return ComparisonRow(
        **named,
        **density,
        **found,
        metric="score",
        unit="",
        method=method,
        group=group,
        direction=direction,
        values=values,
        mean=mean,
        rival=found["density_mask"] < 1,
    )


ACCURACY = [row("a", 0.9), row("bb", 0.8), row("ccc", 0.4), row("dense", 0.95, group=0, density_mask=1.0)]
LOSS = [row("a", 2.0, direction="min"), row("bb", 1.0, direction="min"), row("ccc", 1.0, direction="min")]


def test_rivals_are_of_one_group() -> None:
    apart = [row("a", 0.9, group=1), row("bb", 0.8, group=2), row("ccc", 0.7, group=2)]
    assert [set(problem) for problem in problems([ACCURACY, apart])] == [{"a", "bb", "ccc"}, {"bb", "ccc"}]
    assert not list(problems([[row("a", 0.5, direction="none"), row("bb", 0.4, direction="none")]]))


def test_survivors_win_nothing() -> None:
    table = [row("a", 0.9, failed={3: "diverged"}), row("bb", 0.8), row("ccc", 0.4)]
    assert [set(problem) for problem in problems([table])] == [{"bb", "ccc"}]


def test_rows_of_one_method_are_told_apart() -> None:
    table = [row("a", 0.9), row("a", 0.8, match="b, hard", density_asked=None), row("b", 0.7)]
    assert [set(problem) for problem in problems([table])] == [{"a 0.1", "a as b, hard", "b"}]


def test_tallies_by_hand() -> None:
    found = tallies([ACCURACY, LOSS])
    assert found["a", "bb"] == Tally(1, 0, 1)
    assert found["bb", "a"] == Tally(1, 0, 1)
    assert found["a", "ccc"] == Tally(1, 0, 1)
    assert found["bb", "ccc"] == Tally(1, 1, 0)
    assert found["ccc", "bb"] == Tally(0, 1, 1)
    assert not any("dense" in pair for pair in found)


def test_one_seed_wins_nothing() -> None:
    assert tallies([[row("a", 0.9, n=1), row("bb", 0.1)]]) == {}


def test_profile_by_hand() -> None:
    steps, counted, left = performance_profile([ACCURACY, LOSS])
    assert (counted, left) == (2, 0)
    assert steps["a"] == [(1.0, 0.5), (2.0, 1.0)]
    assert steps["bb"] == [(1.0, 0.5), (pytest.approx(0.9 / 0.8), 1.0)]
    assert steps["ccc"] == [(1.0, 0.5), (pytest.approx(0.9 / 0.4), 1.0)]


def test_a_method_that_is_missing_has_failed_there() -> None:
    steps, counted, _ = performance_profile([ACCURACY, LOSS[:2]])
    assert counted == 2
    assert steps["ccc"] == [(pytest.approx(0.9 / 0.4), 0.5)]


def test_means_that_are_not_positive_have_no_ratios() -> None:
    steps, counted, left = performance_profile([ACCURACY, [row("a", -0.1), row("bb", 0.2)]])
    assert (counted, left) == (1, 1)
    assert steps["bb"] == [(pytest.approx(0.9 / 0.8), 1.0)]
