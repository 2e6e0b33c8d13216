"""Rows of a comparison: one per method and density, averaged over seeds, paired with the baseline."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.statistics import CONFIDENCE, Array, holm, paired, summarise
from harness.errors import UserError, unknown_name

TABLE = ("suite", "experiment", "architecture", "benchmark", "metric", "protocol")
ROW = (*TABLE, "method", "density_scope", "match", "asked")
DENSITY_TOLERANCE = 0.1  # relative; how near a density must be to count as the one asked for
GROUP_TOLERANCE = 0.05  # relative; how near densities must be to be ranked against each other

KEYS = (
    "suite",
    "architecture",
    "benchmark",
    "method",
    "density_requested",
    "density_mask",
    "density_scope",
    "metric",
    "unit",
    "direction",
    "protocol",
    "n",
    "seeds",
    "mean",
    "std",
    "ci_low",
    "ci_high",
    "baseline",
    "difference",
    "difference_ci_low",
    "difference_ci_high",
    "p_value",
    "p_adjusted",
    "cells",
)
_AVERAGED = (
    "density_requested",
    "density_mask",
    "density_true_zeros",
    "density_total",
    "parameters",
    "steps",
    "examples",
    "tokens",
    "flops",
    "published",
)
_CONSTANT = ("unit", "direction", "trained_on", "primary")

Row = dict[str, Any]


def compare(
    frame: pd.DataFrame,
    methods: Sequence[str] | None = None,
    baseline: str | None = None,
    metric: str | None = None,
    benchmark: str | None = None,
    architecture: str | None = None,
    at_density: float | None = None,
    suite: str | None = None,
) -> list[Row]:
    """Rows with exactly ``KEYS``; None where a number cannot be had (an interval from one seed, say).

    Args:
        frame: as :func:`harness.analysis.frame.load` returns it.
        methods: labels to keep; the baseline stays beside them. Default: all.
        baseline: label to compare with. Default: what the suite names, or ``dense``.
        metric: default: each benchmark's primary one.
        benchmark: label; default: all.
        architecture: label; default: all.
        at_density: keeps rows whose mask density is within 10 % (relative) of this, and the baseline.
        suite: name; default: all.

    Differences are the row minus the baseline, paired by seed. ``p_adjusted`` is Holm's, over the rows
    returned of one table (equal suite, experiment, architecture, benchmark, metric and protocol).

    Raises:
        UserError: for a name that no result has, with the nearest one; for a density outside [0, 1].
    """
    if at_density is not None and not 0 <= at_density <= 1:
        raise UserError(f"density {at_density:g} is outside [0, 1]: give the fraction of weights kept, 0.1 for 10 %")
    for what, names in (("method", methods), ("method", baseline and [baseline])):
        _check(frame, what, names or ())
    for column, name in (("suite", suite), ("architecture", architecture), ("benchmark", benchmark)):
        if name is not None:
            _check(frame, column, [name])
            frame = frame[frame[column] == name]
    if metric is not None:
        _check(frame, "metric", [metric])
    frame = frame[frame["primary"].astype(bool) if metric is None else frame["metric"] == metric]
    kept = []
    for _, table in tables(rows(frame, baseline)):
        chosen = [row for row in table if _asked(row, methods, at_density)]
        wanted = {row["id"] for row in chosen} | {row["reference"] for row in chosen}
        shown = [row for row in table if row["id"] in wanted]
        adjust(shown)
        kept += shown
    return [{key: row[key] for key in KEYS} for row in kept]


def rows(frame: pd.DataFrame, baseline: str | None = None) -> list[Row]:
    """Every row of a frame: ``KEYS``, the averages of what the cells spent, and ``values``.

    ``values`` is (seeds of the whole frame,), nan where a seed is missing; ``reference`` is the ``id`` of
    the row that this one is compared with, or None. ``group`` counts the table's densities from high to low:
    rows of one group are within 5 % of its highest mask density. Sorted by table, group, then best first.
    """
    if frame.empty:
        return []
    # What a matched cell asks for differs between seeds: its row is named by what it is matched to.
    asked = frame["density_requested"].where(frame["match"] == "")
    groups = frame.assign(asked=asked).groupby(list(ROW), dropna=False, sort=True)
    index = groups.ngroup().to_numpy()
    numbers = groups[list(_AVERAGED)]
    averages = numbers.mean().clip(numbers.min(), numbers.max())  # rounding must not move the mean of equal numbers
    constants = groups[[*_CONSTANT, "baseline"]].first()
    found: list[Row] = averages.join(constants).reset_index().to_dict("records")  # type: ignore[assignment]
    seeds, column = np.unique(frame["seed"].to_numpy(), return_inverse=True)
    values = np.full((len(found), len(seeds)), np.nan)
    values[index, column] = frame["value"].to_numpy()
    for row in found:
        row["cells"] = []
    for at, cell in sorted(zip(index.tolist(), frame[["seed", "cell"]].itertuples(index=False), strict=True)):
        found[at]["cells"].append(cell.cell)
    summary = summarise(values)
    for i, row in enumerate(found):
        row |= {name: number(row[name]) for name in ("asked", *_AVERAGED)}
        row |= {"id": i, "values": values[i], "seeds": seeds[np.isfinite(values[i])].tolist(), "n": int(summary.n[i])}
        row |= {"mean": float(summary.mean[i]), "std": number(summary.std[i])}
        row |= {"ci_low": number(summary.low[i]), "ci_high": number(summary.high[i])}
    _pair(found, values, baseline)
    found.sort(key=lambda row: (*_table(row), row["density_scope"], -row["density_mask"]))
    for _, table in tables(found):
        _group(table)
    found.sort(key=_order)
    return found


def tables(found: Iterable[Row]) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
    """Sorted rows split into tables: what may stand in one column together."""
    for key, group in groupby(found, key=_table):
        yield key, list(group)


def adjust(table: Iterable[Row]) -> None:
    """Set ``p_adjusted`` of the rows of one table: Holm's correction over those that have a ``p_value``."""
    table = list(table)
    raw = np.array([math.nan if row["p_value"] is None else row["p_value"] for row in table])
    for row, p in zip(table, holm(raw), strict=True):
        row["p_adjusted"] = number(p)


