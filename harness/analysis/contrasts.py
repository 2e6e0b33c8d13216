"""What the rows of a table are asked: which is set against which, and what came out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np

from harness.analysis.averages import number
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.contrast import Contrast
from harness.analysis.density_equivalent import DensityEquivalent, density_equivalent, density_factor
from harness.analysis.estimates import PairedDifference, detectable, differences, needed, scores
from harness.analysis.grouping import close, comparable, equal_budgets
from harness.analysis.statistics import holm
from harness.suites.question import Question

Pair = tuple[ComparisonRow, ComparisonRow]


def pair(table: Sequence[ComparisonRow], baseline: str | None = None) -> None:
    """Set what concerns the baseline, and ``contrasts``: the suite's questions, else each method against its control.

    Args:
        table: the rows of one table.
        baseline: label to compare with, which is then what every row is asked about; default: the suite's own.
    """
    against: list[Pair] = []
    for row in table:
        own = baseline or row.baseline
        other = _reference(row, [candidate for candidate in table if candidate.method == own])
        row.reference, row.baseline = (None, None) if other is None else (other.id, own)
        if other is not None and other is not row:
            against.append((row, other))
    known = None if baseline else table[0].comparisons
    questions: list[tuple[Question | None, Pair]] = [(None, one) for one in against]
    if known is not None and known.questions:
        questions = list(_asked(table, known.questions))
    pairs = [*against, *(one for _, one in questions)]
    found = dict(zip(pairs, differences(pairs), strict=True))
    for row, other in against:
        that = found[row, other]
        row.difference, row.difference_ci_low, row.difference_ci_high = that.difference, that.low, that.high
    for question, (row, other) in questions:
        asked = question is not None and known is not None and known.asked
        row.contrasts.append(contrast_of(question, row, other, asked, found[row, other]))


def pair_named(table: Sequence[ComparisonRow], named: Sequence[Collection[str]]) -> bool:
    """Ask about each two methods that were named, if no question is about any two of them, and nothing else.

    Args:
        table: the rows of one table that are kept.
        named: the labels of each name; the earlier name is the control, unless the later one masks nothing.

    Returns:
        Whether that was done: the two have to meet.
    """
    of = {row.id: {i for i, labels in enumerate(named) if row.method in labels} for row in table}
    known = (of[row.id] | of.get(contrast.other, set()) for row in table for contrast in row.contrasts)
    if any(len(names) > 1 for names in known):
        return False
    whole = {label for labels in named for label in labels if all(row.whole for row in table if row.method == label)}
    questions = [
        Question(method=control, control=method) if method in whole else Question(method=method, control=control)
        for controls, methods in combinations(named, 2)
        for method in methods
        for control in controls
        if method != control
    ]
    asked = list(_asked(table, questions))
    for row in table if asked else ():
        row.contrasts = []
    for (question, (row, other)), found in zip(asked, differences([pair for _, pair in asked]), strict=True):
        row.contrasts.append(contrast_of(question, row, other, False, found))
    return bool(asked)


def factors(row: ComparisonRow, table: Sequence[ComparisonRow]) -> dict[str, DensityEquivalent]:
    """How many times the weights each method with a curve needs for the score of a row that chose its own density.

    A curve is one label's rows of at least five densities, of the same experiment and training; paired by seed.
    """
    if row.asked is not None or row.match or row.density_mask == 1 or row.direction == "none":
        return {}
    curves: dict[str, list[ComparisonRow]] = {}
    for other in table:
        same = other.density_scope == row.density_scope and equal_budgets(row, other)
        if same and other.asked is not None and other.density_low > 0 and other.density_mask < 1:
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
    raw = np.array([np.nan if contrast.p is None else contrast.p for contrast in contrasts], np.float64)
    family = int(np.isfinite(raw).sum())
    others = [rows[contrast.other] for contrast in contrasts]
    reach = detectable(contrasts, others, family)
    for contrast, other, p, smallest in zip(contrasts, others, holm(raw).tolist(), reach, strict=True):
        tested = contrast.p is not None
        contrast.p_adjusted, contrast.family = number(p), family
        contrast.detectable = smallest if tested else None
        contrast.needed = needed(contrast, other, family) if tested else None


def contrast_of(
    question: Question | None, row: ComparisonRow, other: ComparisonRow, asked: bool, found: PairedDifference
) -> Contrast:
    """A question about two rows with its difference; nothing is corrected yet."""
    broken = any(len(one.broken) == one.n for one in (row, other))
    smallest = row.comparisons.smallest_difference.get(row.benchmark) if row.comparisons and row.primary else None
    return Contrast(
        row=row.id,
        other=other.id,
        method=row.method,
        control=other.method,
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
        std=found.std,
        examples=found.examples,
        examples_freedom=found.examples_freedom,
        smallest=smallest,
    )


def meet(row: ComparisonRow, other: ComparisonRow) -> bool:
    """Whether they have a seed in common."""
    return bool((np.isfinite(row.values) & np.isfinite(other.values)).any())


def _asked(table: Sequence[ComparisonRow], questions: Sequence[Question]) -> Iterator[tuple[Question | None, Pair]]:
    """Each question with the rows that answer it, (method, control); no two rows twice.

    Every row of the method has its nearest control. Where the method is a whole network, every row of the control has.
    """
    seen: set[frozenset[int]] = set()
    for question in questions:
        mine, others = (
            [row for row in table if row.method == label and _at(row, question.density)]
            for label in (question.method, question.control)
        )
        swapped = all(row.whole for row in mine)
        here, there = (others, mine) if swapped else (mine, others)
        for one in here:
            nearest = _nearest(one, there)
            if nearest is not None and frozenset((one.id, nearest.id)) not in seen:
                seen.add(frozenset((one.id, nearest.id)))
                yield question, (nearest, one) if swapped else (one, nearest)


def _at(row: ComparisonRow, density: float | None) -> bool:
    return density is None or row.asked is None or close(row.asked, density, 1e-9)


def _nearest(row: ComparisonRow, candidates: Iterable[ComparisonRow]) -> ComparisonRow | None:
    """The one to compare a row with, if any: of equal budget, matched or asked for alike, of the nearest density."""

    def distance(other: ComparisonRow) -> tuple[bool, bool, float, int]:
        alike = (other.match, other.asked) == (row.match, row.asked)
        return not equal_budgets(other, row), not alike, abs(other.density_mask - row.density_mask), other.id

    return min((one for one in candidates if comparable(row, one) and meet(row, one)), key=distance, default=None)


def _reference(row: ComparisonRow, candidates: Sequence[ComparisonRow]) -> ComparisonRow | None:
    """The baseline row to compare with, itself if it is one."""
    if row in candidates:
        return row
    return _nearest(row, [other for other in candidates if other.whole or not row.whole])
