"""Means, intervals and paired differences over seeds, for many rows at once.

Arrays are float64 with seeds along the last axis; nan marks a seed that is missing.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtrinc, stdtr, stdtrit

CONFIDENCE = 0.95
POWER = 0.8
MOST_SEEDS = 10_000
"""Where :func:`seeds_needed` gives up."""
Array = NDArray[np.float64]


class Summary(NamedTuple):
    """What is known of each row; ``std`` needs two seeds, and so does the interval: nan otherwise."""

    n: NDArray[np.int64]
    mean: Array
    std: Array
    low: Array
    high: Array


class Difference(NamedTuple):
    """Each row minus its reference, over the ``n`` seeds that both have; nan where nothing can be said.

    ``std`` is that of the differences; nan where they have no spread (up to rounding).
    """

    n: NDArray[np.int64]
    mean: Array
    std: Array
    low: Array
    high: Array
    p: Array


def summarise(values: Array) -> Summary:
    """Mean, standard deviation (n - 1) and 95 % Student t interval of the mean along the last axis.

    The interval is mean +- t(0.975, n - 1) std / sqrt(n): it assumes seeds drawn from a normal distribution.
    """
    present = np.isfinite(values)
    n = present.sum(axis=-1)
    counted = np.where(n > 0, n, np.nan)
    mean = np.where(present, values, 0.0).sum(axis=-1) / counted
    deviation = np.where(present, values - mean[..., None], 0.0)
    freedom = np.where(n > 1, n - 1, np.nan)
    std = np.sqrt((deviation**2).sum(axis=-1) / freedom)
    half = stdtrit(freedom, (1 + CONFIDENCE) / 2) * std / np.sqrt(counted)
    return Summary(n, mean, std, mean - half, mean + half)


def paired(values: Array, reference: Array) -> Difference:
    """``values - reference`` paired by seed: mean, 95 % t interval, two-sided p of the paired t test.

    Without spread between the differences (up to rounding) there is no t test: p is then 1 where they are
    all zero and nan where they are not, because a p of 0 from a few equal numbers would claim too much.
    """
    differences = values - reference
    n, mean, std, low, high = summarise(differences)
    present = np.isfinite(differences)
    scale = np.where(present, np.maximum(np.abs(values), np.abs(reference)), 0.0).max(axis=-1)
    rounding = 8 * np.finfo(np.float64).eps * scale
    spread = np.where(std > rounding, std, np.nan)
    p = 2 * stdtr(np.where(n > 1, n - 1, np.nan), -np.abs(mean) / (spread / np.sqrt(np.maximum(n, 1))))
    equal = (n > 1) & (std <= rounding) & (np.abs(mean) <= rounding)
    return Difference(n, mean, spread, low, high, np.where(equal, 1.0, p))


def holm(p: Array) -> Array:
    """Holm-adjusted p-values of one family, (tests,); nan entries are no tests and stay nan.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    adjusted = np.full_like(p, np.nan)
    tests = np.flatnonzero(np.isfinite(p))
    order = tests[np.argsort(p[tests], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0)
    return adjusted


def better(values: Array, direction: str) -> NDArray[np.bool_]:
    """(rows, seeds) -> (rows, rows) bool: whether row j is better than row i.

    That is so where the paired t test between them has p < 0.05 after Holm's correction over all pairs of the rows:
    with a probability of at least 95 % no two rows of equal expectation are told apart.
    """
    sign = {"max": 1.0, "min": -1.0}[direction]
    difference = paired(sign * values[None, :], sign * values[:, None])
    upper = np.triu_indices(len(values), 1)
    adjusted = np.full(difference.p.shape, np.nan)
    adjusted[upper] = adjusted.T[upper] = holm(difference.p[upper])
    return (difference.mean > 0) & (adjusted < 1 - CONFIDENCE)


def detectable(std: Array, n: NDArray[np.int64]) -> Array:
    """The smallest true difference that a paired t test at the 5 % level finds in 80 % of cases.

    Args:
        std: of the differences between pairs.
        n: number of pairs; nan where there are fewer than 2.

    The test statistic is noncentral t with n - 1 degrees of freedom and noncentrality difference / (std / sqrt(n)).
    Source: Cohen 1988, "Statistical Power Analysis for the Behavioral Sciences", 2.
    """
    return std * _effect(n)


def seeds_needed(mean: Array, std: Array) -> Array:
    """The fewest pairs with which a true difference as large as ``mean`` would be detectable; at least 2.

    nan without spread, for no difference, and above ``MOST_SEEDS``.
    """
    effects = _effects()
    wanted = np.divide(np.abs(mean), std, out=np.zeros_like(mean), where=std > 0)
    first = len(effects) - np.searchsorted(effects[::-1], wanted, side="right")
    found = np.where(first < len(effects), first + 2.0, np.nan)
    return np.where(wanted > 0, found, np.nan)


def _effect(n: NDArray[np.int64]) -> Array:
    """The detectable difference in units of the standard deviation of differences."""
    freedom = np.where(n > 1, n - 1.0, np.nan)
    critical = stdtrit(freedom, (1 + CONFIDENCE) / 2)
    effect: Array = nctdtrinc(freedom, 1 - POWER, critical) / np.sqrt(np.maximum(n, 1))
    return effect


@cache
def _effects() -> Array:
    """What 2, 3, ... seeds can detect; falls."""
    return _effect(np.arange(2, MOST_SEEDS + 1))
