import math

import numpy as np
import pytest
from scipy import stats

from harness.analysis.crossed import ExamplesPart, difference, estimate, examples_part, influence, sign_depends
from harness.analysis.scales import LOGIT
from harness.analysis.statistics import summarise

NAN = math.nan


def naive(values):
    """Mean squares of a seeds x examples table, by loops: (seeds, examples, interaction)."""
    seeds, examples = len(values), len(values[0])
    grand = sum(map(sum, values)) / (seeds * examples)
    rows = [sum(row) / examples for row in values]
    columns = [sum(row[e] for row in values) / seeds for e in range(examples)]
    left = sum((values[s][e] - rows[s] - columns[e] + grand) ** 2 for s in range(seeds) for e in range(examples))
    return (
        examples * sum((row - grand) ** 2 for row in rows) / (seeds - 1),
        seeds * sum((column - grand) ** 2 for column in columns) / (examples - 1),
        left / ((seeds - 1) * (examples - 1)),
    )


def test_mean_squares_by_hand():
    # Rows 1 2 3 and 3 4 8: means 2 and 5, of columns 2, 3, 5.5, of all 3.5.
    # Examples: 2 (2.25 + 0.25 + 4) / 2 = 6.5. Left over: +-0.5, +-0.5, +-1, so 2 (0.25 + 0.25 + 1) / 2 = 1.5.
    values = np.array([[1.0, 2, 3], [3, 4, 8]])
    part = examples_part(influence(values))
    assert part.variance == pytest.approx((6.5 - 1.5) / 6)
    assert part.interaction == pytest.approx(1.5 / 6)
    assert part.freedom == pytest.approx(5.0**2 / (6.5**2 / 2 + 1.5**2 / 2))
    found = estimate(np.array([[2.0, 5.0]]), [part])
    assert found.centre[0] == 3.5
    assert found.seeds[0] == pytest.approx(4.5 / 2)
    # all together: (MS_seeds + MS_examples - MS_interaction) / (seeds x examples), MS_seeds = 3 x 4.5
    assert found.standard_error[0] ** 2 == pytest.approx((13.5 + 6.5 - 1.5) / 6)


@pytest.mark.parametrize("shape", [(2, 7), (3, 50), (5, 11)])
def test_components_against_loops(shape):
    draws = np.random.default_rng(shape[1])
    values = draws.normal(size=shape) + draws.normal(size=(shape[0], 1)) + 2 * draws.normal(size=shape[1])
    seeds, examples, interaction = naive(values.tolist())
    found = estimate(values.mean(axis=1)[None], [examples_part(influence(values))])
    cells = values.size
    assert found.standard_error[0] ** 2 == pytest.approx((seeds + examples - interaction) / cells, rel=1e-10)
    assert found.seeds[0] == pytest.approx(seeds / cells, rel=1e-10)


def test_components_are_recovered():
    """Seeds 0.5, examples 2, interaction 1 as standard deviations, over 1,000 tables of 5 x 100."""
    draws = np.random.default_rng(0)
    found = []
    for _ in range(1000):
        table = 0.5 * draws.normal(size=(5, 1)) + 2 * draws.normal(size=100) + draws.normal(size=(5, 100))
        part = examples_part(influence(table))
        found.append((part.variance, part.interaction, table.mean(axis=1).var(ddof=1) / 5))
    expected = (4 / 100, 1 / 500, (0.25 + 1 / 100) / 5)
    np.testing.assert_allclose(np.mean(found, axis=0), expected, rtol=0.05)


def test_the_examples_part_is_never_negative():
    # Each example is right for one seed and wrong for the other: chance would agree more.
    part = examples_part(influence(np.array([[1.0, 0, 1, 0], [0, 1, 0, 1]])))
    assert part.variance == 0 and part.interaction > 0


def test_one_seed_has_the_binomial_error():
    right = np.array([[1.0] * 9 + [0.0]])
    found = estimate(np.array([[0.9]]), [examples_part(influence(right))])
    assert found.over == ["examples"]
    assert found.standard_error[0] == pytest.approx(math.sqrt(0.9 * 0.1 / 9))  # n - 1, as standard errors of records
    assert found.freedom[0] == 9
    half = stats.t.ppf(0.975, 9) * math.sqrt(0.01)
    assert (found.low[0], found.high[0]) == pytest.approx((0.9 - half, 0.9 + half))
    assert found.p[0] == pytest.approx(2 * stats.t.sf(9, 9))


def test_without_examples_it_is_the_t_interval_over_seeds():
    scores = np.array([[0.1, 0.4, 0.2], [1.0, NAN, 3.0], [2.0, NAN, NAN], [NAN, NAN, NAN]])
    found, plain = estimate(scores), summarise(scores)
    np.testing.assert_array_equal(found.n, [3, 2, 1, 0])
    np.testing.assert_allclose(found.low, plain.low)
    np.testing.assert_allclose(found.high, plain.high)
    assert found.over == ["seeds", "seeds", "", ""]
    assert np.isnan(found.standard_error[2:]).all() and np.isnan(found.p[2:]).all()


def test_differences_without_examples_are_the_paired_test():
    """Over the seeds that both have."""
    draws = np.random.default_rng(1)
    one, other = draws.normal(size=(2, 4, 6))
    one[0, 1] = other[2, 3] = other[2, 4] = NAN
    found = difference(one, other)
    assert found.n.tolist() == [5, 6, 4, 6]
    for i in range(4):
        both = np.isfinite(one[i] - other[i])
        test = stats.ttest_rel(one[i, both], other[i, both])
        assert found.p[i] == pytest.approx(test.pvalue)
        assert (found.low[i], found.high[i]) == pytest.approx(tuple(test.confidence_interval(0.95)))
    nothing = difference(np.array([[1.0, NAN]]), np.array([[NAN, 1.0]]))
    assert nothing.n[0] == 0 and np.isnan([nothing.centre, nothing.low, nothing.high, nothing.p]).all()


