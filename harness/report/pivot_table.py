"""Comparisons as papers print them: a row for each method, a column for each density or each benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.grouping import close
from harness.report.answers import answers, placed
from harness.report.captions import below, caption, directions, measured
from harness.report.captions import label as table_label
from harness.report.cell_texts import precision, score, short_score, titled
from harness.report.latex import PAGE, width
from harness.report.places import label
from harness.report.score_notes import notes
from harness.report.tables import NONE, WARNING, Column, Table

Across = Literal["density", "benchmark"]
OWN = "own density"
"""Heading of rows whose density nobody asked for."""


def pivot_tables(tables: Sequence[Sequence[ComparisonRow]], across: Across) -> list[Table]:
    """A table for each comparison, or for each network with benchmarks as columns; bold is what may be the best."""
    if across == "density":
        return [_by_density(table) for table in tables]
    networks: dict[tuple[str, ...], list[Sequence[ComparisonRow]]] = {}
    for table in tables:
        networks.setdefault(table[0].take("suite", "experiment", "architecture"), []).append(table)
    return [_by_benchmark(group) for group in networks.values()]


def for_paper(tables: Sequence[Sequence[ComparisonRow]]) -> list[Table]:
    """With benchmarks as columns where there are several, one density at most was asked for, and a page is wide enough;
    else with densities.
    """
    densities = {number for table in tables for row in table if not row.whole and (number := _asked(row)) is not None}
    if len({table[0].benchmark for table in tables}) > 1 and len(densities) < 2:
        found = pivot_tables(tables, "benchmark")
        if all(width(table) <= PAGE for table in found):
            return found
    return pivot_tables(tables, "density")


def _by_density(rows: Sequence[ComparisonRow]) -> Table:
    """The whole network's score stands in the column 1; where nobody asked for a density the score says it."""
    places = precision(rows)
    asked = sorted({number for row in rows if (number := _asked(row)) is not None}, reverse=True)
    names = [f"{number:g}" for number in asked] + [OWN] * any(_asked(row) is None for row in rows)

    def column(row: ComparisonRow) -> str:
        return OWN if (number := _asked(row)) is None else f"{number:g}"

    def text(row: ComparisonRow, written: Callable[[ComparisonRow, int], str]) -> str:
        return written(row, places) + (f" at {placed(row, rows)}" if column(row) == OWN else "")

    table = _filled(rows, names, column, label, text)
    table.title = f"{titled(rows)}: {rows[0].metric} by density"
    what = f"{measured(rows)} by density"
    table.caption = caption(what, rows, bool(table.bold_cells))
    groups = {(column(row), row.group) for row in rows if row.rank is not None and column(row) != OWN}
    if len(groups) > len({name for name, _ in groups}):
        apart = "Rows of a column that differ in density (parameters left) or training are not compared."
        table.below = f"{table.below} {apart}".strip()
    table.label = table_label(rows, rows[0].benchmark, rows[0].metric, "by-density")
    table.answer, table.notes = answers(rows), notes(rows)
    return table


def _by_benchmark(group: Sequence[Sequence[ComparisonRow]]) -> Table:
    """A row is a method at a density."""
    names = [f"{rows[0].benchmark}, {rows[0].metric}" for rows in group]
    names = [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names, 1)]
    every = [row for rows in group for row in rows]
    where = {id(row): (name, rows) for name, rows in zip(names, group, strict=True) for row in rows}
    places = {name: precision(rows) for name, rows in zip(names, group, strict=True)}

    def column(row: ComparisonRow) -> str:
        return where[id(row)][0]

    def called(row: ComparisonRow) -> str:
        return label(row) if row.whole else f"{label(row)} at {placed(row, where[id(row)][1])}"

    table = _filled(every, names, column, called, lambda row, written: written(row, places[column(row)]))
    first = group[0][0]
    table.title = f"{first.experiment}: {first.architecture} by benchmark".removeprefix(": ")
    better = directions(every)
    what = f"{first.architecture} by benchmark" + (f" ({better})" if better else "")
    table.caption = caption(what, every, bool(table.bold_cells))
    table.label = table_label(every, "by-benchmark")
    for name, rows in zip(names, group, strict=True):
        table.answer += [f"{name}: {sentence}" for sentence in answers(rows)]
        said = notes(rows)
        table.notes.append(f"{name}: {' '.join(said[:2])}")
        warnings = (note.removeprefix(f"{WARNING}: ") for note in said if note.startswith(WARNING))
        table.notes += [f"{WARNING}: on {name}, {warning}" for warning in warnings]
    return table


def _filled(
    rows: Sequence[ComparisonRow],
    names: Sequence[str],
    column: Callable[[ComparisonRow], str],
    called: Callable[[ComparisonRow], str],
    text: Callable[[ComparisonRow, Callable[[ComparisonRow, int], str]], str],
) -> Table:
    """Rows in the order in which they come first; those of one name and column stand below each other."""
    cells: dict[tuple[str, int], list[str]] = {}
    short: dict[tuple[str, int], list[str]] = {}
    bold = set()
    for row in rows:
        at, name = names.index(column(row)), called(row)
        again = next(k for k in range(len(rows)) if cells.get((name, k), [NONE] * len(names))[at] == NONE)
        for where, written in ((cells, score), (short, short_score)):
            where.setdefault((name, again), [NONE] * len(names))[at] = text(row, written)
        if row.leading:
            bold.add((list(cells).index((name, again)), at + 1))
    asides = {OWN: "(own density)", "1": "at density 1"}
    columns = [
        Column("method", names=True, key=True),
        *(Column(name, 5, aside=asides.get(name, "")) for name in names),
    ]
    filled, shorter = ([[name, *row] for (name, _), row in found.items()] for found in (cells, short))
    return Table("", columns, filled, short=shorter, bold_cells=bold, below=below(rows))


def _asked(row: ComparisonRow) -> float | None:
    """The column of a row, of a matched one that of what it is matched to; None for a density that nobody asked for."""
    if row.whole or not (row.match or row.small):
        return 1.0 if row.whole else row.asked
    wanted = row.density_asked
    kept = wanted is not None and not row.mixed and (row.small or close(row.density_mask, wanted))
    return wanted if kept else None
