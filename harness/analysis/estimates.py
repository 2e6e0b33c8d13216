"""Rows and their differences on their scales, over seeds and, where results of single examples are kept, over these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.analysis import crossed, power
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.ranks import Flags
from harness.analysis.statistics import Array, summarise


class PairedDifference(NamedTuple):
    """One row minus another in the metric's unit, with 95 % intervals; None where a number cannot be had.

    Attributes:
        std, examples, examples_freedom: on the scale, what the test is made of.
    """

    n: int
    difference: float
    low: float | None
    high: float | None
    fixed_low: float | None
    fixed_high: float | None
    p: float | None
    over: str
    disputed: bool
    std: float
    examples: float
    examples_freedom: float


def estimated(rows: Sequence[ComparisonRow]) -> None:
    """Set means, intervals and spreads of rows; of one whose seeds have different densities only where it sorts."""
    if not rows:
        return
    scaled = np.stack([scores(row) for row in rows])
    parts = [_examples(row) for row in rows]
    found = crossed.estimate(scaled, parts)
    alone = crossed.estimate(scaled)
    spread = summarise(np.stack([row.values for row in rows])).std
    for i, row in enumerate(rows):
        row.mean = float(row.scale.back(found.centre[i], row.n_examples))
        row.std = _number(spread[i])
        row.over = found.over[i] or "seeds"
        if not row.mixed and row.n > 1:
            row.ci_low, row.ci_high = _ends(row, found.low[i], found.high[i])
            row.fixed_low, row.fixed_high = _ends(row, alone.low[i], alone.high[i])


def difference(row: ComparisonRow, other: ComparisonRow) -> PairedDifference:
    """``row`` minus ``other``, paired by seed and, where both have the same ones, by test example."""
    mine, others = scores(row), scores(other)
    both = np.isfinite(mine) & np.isfinite(others)
    part = _common_examples(row, other, both)
    found = crossed.difference(mine[None], others[None], [part])
    alone = crossed.difference(mine[None], others[None])
    start = float(others[both].mean())

    def taken_back(value: float) -> float | None:
        return _number(row.scale.shift(start, value, row.n_examples)) if np.isfinite(value) else None

    raw = (row.values - other.values)[None]
    several = int(found.n[0]) > 1
    return PairedDifference(
        n=int(found.n[0]),
        difference=float(row.scale.shift(start, found.centre[0], row.n_examples)),
        low=taken_back(found.low[0]) if several else None,
        high=taken_back(found.high[0]) if several else None,
        fixed_low=taken_back(alone.low[0]) if several else None,
        fixed_high=taken_back(alone.high[0]) if several else None,
        p=_number(found.p[0]) if several else None,
        over=found.over[0] or "seeds",
        disputed=bool(crossed.sign_depends(raw, (mine - others)[None])[0]),
        std=float(np.sqrt(found.seeds[0] * found.n[0])),
        examples=np.nan if part is None else part.variance,
        examples_freedom=power.MANY if part is None else part.freedom,
    )


def detectable(row: ComparisonRow, other: ComparisonRow, tests: int) -> float | None:
    """The smallest true difference to ``other``, in the metric's unit, that one of ``tests`` tests finds in 80 %."""
    found = difference(row, other)
    reach = float(power.detectable(found.std, found.n, tests, found.examples, found.examples_freedom))
    if not np.isfinite(reach) or reach == 0:
        return None
    centre = float(np.nanmean(scores(other)))
    return max(abs(float(row.scale.shift(centre, sign * reach, row.n_examples))) for sign in (-1, 1))


def needed(row: ComparisonRow, other: ComparisonRow, smallest: float, tests: int) -> power.SeedsFor:
    """Seeds that would find a difference of ``smallest``, in the metric's unit, from ``other``."""
    found = difference(row, other)
    centre = float(other.scale.back(np.nanmean(scores(other)), other.n_examples))
    ways = [abs(float(row.scale.distance(centre, sign * smallest, row.n_examples))) for sign in (-1, 1)]
    return power.seeds_for(min(ways), found.std, found.n, tests, found.examples, found.examples_freedom)


def pairwise(rows: Sequence[ComparisonRow]) -> tuple[Array, Array]:
    """(rows, rows) differences, row j minus row i, on the scale, and two-sided p; nan where nothing is claimed."""
    count = len(rows)
    differences, p = np.zeros((count, count)), np.full((count, count), np.nan)
    for i in range(count):
        for j in range(i + 1, count):
            if (np.isfinite(rows[i].values) & np.isfinite(rows[j].values)).any():
                found = difference(rows[j], rows[i])
                differences[i, j], differences[j, i] = found.difference, -found.difference
                if found.p is not None and not found.disputed:
                    p[i, j] = p[j, i] = found.p
    return differences, p


def scores(row: ComparisonRow) -> Array:
    """(seeds of all rows,) on the row's scale."""
    return row.scale.forward(row.values, row.n_examples)


def _examples(row: ComparisonRow) -> crossed.ExamplesPart | None:
    """What the test examples add to the row's variance; None if not every seed has kept them."""
    influences = _influences(row, np.isfinite(row.values))
    return None if influences is None else crossed.examples_part(influences)


def _common_examples(row: ComparisonRow, other: ComparisonRow, both: Flags) -> crossed.ExamplesPart | None:
    mine, others = _influences(row, both), _influences(other, both)
    if mine is None or others is None or mine.shape != others.shape:
        return None
    return crossed.examples_part(mine - others)


def _influences(row: ComparisonRow, seeds: Flags) -> Array | None:
    """(seeds, examples) on the scale, of some of the seeds; None where one lacks them."""
    chosen = [row.sample[i] for i in np.flatnonzero(seeds)] if row.sample else []
    if not chosen or any(one is None for one in chosen):
        return None
    found = [one.influences() for one in chosen if one is not None]
    if any(one is None or one.shape != found[0].shape for one in found if found[0] is not None) or found[0] is None:
        return None
    slopes = row.scale.derivative(row.values[np.flatnonzero(seeds)], row.n_examples)
    stacked: Array = np.stack([one for one in found if one is not None]) * slopes[:, None]
    return stacked if stacked.shape[1] > 1 else None


def _ends(row: ComparisonRow, *ends: float) -> list[float | None]:
    return [_number(row.scale.back(end, row.n_examples)) for end in ends]


def _number(value: float | Array) -> float | None:
    found = float(value)
    return found if np.isfinite(found) else None
