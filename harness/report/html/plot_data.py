"""What the page's plot draws of a table: each row on every axis that it has, and its seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.analysis.comparison_row import ComparisonRow
from harness.formatting import unit_text
from harness.report.figures.estimate import limits, metric_label, value_text
from harness.report.places import label, lost, place
from harness.report.svg import drawable

_COSTS = (
    ("density_total", "total density", "parameters left, over all parameters"),
    ("flops", "training FLOPs", "dense-equivalent, one network"),
    ("flops_sparse", "training FLOPs, sparse", "in theory: if masked weights cost nothing"),
    ("inference_flops_sparse", "inference FLOPs, sparse", "in theory: if masked weights cost nothing"),
    ("speedup_measured", "speed, measured", "times as fast as the dense network, on the machine it ran on"),
    ("seconds", "training time (s)", "of runs as they were scheduled: no measure of a method's speed"),
    ("steps", "training steps", "optimizer steps"),
)
"""Axes beside the mask's density: attribute of a row, name, meaning."""

Others = Mapping[str, ComparisonRow]


def plot_data(
    table: Sequence[ComparisonRow], others: Mapping[int, Others], clocked: Mapping[int, Others]
) -> dict[str, Any]:
    """The axes and points of one table's rows.

    {"axes": [{"key", "name", "help"}], "metrics": [{"name", "label", "direction", "share"}], "points": a row each, in
    the table's order: {"name", "x": a number or null for each axis, "densities": of the seeds, or null where they are
    equal, "cut": of the seeds why their output tells nothing of the input, "" where it does, or null if all do,
    "level": whether it is the baseline without a mask, "lost", "small", "over": what its interval is over,
    "y": for each metric [mean or null, low, high, text, scores of the seeds], or null}}. An axis is there if its values
    differ.

    Args:
        others: metrics beside the primary one, by row; ``clocked`` are those that a clock was read for, of the same
            networks in whatever table.
    """
    first = table[0]
    names = [first.metric, *sorted({name for found in others.values() for name in found})]
    metrics = [{first.metric: row, **others.get(row.id, {})} for row in table]
    shown = {name: next(found[name] for found in metrics if name in found) for name in names}
    times = {name: row for found in clocked.values() for name, row in found.items()}
    axes = [
        ("density_mask", "density", "fraction of the weights in scope that the tested network's mask keeps"),
        *_COSTS,
        *((name, f"{name}{_unit(row)}, measured", row.protocol) for name, row in sorted(times.items())),
    ]
    x = [[_x(key, row, table, clocked.get(row.id, {})) for key, *_ in axes] for row in table]
    kept = [i for i in range(len(axes)) if i == 0 or len({at[i] for at in x} - {None}) > 1]
    return {
        "axes": [dict(zip(("key", "name", "help"), axes[i], strict=True)) for i in kept],
        "metrics": [
            {"name": name, "label": metric_label(row), "direction": row.direction, "share": row.unit == "fraction"}
            for name, row in shown.items()
        ],
        "points": [
            {
                "name": label(row),
                "x": [at[i] for i in kept],
                "densities": _own(row, row.densities) if row.mixed else None,
                "cut": [row.broken.get(seed, "") for seed in row.seeds] if row.broken else None,
                "level": row.method == row.baseline and row.whole,
                "lost": lost(row),
                "small": row.small,
                "over": row.over,
                "y": [_y(found.get(name)) for name in names],
            }
            for row, at, found in zip(table, x, metrics, strict=True)
        ],
    }


def _x(key: str, row: ComparisonRow, table: Sequence[ComparisonRow], clocked: Others) -> float | None:
    if key in clocked:
        value: Any = None if clocked[key].mixed else clocked[key].mean
    else:
        value = place(row, table) if key == "density_mask" else getattr(row, key, None)
    return float(f"{value:.6g}") if drawable(value) else None


def _y(row: ComparisonRow | None) -> list[Any] | None:
    if row is None:
        return None
    low, high = limits(row) or (None, None)
    mean = row.mean if drawable(row.mean) and not row.mixed else None
    text = "" if mean is None else value_text(row)
    return [*map(_brief, (mean, low, high)), text, _own(row, row.values)]


def _own(row: ComparisonRow, values: Iterable[float]) -> list[float | None]:
    """Those of the row's own seeds, in their order."""
    return [_brief(v) for v, score in zip(values, row.values, strict=True) if np.isfinite(score)]


def _brief(value: float | None) -> float | None:
    return float(f"{value:.7g}") if drawable(value) else None


def _unit(row: ComparisonRow) -> str:
    return f" ({unit_text(row.unit)})" if row.unit else ""
