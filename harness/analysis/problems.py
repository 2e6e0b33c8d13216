"""Methods over many problems: who wins how often, and how far the others are behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.ranking import better


@dataclass(frozen=True, slots=True)
class Tally:
    """How one method fares against another: problems where it is surely better, cannot be told apart, is worse."""

    wins: int = 0
    ties: int = 0
    losses: int = 0


def problems(tables: Iterable[Sequence[ComparisonRow]]) -> Iterator[dict[str, ComparisonRow]]:
    """What methods can be compared on: rows of one table, density and budget, by name; two or more of them.

    Only rivals (see :func:`harness.analysis.grouping.group`), and none with failed seeds, whose mean is the survivors'.
    Where one method has several rows the name says which.
    """
    for table in tables:
        for _, group in groupby(table, key=lambda row: row.group):
            judged = (row for row in group if row.direction != "none" and not row.failed)
            rivals = [row for row in judged if row.rival]
            often = Counter(row.method for row in rivals)
            named = {row.method if often[row.method] == 1 else _long(row): row for row in rivals}
            if len(named) > 1:
                yield named


def tallies(tables: Iterable[Sequence[ComparisonRow]]) -> dict[tuple[str, str], Tally]:
    """(method, other method) -> its tally over the problems that have both with two or more seeds.

    Better as in :func:`harness.analysis.ranking.rank`, with Holm's correction within the problem.
    """
    counts: dict[tuple[str, str], list[int]] = {}
    for problem in problems(tables):
        names = [name for name, row in problem.items() if row.n > 1]
        if len(names) < 2:
            continue
        beats = better([problem[name] for name in names])  # [i, j]: j is better than i
        for i, one in enumerate(names):
            for j, other in enumerate(names):
                if i != j:
                    outcome = 0 if beats[j, i] else 2 if beats[i, j] else 1
                    counts.setdefault((one, other), [0, 0, 0])[outcome] += 1
    return {pair: Tally(*count) for pair, count in counts.items()}


def performance_profile(
    tables: Iterable[Sequence[ComparisonRow]],
) -> tuple[dict[str, list[tuple[float, float]]], int, int]:
    """Performance profiles of methods, how many problems count, and how many do not.

    By method: (ratio, fraction of problems whose mean is within this ratio of the best one), rising. The ratio is
    mean / best where lower is better and best / mean where higher is. A problem with a mean that is not positive has
    no ratios and does not count. A method that is missing in a problem has failed there, as the source has it.
    Source: Dolan and More 2002, "Benchmarking optimization software with performance profiles".
    """
    ratios: dict[str, list[float]] = {}
    counted = left = 0
    for problem in problems(tables):
        means = {name: row.mean for name, row in problem.items()}
        if min(means.values()) <= 0:
            left += 1
            continue
        counted += 1
        highest = next(iter(problem.values())).direction == "max"
        best = max(means.values()) if highest else min(means.values())
        for name, mean in means.items():
            ratios.setdefault(name, []).append(best / mean if highest else mean / best)
    return {name: _steps(found, counted) for name, found in sorted(ratios.items())}, counted, left


def _steps(ratios: Sequence[float], problems: int) -> list[tuple[float, float]]:
    rising = sorted(ratios)
    return [
        (ratio, (i + 1) / problems)
        for i, ratio in enumerate(rising)
        if i + 1 == len(rising) or rising[i + 1] > ratio  # the last of equal ones
    ]


def _long(row: ComparisonRow) -> str:
    what = f"as {row.match}" if row.match else "" if row.asked is None else f"{row.asked:g}"
    return f"{row.method} {what}".rstrip()
