"""The rules of verdicts, on cases computed by hand or by scipy in another way."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from harness.claims.verdicts import VERDICTS, here, judge_count, judge_order, judge_value, remaining

VALUES = [1.0, 2.0, 3.0]  # mean 2, s = 1; t(0.975, 2) = 4.302653


def test_the_interval_of_a_value_is_the_prediction_interval():
    found = judge_value(VALUES, published=2.5, tolerance=1.0)
    half = 4.302652729911275 * sqrt(1 / 3 + 1)  # 4.968
    assert found.low == pytest.approx(-0.5 - half) and found.high == pytest.approx(-0.5 + half)
    assert found.verdict == "inconclusive"


def test_rounding_widens_it_on_both_sides():
    exact, printed = judge_value(VALUES, 2.5, 1.0), judge_value(VALUES, 2.5, 1.0, rounding=0.1)
    assert printed.low == pytest.approx(exact.low - 0.05) and printed.high == pytest.approx(exact.high + 0.05)


def test_more_published_runs_narrow_it_to_the_welch_like_interval():
    half = 4.302652729911275 * sqrt(1 / 3 + 1 / 4)
    assert judge_value(VALUES, 2.0, 1.0, runs=4).high == pytest.approx(half)


@pytest.mark.parametrize(
    ("tolerance", "verdict"),
    # difference -0.5 +- 4.968: from -5.468 to 4.468
    [(5.47, "reproduced"), (5.46, "inconclusive"), (0.0, "inconclusive")],
)
def test_value_within_tolerance(tolerance, verdict):
    assert judge_value(VALUES, 2.5, tolerance).verdict == verdict


@pytest.mark.parametrize(
    ("published", "verdict"),
    # tolerance 1: the interval 2 - published +- 4.968 is outside from 7.97 on, or below -3.97
    [(7.96, "inconclusive"), (7.97, "not reproduced"), (-3.96, "inconclusive"), (-3.97, "not reproduced")],
)
def test_value_outside_tolerance(published, verdict):
    assert judge_value(VALUES, published, 1.0).verdict == verdict


def test_one_seed_reproduces_nothing():
    assert judge_value([0.9754], 0.9754, 0.1).verdict == "inconclusive"
    assert judge_order([0.5]).verdict == "inconclusive"
    assert judge_order([0.5], tolerance=1.0).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("published", "verdict"), [(0.1135, "reproduced"), (0.11351, "reproduced"), (0.12, "inconclusive")]
)
def test_seeds_without_spread(published, verdict):
    found = judge_value([0.1135] * 5, published, 0.001, rounding=0.0001)
    assert found.verdict == verdict and found.low is None


def test_order_is_the_paired_t_interval():
    differences = [0.2, 0.1, 0.4, 0.3]
    found = judge_order(differences)
    low, high = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.verdict == "reproduced"
    assert judge_order([-d for d in differences]).verdict == "not reproduced"
    assert judge_order([0.2, -0.1, 0.4, 0.3]).verdict == "inconclusive"
    assert judge_order([0.2, 0.2, 0.2]).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("tolerance", "verdict"),
    # -2 +- 4.302653 / sqrt(3) = -4.484 to 0.484
    [(4.5, "reproduced"), (4.4, "inconclusive"), (0.0, "inconclusive")],
)
def test_not_worse_than(tolerance, verdict):
    assert judge_order([-1.0, -2.0, -3.0], tolerance).verdict == verdict


def test_clearly_worse_than_the_tolerance():
    assert judge_order([-10.0, -10.1, -9.9], 1.0).verdict == "not reproduced"


@pytest.mark.parametrize(
    ("value", "verdict"), [(770.41, "reproduced"), (770.5, "reproduced"), (770.6, "not reproduced")]
)
def test_count(value, verdict):
    assert judge_count([value], 770, rounding=1).verdict == verdict


def test_every_count_must_agree():
    assert judge_count([226.0, 226.0], 226).verdict == "reproduced"
    assert judge_count([226.0, 227.0], 226).verdict == "not reproduced"
    assert judge_count([294_532_636], 294e6, tolerance=0.5e6, rounding=1e6).verdict == "reproduced"


def test_noise_alone_never_reproduces_and_errors_are_rare():
    """At the border of the tolerance at most 2.5 % are called reproduced, and at most 2.5 % not reproduced."""
    generator = np.random.default_rng(0)
    verdicts = [
        judge_value(generator.normal(0.0, 1.0, 5), published=generator.normal(2.0, 1.0), tolerance=2.0).verdict
        for _ in range(2000)
    ]
    assert verdicts.count("not reproduced") <= 0.025 * 2000 + 3 * sqrt(2000 * 0.025)
    assert verdicts.count("reproduced") <= 0.025 * 2000 + 3 * sqrt(2000 * 0.025)
    wide = [judge_value(generator.normal(0.0, 10.0, 5), 0.0, tolerance=1.0).verdict for _ in range(500)]
    assert wide.count("reproduced") <= 5


def test_power_with_little_noise():
    generator = np.random.default_rng(1)
    verdicts = [judge_value(generator.normal(1, 0.01, 5), generator.normal(1, 0.01), 0.1).verdict for _ in range(300)]
    assert verdicts.count("reproduced") > 290


@pytest.mark.parametrize(
    ("published", "tolerance", "text"),
    # s = 1, so that 1.959964 + 0.05 = 2.01 remain; the mean is known to 4.302653 / sqrt(3) = 2.484
    [
        (2.0, 2.02, ""),
        (2.0, 2.0, "no number of seeds would decide it: the published run's own noise leaves ± 2.01, and 2 is allowed"),
        (2.0, 0.5, "no number of seeds would decide it"),  # at most 2.484, 2.51 is needed
        (2.0, 0.4, "no number of seeds would reproduce it"),  # 2.41 is needed: it may be refuted
        (3.0, 2.0, "no number of seeds would decide it"),  # 3.484 of 4.01
        (3.6, 2.0, "no number of seeds would reproduce it"),  # 4.084 of 4.01
    ],
)
def test_inconclusive_says_when_no_number_of_seeds_would_do(published, tolerance, text):
    found = judge_value(VALUES, published, tolerance, rounding=0.1)
    assert found.verdict == "inconclusive"
    assert found.reason.startswith(text) and bool(found.reason) == bool(text)
    assert found.undecidable == ("decide" in text)


def test_what_remains_is_the_interval_of_very_many_seeds():
    assert remaining(1.0, 0.1, runs=4) == pytest.approx(stats.norm.ppf(0.975) / 2 + 0.05)
    many = np.random.default_rng(2).normal(0.0, 3.0, 200_000)
    found = judge_value(many, 0.0, tolerance=1.0, rounding=0.1)
    spread = float(np.std(many, ddof=1))
    assert (found.high - found.low) / 2 == pytest.approx(remaining(spread, 0.1), rel=1e-4)
    assert found.undecidable


def test_undecidable_claims_stay_inconclusive_with_more_seeds():
    """The published run is one draw of seeds that vary as ours; the tolerance is below its noise."""
    generator = np.random.default_rng(3)
    for _ in range(50):
        published = generator.normal(0.0, 1.0)
        few = judge_value(generator.normal(0.0, 1.0, 5), published, tolerance=0.2)
        if few.undecidable:
            more = judge_value(generator.normal(0.0, 1.0, 10_000), published, tolerance=0.2)
            assert more.verdict != "reproduced"


@pytest.mark.parametrize(
    ("published", "bound", "verdict"),
    # 2 +- 4.968, tolerance 1: at least -1.97 and at most 5.97 hold, at least 7.97 and at most -3.97 do not
    [
        (-1.96, "at_least", "inconclusive"),
        (-1.98, "at_least", "reproduced"),
        (7.98, "at_least", "not reproduced"),
        (5.98, "at_most", "reproduced"),
        (5.96, "at_most", "inconclusive"),
        (-3.98, "at_most", "not reproduced"),
    ],
)
def test_bounds_of_values(published, bound, verdict):
    assert judge_value(VALUES, published, 1.0, bound=bound).verdict == verdict


def test_bounds_without_spread_and_of_counts():
    assert judge_value([0.99] * 3, 0.9, 0.0, bound="at_least").verdict == "reproduced"
    assert judge_value([0.99] * 3, 0.9, 0.0, bound="at_most").verdict == "inconclusive"
    assert judge_count([930], 500, bound="at_most").verdict == "not reproduced"
    assert judge_count([354], 500, bound="at_most").verdict == "reproduced"
    assert judge_count([354], 500, bound="at_least").verdict == "not reproduced"
    assert judge_count([500.4], 500, rounding=1, bound="at_most").verdict == "reproduced"


def test_here_names_the_verdict_and_keeps_what_it_rests_on():
    for differences, verdict in (
        ([1.0, 2.0, 3.0, 2.0], "holds here"),
        ([-1.0, -2.0, -3.0, -2.0], "does not hold here"),
        ([-1.0, 1.0], "undecided here"),
        ([1.0], "undecided here"),
    ):
        judged = judge_order(differences)
        found = here(judged)
        assert found.verdict == verdict in VERDICTS
        assert (found.low, found.high, found.reason) == (judged.low, judged.high, judged.reason)