def test_rounding_is_that_of_each_row():
    """A large row beside it must not make a small difference one of rounding."""
    small = np.array([0.3, 0.2])
    large = np.array([1e9, 2e9])
    alone = difference(small[None], small[None] - [[1e-9, 3e-9]])
    beside = difference(np.stack([small, large]), np.stack([small - [1e-9, 3e-9], large]))
    assert beside.p[0] == alone.p[0] < 1
    assert beside.p[1] == 1


def test_p_and_interval_agree():
    part = ExamplesPart(0.3, 50.0, 0.0)
    for centre in (0.5, 1.0, 2.0, 4.0, 8.0):
        found = estimate(np.array([[centre - 1, centre, centre + 1.5]]), [part])
        assert (found.p[0] < 0.05) == (found.low[0] > 0)


def test_freedom_lies_between_those_of_the_parts():
    scores = np.array([[0.0, 1.0, 2.0]])  # variance of the mean 1/3, of 2 degrees
    by_hand = 1 / (0.5**1.25 / 2 + 0.5**1.25 / 100)
    assert estimate(scores, [ExamplesPart(1 / 3, 100.0, 0.0)]).freedom[0] == pytest.approx(by_hand)
    assert estimate(scores, [ExamplesPart(1e-9, 100.0, 0.0)]).freedom[0] == pytest.approx(2, rel=1e-6)
    assert estimate(scores, [ExamplesPart(1e9, 100.0, 0.0)]).freedom[0] == pytest.approx(100, rel=1e-6)


def test_rows_with_and_without_examples_stand_together():
    scores = np.array([[0.0, 1.0, 2.0]] * 2)
    found = estimate(scores, [None, ExamplesPart(1.0, 10.0, 0.0)])
    assert found.over == ["seeds", "seeds and examples"]
    assert found.standard_error.tolist() == pytest.approx([math.sqrt(1 / 3), math.sqrt(4 / 3)])
    assert found.freedom[0] == 2


def test_seeds_of_equal_scores_are_not_certain():
    # 2 of 4 each, by other examples: the seeds' part is what chance on single examples makes.
    values = np.array([[1.0, 1, 0, 0], [1, 0, 1, 0]])
    part = examples_part(influence(values))
    found = estimate(np.array([[0.0, 0.0]]), [part])
    assert found.seeds[0] == part.interaction > 0
    assert found.low[0] < 0 < found.high[0]


def test_no_variance_at_all_claims_nothing():
    found = estimate(np.array([[0.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_equal(found.p, [1.0, NAN])
    np.testing.assert_equal(found.freedom, [1.0, 1.0])
    # equal numbers up to rounding, as differences of 0.3 - 0.2 and 0.2 - 0.1
    nearly = difference(np.array([[0.3, 0.2]]), np.array([[0.2, 0.1]]))
    assert math.isnan(nearly.p[0])


def test_pairing_by_example_removes_what_examples_have_in_common():
    draws = np.random.default_rng(3)
    difficulty = draws.normal(size=500)
    one, other = ((difficulty + 0.3 * draws.normal(size=(3, 500)) > shift).astype(float) for shift in (-1.0, -0.9))
    together = examples_part(influence(one) - influence(other)).variance
    assert together < 0.2 * (examples_part(influence(one)).variance + examples_part(influence(other)).variance)


def test_influence_of_a_ratio_is_that_of_leaving_a_document_out():
    """Jackknife: leaving document e of N out moves the score by about -influence / N."""
    draws = np.random.default_rng(0)
    sizes = draws.integers(50, 150, 400).astype(float)
    sums = sizes * (3 + 0.3 * draws.normal(size=(2, 400)))
    score = sums.sum(axis=1) / sizes.sum()
    without = (sums.sum(axis=1, keepdims=True) - sums) / (sizes.sum() - sizes)
    np.testing.assert_allclose(influence(sums, sizes), 400 * (score[:, None] - without), rtol=0.01)
    np.testing.assert_allclose(influence(sums, sizes).mean(axis=1), 0, atol=1e-12)


def test_equal_sizes_are_a_mean():
    values = np.random.default_rng(0).normal(size=(3, 8))
    np.testing.assert_allclose(influence(7 * values, 7.0), influence(values))
    np.testing.assert_allclose(influence(values), values - values.mean(axis=1, keepdims=True))


@pytest.mark.parametrize("shape", [(0, 5), (2, 1)])
def test_too_small_a_table_is_refused(shape):
    with pytest.raises(ValueError, match="at least"):
        examples_part(np.zeros(shape))


def test_a_sign_that_depends_on_the_scale():
    # 0.99 to 0.97 is much on the logit, 0.5 to 0.53 little: the mean of scores and that of logits disagree.
    one, other = np.array([[0.99, 0.50], [0.6, 0.7]]), np.array([[0.97, 0.53], [0.5, 0.6]])
    scaled = LOGIT.forward(one, 10_000) - LOGIT.forward(other, 10_000)
    assert sign_depends(one - other, scaled).tolist() == [True, False]
    assert sign_depends(np.zeros((1, 2)), np.zeros((1, 2))).tolist() == [False]
    assert sign_depends(np.full((1, 2), NAN), np.full((1, 2), NAN)).tolist() == [False]
