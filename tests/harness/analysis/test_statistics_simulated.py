"""Statistics of results whose truth is known, 2,000 times."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.analysis.crossed import difference
from harness.analysis.ranks import rank_ranges, wins
from harness.analysis.statistics import holm, summarise

Array = NDArray[np.float64]
RUNS = 2_000
COVERAGE = (0.93, 0.97)
SLACK = 3 * math.sqrt(0.05 * 0.95 / RUNS)  # of a rate of 5 % that is counted in RUNS draws


def scores(seeds: int, means: Array, seed: int) -> Array:
    """(RUNS, rows, seeds): what seeds have in common (weights and data), and what each row makes of it."""
    draws = np.random.default_rng(seed)
    common = draws.normal(0.9, 0.02, (RUNS, 1, seeds))
    return common + means[:, None] + draws.normal(0.0, 0.01, (RUNS, len(means), seeds))


def better(values: Array) -> NDArray[np.bool_]:
    """(rows, seeds) -> (rows, rows): whether row j is better than row i, of intact networks."""
    rows, seeds = values.shape
    i, j = np.indices((rows, rows)).reshape(2, -1)
    paired = difference(values[j], values[i])
    centre, p = paired.centre.reshape(rows, rows), paired.p.reshape(rows, rows)
    return wins(centre, p, np.zeros(rows, np.int64), np.full(rows, seeds))


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_intervals_cover_the_truth_as_often_as_they_say(seeds: int) -> None:
    values = scores(seeds, np.array([0.0, 0.03]), seed=seeds)
    mean = summarise(values[:, 1])
    assert COVERAGE[0] < np.mean((mean.low < 0.93) & (mean.high > 0.93)) < COVERAGE[1]
    paired = difference(values[:, 1], values[:, 0])
    assert COVERAGE[0] < np.mean((paired.low < 0.03) & (paired.high > 0.03)) < COVERAGE[1]
    assert np.median(paired.high - paired.low) < np.median(mean.high - mean.low)  # what pairing is for


@pytest.mark.parametrize("rows", [2, 7])
def test_under_the_null_a_table_errs_at_most_once_in_twenty(rows: int) -> None:
    values = scores(3, np.zeros(rows), seed=rows)
    wrong = ranked = 0
    for table in values:
        wrong += bool((holm(difference(table[1:], np.broadcast_to(table[:1], table[1:].shape)).p) < 0.05).any())
        ranked += bool(better(table).any())
    assert wrong / RUNS <= 0.05 + SLACK
    assert ranked / RUNS <= 0.05 + SLACK
    if rows == 2:  # one test: neither too strict
        assert wrong / RUNS >= 0.05 - SLACK
        assert ranked == wrong


def test_some_true_differences_do_not_spoil_the_rest() -> None:
    """Strong control: three of five rows are equal, and only they may be called different wrongly."""
    values = scores(5, np.array([0.0, 0.0, 0.0, 0.1, 0.2]), seed=1)
    wrong = sum(bool(better(table)[:3, :3].any()) for table in values)
    assert wrong / RUNS <= 0.05 + SLACK


@pytest.mark.parametrize("direction", ["max", "min"])
def test_known_ranks_are_recovered(direction: str) -> None:
    truth = np.array([0.0, 0.06, 0.06, 0.12, 0.18])  # of max: rank 5, 3 or 4, 3 or 4, 2, 1
    sign = 1 if direction == "max" else -1
    right = covered = 0
    for table in scores(10, sign * truth, seed=2):
        lowest, highest = rank_ranges(better(sign * table))
        right += lowest.tolist() == [5, 3, 3, 2, 1] and highest.tolist() == [5, 4, 4, 2, 1]
        possible = [(5, 5), (3, 4), (3, 4), (2, 2), (1, 1)]
        covered += all(lo <= high and hi >= low for lo, hi, (low, high) in zip(lowest, highest, possible, strict=True))
    assert right / RUNS > 0.9
    assert covered / RUNS >= 0.95 - SLACK
