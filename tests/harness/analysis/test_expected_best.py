"""The expected best of fewer trials, against all ways to choose them."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import pytest

from harness.analysis.expected_best import expected_best

SCORES = [0.625, 0.5, 0.75, 0.5, 0.875, 0.125]


@pytest.mark.parametrize("trials", range(1, 7))
def test_it_is_the_mean_over_all_subsets(trials: int) -> None:
    best = [max(map(Fraction, some)) for some in combinations(SCORES, trials)]
    assert expected_best(SCORES, trials) == pytest.approx(float(sum(best) / len(best)), rel=1e-14)


def test_by_hand() -> None:
    assert expected_best([3.0, 1.0, 2.0], 1) == pytest.approx(2.0)
    assert expected_best([3.0, 1.0, 2.0], 2) == pytest.approx((3 + 3 + 2) / 3)  # with replacement 22 / 9
    assert expected_best([3.0, 1.0, 2.0], 3) == 3.0


def test_trials_without_a_score_are_the_worst_and_are_not_left_out() -> None:
    scores = [0.5, -math.inf, 0.7, -math.inf]
    assert expected_best(scores, 1) == expected_best(scores, 2) == -math.inf
    assert expected_best(scores, 3) == pytest.approx((0.7 + 0.5 + 0.7 + 0.7) / 4)  # leaving out one each
    assert expected_best(scores, 4) == pytest.approx(0.7)
