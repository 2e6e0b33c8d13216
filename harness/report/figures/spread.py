"""Moving things apart on a line."""

from __future__ import annotations

from collections.abc import Sequence


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions at least ``gap`` apart and within [low, high], in the same order and as near as can be.

    ``positions`` must rise. The sum of squared moves is the least possible: an isotonic regression of what
    is left of the positions after each gap, by pooling neighbours that are out of order (Barlow et al. 1972).
    Where there is no room for the gaps, they all shrink alike.
    """
    if len(positions) > 1:
        gap = min(gap, (high - low) / (len(positions) - 1))
    pools: list[tuple[float, int]] = []  # mean and size of each run of neighbours that touch
    for i, position in enumerate(positions):
        mean, size = position - i * gap, 1
        while pools and pools[-1][0] > mean:
            before, count = pools.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        pools.append((mean, size))
    last = high - (len(positions) - 1) * gap
    free = [min(max(mean, low), max(last, low)) for mean, size in pools for _ in range(size)]
    return [position + i * gap for i, position in enumerate(free)]
