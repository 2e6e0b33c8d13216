"""Per-layer densities over training, for the slider."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.report.html.cells import Cell

LIMIT = 6_000_000
"""Bytes of packed curves in a page."""
_LARGEST = 50_000_000
_STEPS = 400


def read_series(path: Path) -> dict[str, Any]:
    """One cell's curves.

    Raises:
        ValueError: if the file is no series, or absurdly large.
    """
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"larger than {_LARGEST // 1_000_000} MB")
    series = json.loads(path.read_bytes())
    if not isinstance(series, dict):
        raise ValueError("no object")
    return series


def densities(path: Path, cell: Cell, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Hard and soft density of each connection at each time; None if there are none.

    {"phases": [names], "times": [[phase, step]], "connections": [names], "sizes": weights of each, or null,
    "hard": [a row a time], "soft": the same}. ``record`` is the cell's, of which the sizes are taken. Densities
    have four decimals; of more than 400 times there is an even selection with the first and the last.

    Raises:
        ValueError, TypeError, LookupError: if the file is not what the harness writes.
    """
    rows = read_series(path).get("densities") or []
    if not rows:
        return None
    if len(rows) > _STEPS:
        rows = [rows[round(i * (len(rows) - 1) / (_STEPS - 1))] for i in range(_STEPS)]
    names = list(rows[0][2])
    table = [(int(phase), int(step), [found[name] for name in names]) for phase, step, found in rows]
    return {
        "phases": list(cell.phases),
        "times": [[phase, step] for phase, step, _ in table],
        "connections": names,
        "sizes": _sizes(record, names),
        "hard": [[_fraction(hard) for hard, _ in values] for _, _, values in table],
        "soft": [[None if soft is None else _fraction(soft) for _, soft in values] for _, _, values in table],
    }


def _sizes(record: Mapping[str, Any], names: Sequence[str]) -> list[int] | None:
    try:
        return [max(0, int(record["density"]["connections"][name]["size"])) for name in names]
    except (LookupError, TypeError, ValueError, OverflowError):
        return None


def _fraction(value: Any) -> float:
    if not 0 <= float(value) <= 1:
        raise ValueError(f"density {value} is outside [0, 1]")
    return round(float(value), 4)
