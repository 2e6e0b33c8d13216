"""How many times the weights a control needs to reach a row's score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from harness.analysis.statistics import Array, summarise

LEAST_DENSITIES = 5


class Factor(NamedTuple):
    """One seed's: the control reaches the score at ``value`` times the row's density, or at more or less than that."""

    value: float
    bound: Literal["", "<", ">"] = ""

    def __str__(self) -> str:
        return f"{self.bound} {self.value:.3g}".strip()


class DensityEquivalent(NamedTuple):
    """Over seeds; ``mean`` is geometric, with a 95 % t interval on logs over seeds.

    None where a seed gives only a bound, and for the interval with fewer than two seeds.
    """

    factors: tuple[Factor, ...]
    mean: float | None
    low: float | None
    high: float | None


def density_factor(
    density: float, score: float, curve_densities: Array, curve_scores: Array, direction: str
) -> Factor | None:
    """The factor of one seed, or None: fewer than five densities of the control that have a score.

    Args:
        density: of the row, in (0, 1].
        score: of the row, on the scale of the test.
        curve_densities, curve_scores: (K,) of the control in the same seed, the latter on the same scale; nan: missing.
        direction: max or min.

    The curve is the isotonic regression of the control's scores on density (monotone, least squares, pool adjacent
    violators; Barlow et al. 1972), linear between its points in log density. It is read at the lowest density that
    reaches the score: where it is flat, at the left end. Beyond its ends there is only a bound, and so there is at the
    score of a flat left end (chance, say), which lower densities may have too.

    Raises:
        ValueError: for densities outside (0, 1].
    """
    from scipy.optimize import isotonic_regression  # late: it takes longer than all that most tables need

    known = np.isfinite(curve_densities) & np.isfinite(curve_scores)
    densities, at = np.unique(curve_densities[known], return_inverse=True)
    if len(densities) < LEAST_DENSITIES or not np.isfinite(score):
        return None
    if not (0 < density <= 1 and densities[0] > 0 and densities[-1] <= 1):
        raise ValueError(f"density {density:g} or one of {densities.tolist()} is outside (0, 1]: give fractions kept")
    sign = {"max": 1.0, "min": -1.0}[direction]
    counts = np.bincount(at)
    means = np.bincount(at, sign * curve_scores[known]) / counts
    curve: Array = isotonic_regression(means, weights=counts).x
    wanted = sign * score
    if wanted > curve[-1]:
        return Factor(float(densities[-1] / density), ">")
    if wanted < curve[0] or wanted == curve[0] == curve[1]:
        return Factor(float(densities[0] / density), "<")
    right = int(np.searchsorted(curve, wanted, side="left"))  # the first that reaches it
    if right == 0:
        return Factor(float(densities[0] / density))
    logs = np.log(densities)
    share = (wanted - curve[right - 1]) / (curve[right] - curve[right - 1])
    reached = logs[right - 1] + share * (logs[right] - logs[right - 1])
    return Factor(float(np.exp(reached) / density))


def density_equivalent(factors: Sequence[Factor | None]) -> DensityEquivalent | None:
    """What seeds say together; None where one has no curve, or there is no seed."""
    known = tuple(factor for factor in factors if factor is not None)
    if not known or len(known) < len(factors):
        return None
    if any(factor.bound for factor in known):
        return DensityEquivalent(known, None, None, None)
    summary = summarise(np.log([[factor.value for factor in known]]))
    mean, low, high = (float(np.exp(one[0])) for one in (summary.mean, summary.low, summary.high))
    several = len(known) > 1
    return DensityEquivalent(known, mean, low if several else None, high if several else None)
