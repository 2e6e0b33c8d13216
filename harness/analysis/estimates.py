"""Rows and their differences on their scales, over seeds and, where results of single examples are kept, over these."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import isfinite
from typing import NamedTuple

import numpy as np

from harness.analysis import crossed, power
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.contrast import Contrast
from harness.analysis.ranks import Flags
from harness.analysis.scales import ScoreScale
from harness.analysis.statistics import Array, summarise


class PairedDifference(NamedTuple):
    """One row minus another in the metric's unit, with 95 % intervals; None where a number cannot be had.

    Attributes:
        difference: nan without a seed in common.
        disputed: see :func:`harness.analysis.crossed.sign_depends`.
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
    by_scale: dict[ScoreScale, list[ComparisonRow]] = {}
    for row in rows:
        by_scale.setdefault(row.scale, []).append(row)
    for scale, alike in by_scale.items():
        n, scaled = _on_scale(alike, scale)
        found = crossed.estimate(scaled, [_examples(row) for row in alike])
        alone = crossed.estimate(scaled)
        ends = [scale.back(end, n).tolist() for end in (found.low, found.high, alone.low, alone.high)]
        spread = summarise(np.stack([row.values for row in alike])).std.tolist()
        columns = zip(alike, scale.back(found.centre, n).tolist(), found.over, spread, *ends, strict=True)
        for row, mean, over, std, *interval in columns:
            row.mean, row.over = mean, over or "seeds"
            if not row.mixed and row.n > 1:
                row.std = _number(std)
                row.ci_low, row.ci_high, row.fixed_low, row.fixed_high = map(_number, interval)


def differences(pairs: Sequence[tuple[ComparisonRow, ComparisonRow]]) -> list[PairedDifference]:
    """The first row of each pair minus the second, all of one table: paired by seed, and by test example where both
    have the same ones.
    """
    if not pairs:
        return []
    rows, others = zip(*pairs, strict=True)
    scale = rows[0].scale
    n, mine = _on_scale(rows, scale)
    _, theirs = _on_scale(others, scale)
    both = np.isfinite(mine) & np.isfinite(theirs)
    parts = [_common_examples(*pair, common) for pair, common in zip(pairs, both, strict=True)]
    alone = crossed.difference(mine, theirs)
    found = crossed.difference(mine, theirs, parts) if any(part is not None for part in parts) else alone
    start = summarise(np.where(both, theirs, np.nan)).mean
    several = found.n > 1
    raw = np.stack([row.values - other.values for row, other in pairs])
    disputed, over = crossed.sign_depends(raw, mine - theirs), found.over
    std = np.sqrt(found.seeds * found.n)
    change = scale.shift(start, found.centre, n)
    low, high, fixed_low, fixed_high = (
        np.where(several, scale.shift(start, end, n), np.nan) for end in (found.low, found.high, alone.low, alone.high)
    )
    return [
        PairedDifference(
            n=int(found.n[i]),
            difference=float(change[i]),
            low=_number(low[i]),
            high=_number(high[i]),
            fixed_low=_number(fixed_low[i]),
            fixed_high=_number(fixed_high[i]),
            p=_number(found.p[i]) if several[i] else None,
            over=over[i] or "seeds",
            disputed=bool(disputed[i]),
            std=float(std[i]),
            examples=np.nan if part is None else part.variance,
            examples_freedom=power.MANY if part is None else part.freedom,
        )
        for i, part in enumerate(parts)
    ]


def detectable(contrasts: Sequence[Contrast], others: Sequence[ComparisonRow], tests: int) -> list[float | None]:
    """The smallest true differences to other rows, in the metric's unit, that ``tests`` tests find in 80 % of cases.

    Of the two signs the larger one; None without any spread.
    """
    if not contrasts:
        return []
    columns = np.array([(c.std, c.n, c.examples, c.examples_freedom) for c in contrasts], np.float64).T
    std, seeds, examples, freedom = columns
    reach = power.detectable(std, seeds, tests, examples, freedom)
    scale = others[0].scale
    n = _sizes(others)
    centre = scale.forward([other.mean for other in others], n)
    shifts = [np.abs(scale.shift(centre, sign * reach, n)) for sign in (-1, 1)]
    return [_number(shift) for shift in np.where(reach > 0, np.maximum(*shifts), np.nan)]


def needed(contrast: Contrast, other: ComparisonRow, tests: int) -> power.SeedsFor | None:
    """Seeds that would find the smallest difference to another row that matters; None if none does, or without spread.

    Of the two signs the one that needs more.
    """
    if contrast.smallest is None or not contrast.std > 0:
        return None
    smallest = np.array([-contrast.smallest, contrast.smallest])
    ways = np.abs(other.scale.distance(other.mean, smallest, other.n_examples))
    return power.seeds_for(ways.min(), contrast.std, contrast.n, tests, contrast.examples, contrast.examples_freedom)


def pairwise(rows: Sequence[ComparisonRow]) -> tuple[Array, Array]:
    """(rows, rows) differences, row j minus row i, in scores, and two-sided p; nan where nothing is claimed."""
    count = len(rows)
    found, p = np.zeros((count, count)), np.full((count, count), np.nan)
    places = list(combinations(range(count), 2))
    for (i, j), pair in zip(places, differences([(rows[j], rows[i]) for i, j in places]), strict=True):
        found[i, j], found[j, i] = pair.difference, -pair.difference
        if pair.p is not None and not pair.disputed:
            p[i, j] = p[j, i] = pair.p
    return found, p


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
    if all(one is None for one in row.sample):
        return None
    chosen = [row.sample[i] for i in np.flatnonzero(seeds)]
    if not chosen or any(one is None for one in chosen):
        return None
    found = [one.influences() for one in chosen if one is not None]
    if any(one is None or one.shape != found[0].shape for one in found if found[0] is not None) or found[0] is None:
        return None
    slopes = row.scale.derivative(row.values[np.flatnonzero(seeds)], row.n_examples)
    stacked: Array = np.stack([one for one in found if one is not None]) * slopes[:, None]
    return stacked if stacked.shape[1] > 1 else None


def _on_scale(rows: Sequence[ComparisonRow], scale: ScoreScale) -> tuple[Array, Array]:
    """(rows,) numbers of test examples and (rows, seeds) scores on the scale."""
    n = _sizes(rows)
    return n, scale.forward(np.stack([row.values for row in rows]), n[:, None])


def _sizes(rows: Sequence[ComparisonRow]) -> Array:
    return np.array([np.nan if row.n_examples is None else row.n_examples for row in rows], np.float64)


def _number(value: float) -> float | None:
    return float(value) if isfinite(value) else None