def rank(table: Sequence[Row]) -> None:
    """Set ``rank`` of the rows of one table: 1 + the number of rows of its density group that are better.

    Better means that the 95 % interval of the difference, paired by seed, lies on that row's side of zero
    (the paired t test has p < 0.05; differences without spread have none). Rows not told apart share a rank.
    None where there is nothing to rank: a metric that does not judge, one seed only, no weight masked (mask
    density 1: a reference), or no other such row in the density group.
    """
    for row in table:
        row["rank"] = None
    for _, group in groupby(table, key=lambda row: row["group"]):
        rivals = [row for row in group if row["n"] > 1 and row["density_mask"] < 1]
        if len(rivals) < 2 or rivals[0]["direction"] == "none":
            continue
        values = np.array([row["values"] for row in rivals])
        sign = 1.0 if rivals[0]["direction"] == "max" else -1.0
        difference = paired(sign * values[None, :], sign * values[:, None])
        better = (difference.mean > 0) & (difference.p < 1 - CONFIDENCE)
        for row, count in zip(rivals, better.sum(axis=1).tolist(), strict=True):
            row["rank"] = 1 + count


def number(value: Any) -> float | None:
    """A float for JSON: None for nan."""
    return None if value is None or math.isnan(value) else float(value)


def _pair(found: list[Row], values: Array, baseline: str | None) -> None:
    """Set what concerns the baseline; rows must still be in the order of ``values``."""
    candidates: dict[Hashable, list[Row]] = {}
    for row in found:
        if row["method"] == (baseline or row["baseline"]):
            candidates.setdefault(_table(row), []).append(row)
    matched = [_reference(row, candidates.get(_table(row), [])) for row in found]
    reference = np.array([np.full(values.shape[1], np.nan) if m is None else values[m["id"]] for m in matched])
    difference = paired(values, reference)
    for i, (row, other) in enumerate(zip(found, matched, strict=True)):
        itself = row is other
        comparable = other is not None and difference.n[i] > 0
        row["reference"] = other["id"] if other is not None and comparable else None
        row["baseline"] = other["method"] if other is not None and comparable else None
        row["difference"] = None if itself else number(difference.mean[i])
        row["difference_ci_low"] = None if itself else number(difference.low[i])
        row["difference_ci_high"] = None if itself else number(difference.high[i])
        row["p_value"] = None if itself else number(difference.p[i])


def _reference(row: Row, candidates: Sequence[Row]) -> Row | None:
    """The baseline row to compare with: an unmasked one always, a sparse one only at the row's own density."""
    usable = [
        c
        for c in candidates
        if c["density_mask"] == 1
        or (
            c["density_scope"] == row["density_scope"]
            and math.isclose(c["density_mask"], row["density_mask"], rel_tol=DENSITY_TOLERANCE)
        )
    ]

    def distance(candidate: Row) -> tuple[bool, float]:
        same = (candidate["match"], candidate["asked"]) == (row["match"], row["asked"])
        return not same, abs(candidate["density_mask"] - row["density_mask"])

    return row if row in candidates else min(usable, key=distance, default=None)


def _table(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in TABLE)


def _group(table: Iterable[Row]) -> None:
    """Set ``group`` of rows that are sorted by scope and falling density."""
    group, first = -1, None
    for row in table:
        here = (row["density_scope"], row["density_mask"])
        if first is None or here[0] != first[0] or here[1] < (1 - GROUP_TOLERANCE) * first[1]:
            group, first = group + 1, here
        row["group"] = group


def _order(row: Row) -> tuple[Any, ...]:
    worse = {"max": -1, "min": 1, "none": 0}[row["direction"]] * row["mean"]
    return (*_table(row), row["group"], worse, row["method"], row["id"])


def _asked(row: Row, methods: Sequence[str] | None, density: float | None) -> bool:
    near = density is None or abs(row["density_mask"] - density) <= DENSITY_TOLERANCE * density
    return near and (not methods or row["method"] in methods)


def _check(frame: pd.DataFrame, column: str, names: Iterable[str]) -> None:
    known = frame[column].unique().tolist()
    for name in names:
        if name not in known:
            raise UserError(unknown_name(column, name, known) + " These are the names in the results.")
