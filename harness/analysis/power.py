"""What the seeds at hand could have shown, and how many a difference that somebody names would need.

Both are of the test that is printed: t, two-sided, at 5 % of a family of tests. Nothing here looks at the difference
that was found: "power" of an observed effect is its p-value said again (Hoenig and Heisey 2001, "The abuse of power").
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, nctdtrinc, ndtr, ndtri, stdtrit

from harness.analysis.crossed import combined_freedom
from harness.analysis.statistics import Array

ALPHA = 0.05
POWER = 0.8
MOST_SEEDS = 10_000
"""Where :func:`seeds_for` gives up."""
MANY = 1e6
"""Degrees of freedom of a variance that is as good as known."""
_ROOTS, _WEIGHTS = np.polynomial.legendre.leggauss(32)
NODES, WEIGHTS = (_ROOTS + 1) / 2, _WEIGHTS / 2
"""Of the quadrature over probabilities."""
FEW_SEEDS = 5
"""With fewer, a number of seeds is said with its interval."""


class SeedsFor(NamedTuple):
    """Seeds that a difference needs, and what the 95 % interval of the standard deviation makes of them."""

    seeds: Array
    low: Array
    high: Array


def detectable(
    std: ArrayLike,
    n: ArrayLike,
    tests: ArrayLike = 1,
    examples: ArrayLike = 0.0,
    examples_freedom: ArrayLike = MANY,
) -> Array:
    """The smallest true difference that is found in 80 % of cases; arguments broadcast.

    Args:
        std: of paired differences over seeds, on the scale of the test.
        n: seeds.
        tests: in the family; each is then at level 5 % / tests. By Holm's procedure every difference that Bonferroni
            finds is found, and perhaps more: this is a bound.
        examples, examples_freedom: variance that the test sample adds; nan where it is not in the test.

    nan where there is no test, or no variance. Over seeds alone the statistic is noncentral t (Cohen 1988, "Statistical
    Power Analysis for the Behavioral Sciences", 2). With a test sample its degrees of freedom depend on the draw, and
    power is the mean over the distribution of the seeds' estimated variance, chi-square, by Gauss-Legendre quadrature;
    the test sample's variance, estimated from hundreds of examples, counts as known.
    """
    deviation, seeds, family, added, degrees = np.broadcast_arrays(
        *(np.asarray(x, np.float64) for x in (std, n, tests, examples, examples_freedom))
    )
    several, sampled = (seeds > 1) & (deviation > 0), added > 0
    critical_level = ALPHA / (2 * np.maximum(family, 1))
    # One part alone, exactly: seeds where there are several, else examples.
    variance = np.where(several, deviation**2 / np.maximum(seeds, 1), np.where(sampled, added, np.nan))
    freedom = np.where(several, seeds - 1, degrees)
    found: Array = np.sqrt(variance) * nctdtrinc(freedom, 1 - POWER, -stdtrit(freedom, critical_level))
    both = several & sampled
    if both.any():
        found = np.array(found)
        found[both] = _both(variance[both], freedom[both], added[both], degrees[both], critical_level[both])
    return found


def _both(seeds: Array, freedom: Array, examples: Array, examples_freedom: Array, level: Array) -> Array:
    """(rows,) each -> the detectable difference where both parts matter."""
    limits = _limits(seeds, freedom, examples, examples_freedom, level)
    low, high = np.zeros(len(seeds)), limits.max(axis=1) + 1
    for _ in range(40):
        middle = (low + high) / 2
        shown = _power(middle, limits) >= POWER
        low, high = np.where(shown, low, middle), np.where(shown, middle, high)
    found: Array = np.sqrt(seeds + examples) * high
    return found


def _limits(seeds: Array, freedom: Array, examples: Array, examples_freedom: Array, level: Array) -> Array:
    """(rows, nodes) what the mean must exceed, in true standard errors, at each variance that seeds may show."""
    column = freedom[:, None]
    shape = (len(seeds), len(NODES))
    chance = seeds[:, None] * chdtri(column, 1 - NODES) / column
    parts = np.stack([chance, np.broadcast_to(examples[:, None], shape)])
    freedoms = np.stack([np.broadcast_to(one, shape) for one in (column, examples_freedom[:, None])])
    critical = -stdtrit(combined_freedom(parts, freedoms), level[:, None])
    found: Array = critical * np.sqrt(parts.sum(axis=0) / (seeds + examples)[:, None])
    return found


def _power(difference: Array, limits: Array) -> Array:
    """(rows,) difference in true standard errors -> how often it is found."""
    found: Array = ndtr(difference[:, None] - limits) @ WEIGHTS
    return found


def deviation_interval(std: ArrayLike, n: ArrayLike) -> tuple[Array, Array]:
    """95 % chi-square interval of a standard deviation over ``n`` seeds that are normal; nan below two."""
    freedom = np.asarray(n, np.float64) - 1
    freedom = np.where(freedom > 0, freedom, np.nan)
    deviation = np.asarray(std, np.float64)
    low, high = (deviation * np.sqrt(freedom / chdtri(freedom, tail)) for tail in (ALPHA / 2, 1 - ALPHA / 2))
    return low, high


def seeds_for(
    difference: ArrayLike,
    std: ArrayLike,
    n: ArrayLike,
    tests: ArrayLike = 1,
    examples: ArrayLike = 0.0,
    examples_freedom: ArrayLike = MANY,
) -> SeedsFor:
    """The fewest seeds with which a true difference is detectable, at least 2; see :func:`detectable`.

    Args:
        difference: that matters, named beforehand, on the scale of the test; its sign does not.
        std: of paired differences over seeds, estimated from ``n`` of them.
        tests: in the family.
        examples, examples_freedom: variance that the test sample adds, which no number of seeds reduces.

    nan above ``MOST_SEEDS``: no affordable number, and perhaps none at all, decides it. Ends of the interval are the
    numbers that the ends of the standard deviation's need, nan above the most too.
    """
    centre = _fewest(difference, std, tests, examples, examples_freedom)
    low, high = (_fewest(difference, end, tests, examples, examples_freedom) for end in deviation_interval(std, n))
    return SeedsFor(centre, low, high)


def _fewest(difference: ArrayLike, std: ArrayLike, tests: ArrayLike, examples: ArrayLike, freedom: ArrayLike) -> Array:
    given = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (difference, std, tests, examples, freedom)))
    wanted, deviation, family, added, degrees = (np.array(x).ravel() for x in given)
    wanted, added = np.abs(wanted), np.nan_to_num(added)
    level = ALPHA / (2 * np.maximum(family, 1))

    def enough(at: NDArray[np.int64], seeds: Array) -> NDArray[np.bool_]:
        found = np.zeros(len(at), np.bool_)
        alone = added[at] <= 0
        rows = at[alone]
        found[alone] = detectable(deviation[rows], seeds[alone], family[rows]) <= wanted[rows]
        rows = at[~alone]
        variance = deviation[rows] ** 2 / seeds[~alone]
        limits = _limits(variance, seeds[~alone] - 1, added[rows], degrees[rows], level[rows])
        found[~alone] = _power(wanted[rows] / np.sqrt(variance + added[rows]), limits) >= POWER
        return found

    # A normal test of known variance needs the fewest: those are a start, and where they are too many, so is any.
    left = (wanted / (ndtri(POWER) - ndtri(level))) ** 2 - added
    start = np.divide(deviation**2, left, out=np.full(len(left), np.nan), where=(left > 0) & (deviation > 0))
    most = float(MOST_SEEDS)
    at = np.flatnonzero(start <= most)
    low, high = np.ones(len(left)), np.full(len(left), np.nan)  # too few, as one has no spread; enough
    low[at] = np.clip(np.ceil(start[at]) - 1, 1, most - 1)
    step = 1.0
    while len(at):
        reached = np.minimum(low[at] + step, most)
        suffices = enough(at, reached)
        high[at[suffices]] = reached[suffices]
        low[at[~suffices]] = reached[~suffices]
        at, step = at[~suffices & (reached < most)], 2 * step
    at = np.flatnonzero(high - low > 1)
    while len(at):
        middle = np.floor((low[at] + high[at]) / 2)
        suffices = enough(at, middle)
        high[at[suffices]], low[at[~suffices]] = middle[suffices], middle[~suffices]
        at = at[high[at] - low[at] > 1]
    return high.reshape(given[0].shape)
