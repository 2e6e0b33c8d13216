"""The table of a comparison: the answer in words, then a row for each method and density."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.analysis.comparison_row import ComparisonRow
from harness.report.answers import answers, density
from harness.report.captions import below, caption, label, meanings, measured
from harness.report.cell_texts import (
    baseline_name,
    dead_units,
    minus_baseline,
    minus_control,
    parameters,
    precision,
    ranks,
    score,
    tested,
    titled,
)
from harness.report.score_notes import COMMON, notes, varying
from harness.report.seed_table import seed_table
from harness.report.tables import NONE, Column, Table, fraction

Made = tuple[Column, Callable[[ComparisonRow], str]]


def score_table(rows: Sequence[ComparisonRow], title: str = "") -> Table:
    """The rows of one table; what is the same in all of them stands in the notes instead of a column."""
    first = rows[0]
    places = precision(rows)
    against = {contrast.control for row in rows for contrast in row.contrasts[:1]}
    only = next(iter(against)) if len(against) == 1 else None
    baseline = baseline_name(rows)
    made: list[Made] = []
    if any(row.rank is not None for row in rows):
        made.append((Column("rank", 3, True), ranks))
    made.append((Column("method", strong=True, names=True, key=True), lambda row: row.method))
    names = [(row.method, row.match) for row in rows]
    several = len(set(names)) < len(names)  # then a row's density says which it is
    dense = (Column("density", 0 if several else 5, True, key=True), density)
    made += [dense] if several else []
    made.append((Column(first.metric, strong=True), lambda row: score(row, places)))
    if against:
        if only is None:
            made.append((Column("control", 3, names=True), _control))
        made.append((Column(f"minus {only or 'control'}", 1), lambda row: minus_control(row, places, named=False)))
    if any(row.contrast is not None and row.contrast.p_adjusted is not None for row in rows):
        made.append((Column("p", 2, True), tested))
    if any(row.mask_mean is not None for row in rows):
        made.append((Column("mean mask", 4, True), lambda row: fraction(row.mask_mean)))
    made += [] if several else [dense]
    if baseline and only != baseline and any(row.difference is not None for row in rows):
        made.append((Column(f"minus {baseline}", 6), lambda row: minus_baseline(row, places)))
    if any(row.published is not None for row in rows):
        made.append((Column("published", 6, True), lambda row: NONE if row.published is None else f"{row.published:g}"))
    differing = varying(rows)
    made += [(Column(name, 7, right), _without(name, text)) for name, right, text in COMMON if name in differing]
    made += [
        (Column("parameters left / all", 8, folded=True), parameters),
        (Column("asked", 9, True, folded=True), _asked),
        (Column("non-zero", 9, True, folded=True), lambda row: fraction(row.density_nonzero)),
    ]
    if any(row.effective is not None for row in rows):
        made.append((Column("effective", 9, True, folded=True), lambda row: fraction(row.effective)))
    if any(row.settings for row in rows):
        made.append((Column("settings", 9, folded=True), lambda row: row.settings or NONE))
    if any(row.dead_high for row in rows):
        made.append((Column("dead units", 9, True, folded=True), dead_units))
    bold = {i for i, row in enumerate(rows) if row.leading}
    cells = [[text(row) for _, text in made] for row in rows]
    told = meanings(rows, f"minus {only or 'control'}")
    columns = [replace(column, meaning=told.get(column.name, "")) for column, _ in made]
    return Table(
        title or titled(rows),
        columns,
        cells,
        notes(rows),
        bold,
        answers(rows),
        seed_table(rows),
        caption=caption(measured(rows), rows, bool(bold)),
        below=below(rows),
        label=label(rows, first.benchmark, first.metric),
    )


def _without(unit: str, text: Callable[[ComparisonRow], str]) -> Callable[[ComparisonRow], str]:
    """The same without what the heading says."""
    return lambda row: text(row).removesuffix(f" {unit}") or NONE


def _control(row: ComparisonRow) -> str:
    return NONE if row.contrast is None else row.contrast.control


def _asked(row: ComparisonRow) -> str:
    return f"as {row.match}" if row.match else NONE if row.asked is None else f"{row.asked:g}"
