"""From losses per example or window to a value and its standard error, in float64."""

from __future__ import annotations

from math import sqrt

from torch import Tensor

from harness import Measurement


def mean(values: Tensor) -> Measurement:
    """Mean of ``values`` (n,), with standard error s / sqrt(n), s with n - 1 in the denominator.

    For zeros and ones with mean p the standard error is sqrt(p (1 - p) / (n - 1)); for n = 1 it is None.
    """
    values = values.double()
    n = len(values)
    stderr = float(values.std(correction=1)) / sqrt(n) if n > 1 else None
    return Measurement(float(values.mean()), n, stderr)


def ratio(sums: Tensor, sizes: Tensor, unit: float = 1.0) -> Measurement:
    """Sum of ``sums`` over sum of ``sizes``, divided by ``unit``; n is the sum of ``sizes``.

    The standard error is that of a ratio over w windows, sqrt(w / (w - 1) sum_i (s_i - r m_i)^2) / sum_i m_i
    with r the ratio (Cochran 1977, Sampling Techniques, section 6.4; no finite-population correction). For
    windows of equal size it is that of the windows' means. It is None for one window.

    Args:
        sums: (w,) total loss of each window.
        sizes: (w,) number of scored tokens or bytes in each window.
    """
    sums, sizes = sums.double(), sizes.double()
    total, windows = float(sizes.sum()), len(sums)
    value = float(sums.sum()) / total
    stderr = None
    if windows > 1:
        squares = float((sums - value * sizes).square().sum())
        stderr = sqrt(windows / (windows - 1) * squares) / total / unit
    return Measurement(value / unit, int(total), stderr)
