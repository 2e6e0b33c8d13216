"""What the seeds at hand could have shown, and how many a difference that somebody names would need.

Both are of the test that is printed: t, two-sided, at 5 % of a family of tests. Nothing here looks at the difference
that was found: "power" of an observed effect is its p-value said again (Hoenig and Heisey 2001, "The abuse of power").
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, nctdtrinc, stdtrit

from harness.analysis.crossed import SHARE_POWER
from harness.analysis.statistics import Array

ALPHA = 0.05
POWER = 0.8
MOST_SEEDS = 10_000
"""Where :func:`seeds_for` gives up."""
FEW_SEEDS = 5
"""With fewer, a number of seeds is said with its interval."""


class SeedsFor(NamedTuple):
    """Seeds that a difference needs, and what the 95 % interval of the standard deviation makes of them."""

    seeds: Array
    low: Array
    high: Array


def detectable(standard_error: ArrayLike, freedom: ArrayLike, tests: ArrayLike = 1) -> Array:
    """The smallest true difference that is found in 80 % of cases, in units of ``standard_error``.

    Args:
        standard_error: of the mean paired difference; ``std / sqrt(n)`` over seeds alone.
        freedom: of the t test; ``n - 1`` over seeds alone. nan where it is not positive.
        tests: in the family; each is then at level 5 % / tests. By Holm's procedure every difference that Bonferroni
            finds is found, and perhaps more: this is a bound.

    The statistic is noncentral t. Source: Cohen 1988, "Statistical Power Analysis for the Behavioral Sciences", 2.
    """
    degrees = np.asarray(freedom, np.float64)
    degrees = np.where(degrees > 0, degrees, np.nan)
    critical = -stdtrit(degrees, ALPHA / (2 * np.maximum(np.asarray(tests, np.float64), 1)))
    found: Array = np.asarray(standard_error, np.float64) * nctdtrinc(degrees, 1 - POWER, critical)
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
    examples_freedom: ArrayLike = np.inf,
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
    wanted, deviation, added, family, degrees = np.broadcast_arrays(
        np.abs(np.asarray(difference, np.float64)),
        np.asarray(std, np.float64),
        np.asarray(examples, np.float64),
        np.asarray(tests, np.float64),
        np.asarray(freedom, np.float64),
    )

    def enough(seeds: Array) -> NDArray[np.bool_]:
        part = deviation**2 / seeds
        total = part + added
        share = np.divide(part, total, out=np.full(total.shape, np.nan), where=total > 0)
        together = 1 / (share**SHARE_POWER / (seeds - 1) + (1 - share) ** SHARE_POWER / degrees)
        shown: NDArray[np.bool_] = detectable(np.sqrt(total), together, family) <= wanted
        return shown

    most = np.full(wanted.shape, float(MOST_SEEDS))
    low, high = np.full(wanted.shape, 1.0), most.copy()  # too few (one has no spread), enough
    possible = enough(most)
    while (high - low > 1).any():
        middle = np.maximum(np.floor((low + high) / 2), 2.0)
        suffices = enough(middle)
        low, high = np.where(suffices, low, middle), np.where(suffices, middle, high)
    found: Array = np.where(possible, high, np.nan)
    return found
