"""Per-layer densities over training, for the slider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.report.html.cells import CountedCell
from harness.results.cell_record import CellRecord
from harness.stages.series import Series

LIMIT = 6_000_000
"""Bytes of packed curves in a page."""
_STEPS = 400


def densities(series: Series | None, cell: CountedCell, record: CellRecord | None) -> dict[str, Any] | None:
    """Hard and soft density of each connection at each time; None if there are none.

    {"phases": [names], "times": [[phase, step]], "connections": [names], "sizes": weights of each, or null,
    "hard": [a row a time], "soft": the same}. ``record`` is the cell's, of which the sizes are taken. Densities
    have four decimals; of more than 400 times there is an even selection with the first and the last.

    Raises:
        LookupError: if rows do not name the same connections.
    """
    rows = series.densities if series else []
    if not rows:
        return None
    if len(rows) > _STEPS:
        rows = [rows[round(i * (len(rows) - 1) / (_STEPS - 1))] for i in range(_STEPS)]
    names = list(rows[0].connections)
    values = [[row.connections[name] for name in names] for row in rows]
    return {
        "phases": list(cell.phases),
        "times": [[row.phase, row.step] for row in rows],
        "connections": names,
        "sizes": _sizes(record, names),
        "hard": [[round(hard, 4) for hard, _ in row] for row in values],
        "soft": [[None if soft is None else round(soft, 4) for _, soft in row] for row in values],
    }


def _sizes(record: CellRecord | None, names: Sequence[str]) -> list[int] | None:
    connections = record.density.connections if record else {}
    return [connections[name].size for name in names] if connections.keys() >= set(names) else None
