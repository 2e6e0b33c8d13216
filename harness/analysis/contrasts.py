"""What the rows of a table are asked: which is set against which, and what came out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from harness.analysis.averages import number
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.contrast import Contrast
from harness.analysis.density_equivalent import DensityEquivalent, density_equivalent, density_factor
from harness.analysis.estimates import detectable, difference, needed, scores
from harness.analysis.grouping import close, equal_budgets, equal_densities
from harness.analysis.statistics import holm
from harness.suites.question import Question

BASELINE_TOLERANCE = 0.1
"""Relative: how near the density of a masked baseline must be."""


def pair(table: Sequence[ComparisonRow], baseline: str | None = None) -> None:
    """Set what concerns the baseline, and ``contrasts``: the suite's questions, else each method against its control.

    Args:
        table: the rows of one table.
        baseline: label to compare with, which is then what every row is asked about; default: the suite's own.
    """
    for row in table:
        own = baseline or row.baseline
        other = _reference(row, [candidate for candidate in table if candidate.method == own])
        usable = other is not None and not (row.mixed and other is not row) and _common(row, other) > 0
        row.reference = other.id if other is not None and usable else None
        row.baseline = own if usable else None
        if usable and other is not None and other is not row:
            found = difference(row, other)
            row.difference, row.difference_ci_low, row.difference_ci_high = found.difference, found.low, found.high
    for question, row, other, asked in _asked(table, baseline):
        if _common(row, other):
            row.contrasts.append(_contrast(question, row, other, asked))


def factors(row: ComparisonRow, table: Sequence[ComparisonRow]) -> dict[str, DensityEquivalent]:
    """How many times the weights each method with a curve needs for the score of a row that chose its own density.

    A curve is one label's rows of at least five densities, of the same experiment and training; paired by seed.
    """
    if row.asked is not None or row.match or row.density_mask == 1 or row.direction == "none":
        return {}
    curves: dict[str, list[ComparisonRow]] = {}
    for other in table:
        if other.asked is not None and other.density_mask < 1 and equal_budgets(row, other):
            curves.setdefault(other.method, []).append(other)
    found = {}
    mine = scores(row)
    for name, curve in sorted(curves.items()):
        densities, heights = np.stack([c.densities for c in curve]), np.stack([scores(c) for c in curve])
        each = [
            density_factor(row.densities[i], mine[i], densities[:, i], heights[:, i], row.direction)
            for i in np.flatnonzero(np.isfinite(mine))
            if row.densities[i] > 0
        ]
        together = density_equivalent(each) if len(each) == row.n else None
        if together is not None:
            found[name] = together
    return found


def adjust(table: Iterable[ComparisonRow]) -> None:
    """Set what depends on how many questions the rows of one table are asked: Holm's p, and what could be detected."""
    table = list(table)
    rows = {row.id: row for row in table}
    for row in table:
        row.contrasts = [contrast for contrast in row.contrasts if contrast.other in rows]
    contrasts = [contrast for row in table for contrast in row.contrasts]
    raw = np.array([np.nan if contrast.p is None else contrast.p for contrast in contrasts])
    family = int(np.isfinite(raw).sum())
    for contrast, p in zip(contrasts, holm(raw), strict=True):
        row, other = rows[contrast.row], rows[contrast.other]
        contrast.p_adjusted, contrast.family = number(p), family
        contrast.detectable = contrast.needed = None
        if contrast.p is not None:
            contrast.detectable = detectable(row, other, family)
            if contrast.smallest is not None:
                contrast.needed = needed(row, other, contrast.smallest, family)


def _asked(
    table: Sequence[ComparisonRow], baseline: str | None
) -> Iterator[tuple[Question | None, ComparisonRow, ComparisonRow, bool]]:
    """(question, the method's row, the control's, whether the suite asks) of one table."""
    known = table[0].comparisons
    if baseline is not None or known is None or not known.questions:
        for row in table:
            other = next((other for other in table if other.id == row.reference), None)
            if other is not None and other is not row:
                yield None, row, other, False
        return
    for question in known.questions:
        for row in table:
            if row.method == question.method and _at(row, question.density):
                other = _control(row, question, table)
                if other is not None:
                    yield question, row, other, known.asked


def _at(row: ComparisonRow, density: float | None) -> bool:
    return density is None or row.asked is None or close(row.asked, density, 1e-9)


def _control(row: ComparisonRow, question: Question, table: Sequence[ComparisonRow]) -> ComparisonRow | None:
    """The control's row for a row: of its density, seed by seed; else without a mask, or one that is matched to it."""
    candidates = [other for other in table if other.method == question.control and _at(other, question.density)]
    candidates.sort(key=lambda other: (not equal_budgets(row, other), other.id))
    for fits in (
        lambda other: other.group == row.group or (row.density_mask < 1 and equal_densities(row, other)),
        lambda other: other.density_mask == 1 and not row.mixed,
        lambda other: row.mask_mean is not None and other.match.split(",")[0].split(" ")[0] == row.method,
    ):
        if (found := next(filter(fits, candidates), None)) is not None:
            return found
    return None


def _contrast(question: Question | None, row: ComparisonRow, other: ComparisonRow, asked: bool) -> Contrast:
    found = difference(row, other)
    broken = any(len(one.broken) == one.n for one in (row, other))
    smallest = row.comparisons.smallest_difference.get(row.benchmark) if row.comparisons and row.primary else None
    return Contrast(
        row=row.id,
        other=other.id,
        method=row.method,
        control=other.method,
        density=row.density_mask if not row.mixed and equal_densities(row, other) else None,
        name=(question.name if question else None) or "",
        asked=asked,
        n=found.n,
        difference=found.difference,
        low=None if broken else found.low,
        high=None if broken else found.high,
        fixed_low=None if broken else found.fixed_low,
        fixed_high=None if broken else found.fixed_high,
        p=None if broken or row.direction == "none" else found.p,
        over=found.over,
        disputed=found.disputed,
        broken=broken,
        smallest=smallest,
    )


def _common(row: ComparisonRow, other: ComparisonRow | None) -> int:
    """Seeds that both have."""
    return 0 if other is None else int((np.isfinite(row.values) & np.isfinite(other.values)).sum())


def _reference(row: ComparisonRow, candidates: Sequence[ComparisonRow]) -> ComparisonRow | None:
    """The baseline row to compare with: an unmasked one always, a sparse one only at the row's own density."""
    usable = [
        c
        for c in candidates
        if c.density_mask == 1
        or (c.density_scope == row.density_scope and close(c.density_mask, row.density_mask, BASELINE_TOLERANCE))
    ]

    def distance(candidate: ComparisonRow) -> tuple[bool, bool, float]:
        same = (candidate.match, candidate.asked) == (row.match, row.asked)
        return not equal_budgets(candidate, row), not same, abs(candidate.density_mask - row.density_mask)

    return row if row in candidates else min(usable, key=distance, default=None)
