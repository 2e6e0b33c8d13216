"""Means and intervals over seeds of many rows at once, and Holm's procedure.

Arrays are float64 with seeds along the last axis; nan marks a seed that is missing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

CONFIDENCE = 0.95
Array = NDArray[np.float64]


class Summary(NamedTuple):
    """What is known of each row; ``std`` needs two seeds, and so does the interval: nan otherwise."""

    n: NDArray[np.int64]
    mean: Array
    std: Array
    low: Array
    high: Array


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
