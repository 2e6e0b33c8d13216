"""Scores seed by seed, of rows without a mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.analysis.comparison_row import ComparisonRow
from harness.report.tables import NONE, Column, Table, count, decimals, fraction, rounded


def seed_table(rows: Sequence[ComparisonRow]) -> Table | None:
    """Density, or size, and score of each seed, where a mean would say nothing; None if there is no such row."""
    spread = [row for row in rows if row.mixed]
    if not spread:
        return None
    places = decimals([row.mean for row in spread])
    seeds = sorted({seed for row in spread for seed in row.seeds})
    cells: list[list[str]] = []
    above: list[str] = []
    for row in spread:
        at = dict(zip(row.seeds, np.flatnonzero(np.isfinite(row.values)), strict=True))
        shown, of, text = ("parameters", row.lefts, count) if row.small else ("density", row.densities, fraction)
        where = [shown, *(text(of[at[seed]]) if seed in at else NONE for seed in seeds)]
        if where != above:  # a row's densities are the last ones above it
            cells.append(where)
            above = where
        texts = (rounded(row.values[at[seed]], places) if seed in at else NONE for seed in seeds)
        cells.append([row.method, *texts])
    columns = [Column("", names=True), *(Column(f"seed {seed}", i, True) for i, seed in enumerate(seeds))]
    return Table(f"{rows[0].metric} by seed, where densities or sizes differ between seeds", columns, cells)
