"""Curves over training, from the series files of a table's cells."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.report.svg import Point, drawable
from harness.results.store import ResultStore

LOSS = "training loss"


@dataclass(frozen=True, slots=True)
class Series:
    """The curves of one row: a sequence of (step, value) a seed, steps counted over all phases.

    ``starts`` are the steps after which a new phase begins, rising, without 0.
    """

    method: str
    seeds: Sequence[Sequence[Point]]
    starts: Sequence[float] = ()


def training_series(store: ResultStore, table: Iterable[Mapping[str, Any]], what: str = LOSS) -> dict[str, Series]:
    """Training loss, or a metric of the evaluations during training, of each row of a table.

    Keys are the methods; the method and its density where one method has several rows. Evaluations on validation data
    go before those on test data. What cannot be read, or is not a finite number, is left out.
    """
    rows = list(table)
    often = Counter(row["method"] for row in rows)
    found: dict[str, Series] = {}
    for row in rows:
        loaded = [_load(store.series_path(row["suite"], cell)) for cell in row["cells"]]
        curves = [curve for series in loaded if (curve := _curve(series, what))[0]]
        if curves:
            name = f"{row['method']} {row['density_mask']:.3g}" if often[row["method"]] > 1 else row["method"]
            longest = max((starts for _, starts in curves), key=len)
            found[name] = Series(row["method"], [points for points, _ in curves], longest)
    return found


def _load(path: Path) -> Mapping[str, Any]:
    try:
        loaded = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _curve(series: Mapping[str, Any], what: str) -> tuple[list[Point], list[float]]:
    """Points of one seed, and where its phases begin."""
    losses = [row for row in _listed(series, "loss") if _numbered(row)]
    evaluations = [row for row in _listed(series, "evaluations") if _numbered(row) and len(row) > 3]
    lengths: dict[float, float] = {}  # steps of each phase, as far as any row tells
    for row in [*losses, *evaluations]:
        lengths[row[0]] = max(lengths.get(row[0], 0.0), row[1])
    before: dict[float, float] = {}
    for phase in sorted(lengths):
        before[phase] = sum(steps for other, steps in lengths.items() if other < phase)
    if what == LOSS:
        chosen = [(row[0], row[1], row[2]) for row in losses]
    else:
        measured = [row for row in evaluations if isinstance(row[3], dict)]
        split = "validation" if any(row[2] == "validation" and what in row[3] for row in measured) else "test"
        chosen = [(row[0], row[1], row[3].get(what)) for row in measured if row[2] == split]
    points = {before[phase] + step: float(value) for phase, step, value in chosen if drawable(value)}
    return sorted(points.items()), [start for start in before.values() if start > 0]


def _listed(series: Mapping[str, Any], name: str) -> list[Any]:
    rows = series.get(name)
    return [row for row in rows if isinstance(row, list) and len(row) > 2] if isinstance(rows, list) else []


def _numbered(row: list[Any]) -> bool:
    """Whether a row begins with a phase and a step."""
    return drawable(row[0]) and drawable(row[1]) and row[1] >= 0
