"""Which rows of a table may be set against each other: equal density, or equal parameters, at equal training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.statistics import Array

TOLERANCE = 0.05
"""Relative: how near densities, or numbers of parameters, must be to count as equal."""
BUDGET_TOLERANCE = 0.01
"""Relative: the same for what training has cost."""
BUDGET = ("examples", "tokens", "flops")


def group(table: Sequence[ComparisonRow]) -> None:
    """Set ``group`` and ``rival`` of the rows of a table, which are sorted by scope and falling density.

    Rows of one group are within 5 % of its highest mask density, seed by seed, and within 1 % in examples, tokens and
    dense-equivalent FLOPs. A smaller network without a mask joins those that have as many parameters left, seed by
    seed, whatever its operations. Rivals are the rows of a group that can be ranked: masked or smaller, of one density
    over seeds.
    """
    whole = max((row.parameters or 0.0 for row in table), default=0.0)
    count, firsts = 0, list[ComparisonRow]()  # a row of each group of the density at hand
    for row in table:
        row.small = _smaller(row, whole)
        if row.small:
            continue
        if not firsts or not _near(row, firsts[0]):
            firsts = []
        first = next((first for first in firsts if equal_densities(first, row) and equal_budgets(first, row)), None)
        if first is None:
            row.group, count = count, count + 1
            firsts.append(row)
        else:
            row.group = first.group
        row.rival = row.density_mask < 1 and not row.mixed
    masked = [row for row in table if not row.small and row.density_mask < 1]
    for row in filter(lambda row: row.small, table):
        equal = [o for o in masked if o.mixed == row.mixed and _as_large(row, o) and _as_long(row, o)]
        row.rival = bool(equal) and not row.mixed
        if equal:
            row.group = min(equal, key=lambda other: (abs(other.left - row.left), other.id)).group
        else:
            row.group, count = count, count + 1


def equal_budgets(one: ComparisonRow, other: ComparisonRow) -> bool:
    """Whether the training of both has cost the same, within 1 %, in examples, tokens and dense-equivalent FLOPs."""
    pairs = zip(one.take(*BUDGET), other.take(*BUDGET), strict=True)
    return all(close(mine, others, BUDGET_TOLERANCE) for mine, others in pairs)


def budget_ratio(one: ComparisonRow, other: ComparisonRow) -> tuple[str, float | None] | None:
    """In what the training of one has cost more or less than that of another, and how many times; None if in nothing.

    The first of examples, tokens and FLOPs that is more than 1 % apart; the number is None where one is not known.
    A smaller network's FLOPs are its own.
    """
    for name in BUDGET[:2] if one.small or other.small else BUDGET:
        mine, others = getattr(one, name), getattr(other, name)
        if not close(mine, others, BUDGET_TOLERANCE):
            return name, mine / others if mine is not None and others else None
    return None


def equal_densities(one: ComparisonRow, other: ComparisonRow) -> bool:
    """Whether both have the same density in every seed that both have, within 5 %."""
    if not (np.isfinite(one.densities) & np.isfinite(other.densities)).any():  # as far as their spans tell
        return close(one.density_low, other.density_low) and close(one.density_high, other.density_high)
    return equal_by_seed(one.densities, other.densities)


def equal_by_seed(one: Array, other: Array) -> bool:
    """Whether two densities, or sizes, are within 5 % in every seed that both have, of which there must be one."""
    both = np.isfinite(one) & np.isfinite(other)
    mine, others = one[both], other[both]
    return bool(both.any() and (np.minimum(mine, others) >= (1 - TOLERANCE) * np.maximum(mine, others)).all())


def comparable(row: ComparisonRow, other: ComparisonRow) -> bool:
    """Whether one row may be set against another, which need not be of the same budget.

    So are a row of one density and a whole network. Else both have the same density in every seed, where soft masks
    count with their mean beside hard ones; a smaller network is comparable with those of its group, where sizes differ
    between seeds with those that have as many parameters left in each.
    """
    if row.whole or other.whole:
        return not (row.mixed or other.mixed)
    if row.small or other.small:
        return row.group == other.group and (not (row.mixed or other.mixed) or _as_large(row, other))
    if row.density_scope != other.density_scope:
        return False
    soft = (row.mask_mean is None) != (other.mask_mean is None)
    mine, others = (one.mask_means if soft and one.mask_mean is not None else one.densities for one in (row, other))
    return equal_by_seed(mine, others)


def close(one: float | None, other: float | None, tolerance: float = TOLERANCE) -> bool:
    """Whether two numbers are equal but for a relative tolerance; two unknown ones are."""
    return one == other if one is None or other is None else math.isclose(one, other, rel_tol=tolerance)


def mixed(found: Iterable[float]) -> bool:
    """Whether densities, or sizes, over seeds are too far apart for a mean of their scores; nan is not known."""
    known = [value for value in found if not math.isnan(value)]
    return bool(known) and bool(min(known) < (1 - TOLERANCE) * max(known))


def _smaller(row: ComparisonRow, whole: float) -> bool:
    sized = row.asked is not None or row.match != ""
    return row.density_mask == 1 and sized and row.parameters is not None and row.parameters < whole


def _as_large(row: ComparisonRow, other: ComparisonRow) -> bool:
    return equal_by_seed(row.lefts, other.lefts)


def _as_long(row: ComparisonRow, other: ComparisonRow) -> bool:
    return budget_ratio(row, other) is None


def _near(row: ComparisonRow, first: ComparisonRow) -> bool:
    same = row.density_scope == first.density_scope
    return bool(same and row.density_mask >= (1 - TOLERANCE) * first.density_mask)
