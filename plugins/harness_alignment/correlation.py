"""Pearson's correlation with an uncertainty that knows which observations depend on each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Correlation:
    """Pearson's r of n pairs, and of ``resampled`` (RESAMPLES,) draws of whole clusters with replacement.

    r is 0 where one side is constant: it then says nothing about the other. The bootstrap over clusters is that
    of Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 8; it is seeded, so that equal data
    give equal standard errors.
    """

    r: float
    n: int
    resampled: Floats

    @classmethod
    def of(cls, x: Floats, y: Floats, clusters: NDArray[np.int64]) -> Correlation:
        """Correlation of ``x`` (n,) and ``y`` (n,), where ``clusters`` (n,) numbers the clusters from 0."""
        x, y = x - x.mean(), y - y.mean()
        moments = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y])
        count = int(clusters.max()) + 1
        sums: Floats = np.stack([np.bincount(clusters, row, count) for row in moments])
        draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(np.float64)
        return cls(float(_r(sums.sum(axis=1))), len(x), _r(sums @ draws.T))

    @property
    def stderr(self) -> float:
        """Standard deviation over the resamples."""
        return float(self.resampled.std(ddof=1))


def _r(sums: Floats) -> Floats:
    """R from the sums of 1, x, y, x^2, y^2 and xy, each (...,)."""
    n, x, y, xx, yy, xy = sums
    product = (xx - x * x / n) * (yy - y * y / n)
    safe = product > 1e-24 * xx * yy
    r: Floats = np.where(safe, (xy - x * y / n) / np.sqrt(np.where(safe, product, 1)), 0)
    return r
