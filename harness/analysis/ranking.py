"""Which ranks the data allows, within each group of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np

from harness.analysis import ranks
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.estimates import pairwise
from harness.analysis.result_row import asked
from harness.results.store import LeftOut


def rank(table: Sequence[ComparisonRow], left: Iterable[LeftOut] = ()) -> None:
    """Set ``rank`` and ``rank_worst`` of the rows of one table, and ``failed`` and ``absent``: what has no result.

    The true rank of a row within its group lies between them, with at least 95 % confidence in all ranges of the group.
    See :func:`harness.analysis.ranks.wins`. ``leading`` are rows that none beats and whose intervals meet that of the
    best mean of these: among many rows a test finds nothing against one whose seeds are far apart, however bad it is.

    None where there is nothing to rank: a metric that does not judge, one seed only, no rival (see
    :func:`harness.analysis.grouping.group`), or seeds that have failed (the mean is then over the survivors).
    """
    failed: dict[tuple[str, ...], dict[int, str]] = {}
    for item in left:
        if item.of and item.seed is not None:
            failed.setdefault(item.of, {})[item.seed] = item.reason
    here = {row.id: (*row.take(*_PLACE), row.method, asked(row.asked)) for row in table}
    absent: dict[str, dict[str, str]] = {}
    for of, reasons in failed.items():
        if of not in here.values() and table and of[:-2] == table[0].take(*_PLACE):
            absent.setdefault(of[-2], {})[of[-1]] = next(iter(reasons.values()))
    for row in table:
        row.failed, row.absent = failed.get(here[row.id], {}), absent
        row.rank = row.rank_worst = None
        row.leading = False
    for _, group in groupby(table, key=lambda row: row.group):
        rivals = [row for row in group if row.n > 1 and row.rival and not row.failed]
        if len(rivals) < 2 or rivals[0].direction == "none":
            continue
        best, worst = ranks.rank_ranges(better(rivals))
        for row, first, last in zip(rivals, best.tolist(), worst.tolist(), strict=True):
            row.rank, row.rank_worst = first, last
        sign = 1.0 if rivals[0].direction == "max" else -1.0
        unbeaten = [row for row in rivals if row.rank == 1]  # no network that tells nothing, however fast
        lowest = min(sign * end for end in _interval(max(unbeaten, key=lambda row: sign * row.mean)))
        for row in unbeaten if len(unbeaten) < len(rivals) else ():
            row.leading = max(sign * end for end in _interval(row)) >= lowest


def _interval(row: ComparisonRow) -> tuple[float, float]:
    """A row's interval, or its mean where it has none."""
    low, high = row.ci_low, row.ci_high
    return (row.mean, row.mean) if low is None or high is None else (low, high)


_PLACE = ("suite", "experiment", "architecture", "benchmark")


def better(rivals: Sequence[ComparisonRow]) -> ranks.Flags:
    """(rows, rows): whether row j is better than row i; see :func:`harness.analysis.ranks.wins`."""
    differences, p = pairwise(rivals)
    sign = 1.0 if rivals[0].direction == "max" else -1.0
    broken, n = (np.array(counts) for counts in zip(*((len(row.broken), row.n) for row in rivals), strict=True))
    return ranks.wins(sign * differences, p, broken, n)
