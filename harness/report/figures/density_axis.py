"""The axis of mask densities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from statistics import mode
from typing import TypeVar

from harness.report.figures.plot import Tick
from harness.report.figures.scale import Scale, alike, fit, labels, short

T = TypeVar("T")
SAME = 0.05
"""Densities this near, relatively, are one."""
_LABEL = 0.09  # of the axis: what the label of a tick takes
_OCTAVES = 0.3  # densities reach below this: a scale of halvings


class DensityAxis:
    """Densities as numbers that rise while density falls: the exponent of 1/2, or linearly; one place if all are one.

    Where halvings are drawn, density 0 gets a place of its own beyond a ``gap``. Labelled are all densities where they
    are far apart, else those at which most methods stand, else halvings or round numbers.

    Args:
        densities: all that are drawn.
        asked: those of them that methods were given, and did not choose; empty: all.
    """

    def __init__(self, densities: Sequence[float], asked: Sequence[float] = ()) -> None:
        lowest, highest = min(densities), max(densities)
        self.gap: float | None = None
        self.alone = highest - lowest <= SAME * highest
        octaves = [-math.log2(d) for d in densities if d > 0] or [0.0]
        first, deepest = math.floor(min(octaves) + 1e-9), max(octaves)
        last = math.floor(deepest + 1e-9)
        self.halvings = 0.5**deepest < _OCTAVES and last > first and not self.alone
        self.ticks: list[Tick]
        if self.alone:
            self.scale = Scale(-0.5, 0.5)
            ends = dict.fromkeys([short(lowest), short(highest)])
            self.ticks = [(0.0, " to ".join(ends))]
            return
        if not self.halvings:
            values = Scale(lowest, highest).ticks()
            self.scale = fit([-highest, -lowest], pad=0.08)
            self.ticks = [(-v, text) for v, text in zip(values, labels(values), strict=True)]
            self.ticks = self._few(asked or densities) or self.ticks
            return
        stride = math.ceil((deepest - first) / 8)
        ticks = [(float(k), short(0.5**k)) for k in range(first, last + 1, stride)]
        self.zero = deepest + 0.16 * (deepest - first)
        if lowest <= 0:
            self.gap = deepest + 0.08 * (deepest - first)
            ticks.append((self.zero, "0"))
        self.scale = fit([float(first), deepest if self.gap is None else self.zero])
        self.ticks = self._few(asked or densities) or ticks

    def __call__(self, density: float) -> float:
        """Where a density stands on ``scale``."""
        if self.alone:
            return 0.0
        if not self.halvings:
            return -density
        return -math.log2(density) if density > 0 else self.zero

    def _few(self, densities: Sequence[float]) -> list[Tick]:
        """A tick at each density, or each that most methods have; none where labels would touch, or there is one."""
        sharing = levels(densities, float)
        for least in (1, max(map(len, sharing)) / 2):
            places = [usual(level) for level in sharing if len(level) >= least]
            at = [self.scale(self(density)) for density in places]
            if len(places) > 1 and all(right - left >= _LABEL for left, right in pairwise(at)):
                return list(zip(map(self, places), alike(places), strict=True))
        return []


def levels(items: Iterable[T], density: Callable[[T], float]) -> list[list[T]]:
    """What stands at one density, the highest first: nothing is further than ``SAME`` below the first of its level."""
    found: list[list[T]] = []
    for item in sorted(items, key=lambda item: -density(item)):
        if found and density(item) >= (1 - SAME) * density(found[-1][0]):
            found[-1].append(item)
        else:
            found.append([item])
    return found


def usual(level: Sequence[float]) -> float:
    """The density that most of a level have, as it is written; of several the highest."""
    texts = [short(density) for density in level]
    return level[texts.index(mode(texts))]
