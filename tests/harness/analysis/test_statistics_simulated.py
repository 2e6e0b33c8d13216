"""Statistics of results whose truth is known, 2,000 times."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.analysis.statistics import MOST_SEEDS, better, detectable, holm, paired, seeds_needed, summarise

Array = NDArray[np.float64]
RUNS = 2_000
COVERAGE = (0.93, 0.97)
SLACK = 3 * math.sqrt(0.05 * 0.95 / RUNS)  # of a rate of 5 % that is counted in RUNS draws


def scores(seeds: int, means: Array, seed: int) -> Array:
    """(RUNS, rows, seeds): what seeds have in common (weights and data), and what each row makes of it."""
    draws = np.random.default_rng(seed)
    common = draws.normal(0.9, 0.02, (RUNS, 1, seeds))
    return common + means[:, None] + draws.normal(0.0, 0.01, (RUNS, len(means), seeds))


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_intervals_cover_the_truth_as_often_as_they_say(seeds: int) -> None:
    values = scores(seeds, np.array([0.0, 0.03]), seed=seeds)
    mean = summarise(values[:, 1])
    assert COVERAGE[0] < np.mean((mean.low < 0.93) & (mean.high > 0.93)) < COVERAGE[1]
    difference = paired(values[:, 1], values[:, 0])
    assert COVERAGE[0] < np.mean((difference.low < 0.03) & (difference.high > 0.03)) < COVERAGE[1]
    assert np.median(difference.high - difference.low) < np.median(mean.high - mean.low)  # what pairing is for


@pytest.mark.parametrize("rows", [2, 7])
def test_under_the_null_a_table_errs_at_most_once_in_twenty(rows: int) -> None:
    values = scores(3, np.zeros(rows), seed=rows)
    wrong = ranked = 0
    for table in values:
        wrong += bool((holm(paired(table[1:], table[:1]).p) < 0.05).any())
        ranked += bool(better(table, "max").any())
    assert wrong / RUNS <= 0.05 + SLACK
    assert ranked / RUNS <= 0.05 + SLACK
    if rows == 2:  # one test: neither too strict
        assert wrong / RUNS >= 0.05 - SLACK
        assert ranked == wrong


def test_some_true_differences_do_not_spoil_the_rest() -> None:
    """Strong control: three of five rows are equal, and only they may be called different wrongly."""
    values = scores(5, np.array([0.0, 0.0, 0.0, 0.1, 0.2]), seed=1)
    wrong = sum(bool(better(table, "max")[:3, :3].any()) for table in values)
    assert wrong / RUNS <= 0.05 + SLACK


@pytest.mark.parametrize("direction", ["max", "min"])
def test_known_ranks_are_recovered(direction: str) -> None:
    truth = np.array([0.0, 0.06, 0.06, 0.12, 0.18])  # of max: rank 5, 3 or 4, 3 or 4, 2, 1
    sign = 1 if direction == "max" else -1
    right = covered = 0
    for table in scores(10, sign * truth, seed=2):
        wins = better(table, direction)
        lowest, highest = 1 + wins.sum(axis=1), len(truth) - wins.sum(axis=0)
        right += lowest.tolist() == [5, 3, 3, 2, 1] and highest.tolist() == [5, 4, 4, 2, 1]
        possible = [(5, 5), (3, 4), (3, 4), (2, 2), (1, 1)]
        covered += all(lo <= high and hi >= low for lo, hi, (low, high) in zip(lowest, highest, possible, strict=True))
    assert right / RUNS > 0.9
    assert covered / RUNS >= 0.95 - SLACK


@pytest.mark.parametrize("seeds", [3, 5, 20])
def test_what_is_detectable_is_detected_in_four_of_five_cases(seeds: int) -> None:
    deviation = 0.01 * math.sqrt(2)
    smallest = float(detectable(np.array(deviation), np.array(seeds)))
    values = scores(seeds, np.array([0.0, smallest]), seed=seeds)
    found = np.mean(paired(values[:, 1], values[:, 0]).p < 0.05)
    assert found == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / RUNS))


def test_detectable_against_scipys_noncentral_t() -> None:
    for seeds in (3, 4, 5, 10, 30, 100):
        effect = float(detectable(np.array(1.0), np.array(seeds)))
        critical = stats.t.isf(0.025, seeds - 1)
        shift = effect * math.sqrt(seeds)
        power = stats.nct.sf(critical, seeds - 1, shift) + stats.nct.cdf(-critical, seeds - 1, shift)
        assert power == pytest.approx(0.8, abs=1e-5)


def test_the_textbooks_number_of_pairs() -> None:
    """Cohen's d of 0.5, 5 % two-sided, 80 % power: 34 pairs (Cohen 1988, table 2.4.1; G*Power says the same)."""
    needed = seeds_needed(np.array([0.5, -0.5, 0.2, 100.0]), np.ones(4))
    assert needed.tolist() == [34, 34, 199, 2]


def test_seeds_needed_is_the_first_number_that_suffices() -> None:
    for mean in (0.1, 0.3, 0.77, 1.5, 3.0):
        needed = int(seeds_needed(np.array([mean]), np.ones(1))[0])
        assert float(detectable(np.array(1.0), np.array(needed))) <= mean
        assert needed == 2 or float(detectable(np.array(1.0), np.array(needed - 1))) > mean


def test_where_no_number_of_seeds_can_be_named() -> None:
    found = seeds_needed(np.array([0.0, 1.0, 1e-9, math.nan, 1.0]), np.array([1.0, 0.0, 1.0, 1.0, math.nan]))
    assert np.isnan(found).all()
    assert math.isnan(float(detectable(np.array(1.0), np.array(1))))


def test_more_than_ten_thousand_seeds_are_not_named() -> None:
    last = float(detectable(np.array(1.0), np.array(MOST_SEEDS)))
    found = seeds_needed(np.array([1.00001, 0.99999]) * last, np.ones(2))
    np.testing.assert_equal(found, [10_000, math.nan])
