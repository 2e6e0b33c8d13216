"""Means, intervals and paired differences over seeds, for many rows at once.

Arrays are float64 with seeds along the last axis; nan marks a seed that is missing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95
Array = NDArray[np.float64]


class Summary(NamedTuple):
    """What is known of each row; ``std`` needs two seeds, and so does the interval: nan otherwise."""

    n: NDArray[np.int64]
    mean: Array
    std: Array
    low: Array
    high: Array


class Difference(NamedTuple):
    """Each row minus its reference, over the ``n`` seeds that both have; nan where nothing can be said."""

    n: NDArray[np.int64]
    mean: Array
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
    return Difference(n, mean, low, high, np.where(equal, 1.0, p))


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
