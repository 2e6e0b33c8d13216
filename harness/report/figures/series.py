"""Curves over training, from the series of a table's cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.analysis.comparison_row import ComparisonRow
from harness.errors import CorruptFile
from harness.report.svg import Point, drawable
from harness.results.store import ResultStore
from harness.stages.series import Series

LOSS = "training loss"


@dataclass(frozen=True, slots=True)
class RowCurves:
    """The curves of one row: a sequence of (step, value) a seed, steps counted over all phases.

    ``starts`` are the steps after which a new phase begins, rising, without 0.
    """

    method: str
    seeds: Sequence[Sequence[Point]]
    starts: Sequence[float] = ()


def named(rows: Sequence[ComparisonRow]) -> dict[str, ComparisonRow]:
    """Rows by their method; by method and density where one method has several rows."""
    often = Counter(row.method for row in rows)
    return {f"{row.method} {row.density_mask:.3g}" if often[row.method] > 1 else row.method: row for row in rows}


def training_series(store: ResultStore, table: Iterable[ComparisonRow], what: str = LOSS) -> dict[str, RowCurves]:
    """Training loss, or a metric of the evaluations during training, of each row of a table.

    Keys are the methods; the method and its density where one method has several rows. Evaluations on validation data
    go before those on test data. What cannot be read or drawn is left out.
    """
    rows = list(table)
    found: dict[str, RowCurves] = {}
    for name, row in named(rows).items():
        loaded = (_load(store, row.suite, cell) for cell in row.cells)
        curves = [curve for series in loaded if series and (curve := _curve(series, what))[0]]
        if curves:
            longest = max((starts for _, starts in curves), key=len)
            found[name] = RowCurves(row.method, [points for points, _ in curves], longest)
    return found


def _load(store: ResultStore, suite: str, cell: str) -> Series | None:
    try:
        return store.series(suite, cell)
    except CorruptFile:
        return None


def _curve(series: Series, what: str) -> tuple[list[Point], list[float]]:
    """Points of one seed, and where its phases begin."""
    lengths: dict[int, int] = {}  # steps of each phase, as far as any row tells
    for phase, step, *_ in (*series.loss, *series.evaluations):
        lengths[phase] = max(lengths.get(phase, 0), step)
    before = {phase: sum(steps for other, steps in lengths.items() if other < phase) for phase in sorted(lengths)}
    if what == LOSS:
        chosen = [(row.phase, row.step, row.loss) for row in series.loss]
    else:
        having = [row for row in series.evaluations if what in row.scores]
        split = "validation" if any(row.split == "validation" for row in having) else "test"
        chosen = [(row.phase, row.step, row.scores[what]) for row in having if row.split == split]
    points = {float(before[phase] + step): value for phase, step, value in chosen if drawable(value)}
    return sorted(points.items()), [float(start) for start in before.values() if start > 0]
