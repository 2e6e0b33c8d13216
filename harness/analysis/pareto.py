"""Which results no other one beats in both cost and value."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def efficient(cost: ArrayLike, value: ArrayLike, direction: str) -> NDArray[np.bool_]:
    """Whether no other point is at least as good in both coordinates and better in one, (points,).

    Lower cost is better; ``direction`` says which value is: "max" or "min". Points with equal cost and value
    are efficient together. A point with nan or an infinite number is not, nor does it rule out another;
    none is where ``direction`` is "none", a metric that does not judge. O(n log n).

    Raises:
        ValueError: for another direction, or arrays of different shapes.
    """
    costs, values = np.asarray(cost, dtype=np.float64), np.asarray(value, dtype=np.float64)
    if direction not in ("max", "min", "none"):
        raise ValueError(f"direction must be 'max', 'min' or 'none', not {direction!r}")
    if costs.shape != values.shape or costs.ndim != 1:
        raise ValueError(f"cost and value must be of one length, not of shapes {costs.shape} and {values.shape}")
    found = np.zeros(costs.shape, dtype=np.bool_)
    if direction == "none":
        return found
    losses = -values if direction == "max" else values
    usable = np.flatnonzero(np.isfinite(costs) & np.isfinite(losses))
    order = usable[np.lexsort((losses[usable], costs[usable]))]
    best, at = np.inf, np.nan  # the smallest loss so far, and the cost it was first had for
    for i in order:
        if losses[i] < best:
            best, at = losses[i], costs[i]
        found[i] = losses[i] == best and costs[i] == at
    return found
