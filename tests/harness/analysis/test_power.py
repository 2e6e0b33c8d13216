import math

import numpy as np
import pytest
from scipy import integrate, stats

from harness.analysis.crossed import ExamplesPart, estimate
from harness.analysis.power import MOST_SEEDS, detectable, deviation_interval, seeds_for


def power_of(effect, freedom, tests):
    """Chance that a normal number of mean ``effect`` over a chi of ``freedom`` exceeds the critical t in size."""
    critical = stats.t.isf(0.025 / tests, freedom)

    def integrand(ratio):  # estimated by true standard deviation
        density = 2 * freedom * ratio * stats.chi2.pdf(freedom * ratio**2, freedom)
        return density * (stats.norm.sf(critical * ratio - effect) + stats.norm.cdf(-critical * ratio - effect))

    return integrate.quad(integrand, 0, 1, epsabs=1e-10)[0] + integrate.quad(integrand, 1, 10, epsabs=1e-10)[0]


@pytest.mark.parametrize("tests", [1, 10, 300])
@pytest.mark.parametrize("freedom", [2, 4, 9, 99])
def test_detectable_against_the_integral(freedom, tests):
    n = freedom + 1
    effect = math.sqrt(n) * float(detectable(1.0, n, tests))
    assert power_of(effect, freedom, tests) == pytest.approx(0.8, abs=1e-4)


def test_a_larger_family_can_show_less():
    found = detectable(0.01, 5, np.array([1, 2, 10, 100]))
    assert (np.diff(found) > 0).all()
    assert np.isnan(detectable([0.01, 0.01, 0.0, math.nan], [1, math.nan, 5, 5])).all()


def test_the_textbooks_number_of_pairs():
    """Cohen's d of 0.5, 5 % two-sided, 80 % power: 34 pairs (Cohen 1988, table 2.4.1; G*Power says the same)."""
    assert seeds_for([0.5, -0.5, 0.2, 100.0], 1.0, 10).seeds.tolist() == [34, 34, 199, 2]


@pytest.mark.parametrize(("difference", "tests"), [(0.3, 1), (0.77, 5), (1.5, 1), (3.0, 40)])
def test_seeds_for_is_the_first_number_that_suffices(difference, tests):
    needed = float(seeds_for(difference, 1.0, 5, tests).seeds)
    assert detectable(1.0, needed, tests) <= difference
    assert needed == 2 or detectable(1.0, needed - 1, tests) > difference


def test_the_interval_of_a_standard_deviation():
    low, high = deviation_interval(1.0, 3)
    assert (low, high) == pytest.approx((math.sqrt(2 / 7.377759), math.sqrt(2 / 0.05063562)), rel=1e-6)  # of a table
    found = seeds_for(1.0, 1.0, 3)
    assert found.low == seeds_for(1.0, low, 3).seeds and found.high == seeds_for(1.0, high, 3).seeds
    assert found.low < found.seeds < found.high
    alone = seeds_for(1.0, 1.0, 1)
    assert math.isnan(alone.low) and math.isnan(alone.high)


def test_seeds_do_not_help_where_the_test_sample_decides():
    # 0.05 is under what examples alone leave: 0.02 (1.96 + 0.84) = 0.056
    assert math.isnan(seeds_for(0.05, 0.01, 3, examples=0.02**2).seeds)
    more = seeds_for(0.06, 0.02, 3, examples=0.02**2).seeds
    assert more == 8  # 2.8 sqrt(0.02^2 / 8 + 0.02^2) = 0.0594, and t is a little wider
    assert seeds_for(0.06, 0.02, 3).seeds == 4


def test_where_no_number_of_seeds_can_be_named():
    found = seeds_for([0.0, 1e-9, math.nan, 1.0, 1.0], [1.0, 1.0, 1.0, math.nan, 0.0], 3)
    assert np.isnan(found.seeds).all()


def test_more_than_ten_thousand_seeds_are_not_named():
    last = float(detectable(1.0, MOST_SEEDS))
    np.testing.assert_equal(seeds_for(np.array([1.00001, 0.99999]) * last, 1.0, 3).seeds, [10_000, math.nan])


@pytest.mark.parametrize(("n", "tests"), [(3, 1), (3, 100), (5, 10), (10, 1)])
def test_with_a_test_sample_the_difference_is_found_as_often(n, tests):
    draws = np.random.default_rng(0)
    examples, runs = 0.7 / n, 4000
    smallest = float(detectable(1.0, n, tests, examples, 5000.0))
    values = draws.normal(smallest, math.sqrt(examples), (runs, 1)) + draws.normal(size=(runs, n))
    found = estimate(values, [ExamplesPart(examples, 5000.0, 0.0)] * runs)
    assert np.mean(found.p < 0.05 / tests) == pytest.approx(0.8, abs=0.025)


def test_a_small_part_is_nearly_none_and_one_seed_has_its_examples():
    for n, tests in ((3, 1), (3, 100), (10, 10)):
        assert detectable(1.0, n, tests, 1e-9) == pytest.approx(detectable(1.0, n, tests), rel=5e-3)
        assert detectable(1e-6, n, tests, 1.0) == pytest.approx(detectable(math.nan, 1, tests, 1.0), rel=5e-3)
    np.testing.assert_allclose(detectable(1.0, 3, 1, [math.nan, 0.0]), detectable(1.0, 3))
