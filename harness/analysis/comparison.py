"""Rows of a comparison: one per method and density, averaged over seeds, paired with the baseline."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.frame import SPENT, TABLE, asked
from harness.analysis.statistics import Array, better, detectable, holm, paired, seeds_needed, summarise
from harness.errors import UserError, unknown_name
from harness.results.store import LeftOut

ROW = (*TABLE, "method", "density_scope", "match", "asked")
DENSITY_TOLERANCE = 0.1  # relative; how near a density must be to count as the one asked for
GROUP_TOLERANCE = 0.05  # relative; how near densities must be to be ranked against each other
BUDGET_TOLERANCE = 0.01  # relative; the same for what training has cost
BUDGET = ("examples", "tokens", "flops")

KEYS = (
    "suite",
    "architecture",
    "benchmark",
    "method",
    "density_requested",
    "density_mask",
    "density_low",
    "density_high",
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
    "stderr",
    "baseline",
    "difference",
    "difference_ci_low",
    "difference_ci_high",
    "p_value",
    "p_adjusted",
    "mde",
    "seeds_needed",
    *SPENT,
    "speedup_theoretical",
    "speedup_measured",
    "cells",
)
"""What a row says of itself, for programs: ``stderr`` is the standard error of one seed's score over the test examples
(evaluation noise, where ``std`` is that of seeds), ``mde`` the smallest true difference to the baseline that
this many seeds find with 80 % power, ``seeds_needed`` how many would find the difference seen, ``peak_memory`` in
bytes; speed-ups are over dense operations in inference (theoretical) and over the baseline's training (measured)."""
_AVERAGED = (
    "density_requested",
    "density_mask",
    "density_true_zeros",
    "density_total",
    "parameters",
    *SPENT,
    "published",
)
_CONSTANT = ("unit", "direction", "trained_on", "primary")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows to compare; all of them by default.

    Attributes:
        methods: labels to keep; the baseline stays beside them.
        baseline: label to compare with. Default: what the suite names, or ``dense``.
        metric: default: each benchmark's primary one.
        benchmark, architecture: labels.
        at_density: keeps rows whose mask density is within 10 % (relative) of this, and the baseline.
        suite: name.
    """

    methods: Sequence[str] = ()
    baseline: str | None = None
    metric: str | None = None
    benchmark: str | None = None
    architecture: str | None = None
    at_density: float | None = None
    suite: str | None = None


ALL = Selection()


def compare(frame: pd.DataFrame, chosen: Selection = ALL) -> list[Row]:
    """The rows of :func:`selected` tables with exactly ``KEYS``; None where a number cannot be had."""
    return [{key: row[key] for key in KEYS} for table in selected(frame, chosen) for row in table]


def selected(frame: pd.DataFrame, chosen: Selection = ALL, left: Sequence[LeftOut] = ()) -> list[list[Row]]:
    """Tables of the rows that are asked for, each with ``rank`` and ``p_adjusted``.

    ``frame`` and ``left`` are as :func:`harness.analysis.frame.load` returns them. Differences are the row minus the
    baseline, paired by seed. ``p_adjusted`` is Holm's, over the rows kept of one table (equal suite, experiment,
    architecture, benchmark, metric and protocol), and ranks are among them.

    Raises:
        UserError: for a name that no result has, with the nearest one; for a density outside [0, 1].
    """
    density = chosen.at_density
    if density is not None and not 0 <= density <= 1:
        raise UserError(f"density {density:g} is outside [0, 1]: give the fraction of weights kept, 0.1 for 10 %")
    for what, names in (("method", chosen.methods), ("method", chosen.baseline and [chosen.baseline])):
        _check(frame, what, names or ())
    for column in ("suite", "architecture", "benchmark"):
        if (name := getattr(chosen, column)) is not None:
            _check(frame, column, [name])
            frame = frame[frame[column] == name]
    if chosen.metric is not None:
        _check(frame, "metric", [chosen.metric])
    frame = frame[frame["primary"].astype(bool) if chosen.metric is None else frame["metric"] == chosen.metric]
    found = []
    for _, table in tables(rows(frame, chosen.baseline)):
        kept = [row for row in table if _asked(row, chosen.methods, density)]
        wanted = {row["id"] for row in kept} | {row["reference"] for row in kept}
        found.append([row for row in table if row["id"] in wanted])
        adjust(found[-1])
        rank(found[-1], left)
    return [table for table in found if table]


def rows(frame: pd.DataFrame, baseline: str | None = None) -> list[Row]:
    """Every row of a frame: ``KEYS``, the averages of what the cells spent, and ``values``.

    ``made_with`` are the versions and devices of its cells. ``values`` is (seeds of the whole frame,), nan where a
    seed is missing; ``reference`` is the ``id`` of the row that this one is compared with, or None. ``group`` counts
    the table's densities from high to low, and training budgets within them: rows of one group are within 5 % of its
    highest mask density, mean and extremes over seeds, and within 1 % in examples, tokens and dense-equivalent FLOPs.
    Sorted by table, group, then best first.
    """
    if frame.empty:
        return []
    # What a matched cell asks for differs between seeds: its row is named by what it is matched to.
    asked_for = frame["density_requested"].where(frame["match"] == "")
    # Standard errors of several seeds on the same examples are averaged, not divided: they share those examples.
    named = frame.assign(asked=asked_for, variance=frame["stderr"] ** 2)
    groups = named.groupby(list(ROW), dropna=False, sort=True)
    index = groups.ngroup().to_numpy()
    numbers = groups[list(_AVERAGED)]
    averages = numbers.mean().clip(numbers.min(), numbers.max())  # rounding must not move the mean of equal numbers
    spent = list(SPENT)  # of all seeds or of none: what some lack must not be the others' mean
    averages[spent] = averages[spent].where(numbers.count()[spent].eq(groups.size(), axis=0))
    mask = groups["density_mask"]
    noise = groups["variance"].mean() ** 0.5
    spans = pd.DataFrame({"density_low": mask.min(), "density_high": mask.max(), "stderr": noise})
    constants = groups[[*_CONSTANT, "baseline"]].first()
    found: list[Row] = averages.join(spans).join(constants).reset_index().to_dict("records")  # type: ignore[assignment]
    seeds, column = np.unique(frame["seed"].to_numpy(), return_inverse=True)
    values = np.full((len(found), len(seeds)), np.nan)
    values[index, column] = frame["value"].to_numpy()
    for row in found:
        row["cells"], row["made_with"] = [], set[str]()
    cells = frame[["seed", "cell", "made_with"]].itertuples(index=False)
    for at, cell in sorted(zip(index.tolist(), cells, strict=True)):
        found[at]["cells"].append(cell.cell)
        found[at]["made_with"].add(cell.made_with)
    summary = summarise(values)
    for i, row in enumerate(found):
        row |= {name: number(row[name]) for name in ("asked", "stderr", *_AVERAGED)}
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


def rank(table: Sequence[Row], left: Iterable[LeftOut] = ()) -> None:
    """Set ``rank`` and ``rank_worst`` of the rows of one table, and ``failed``: seeds without result, with reasons.

    The true rank of a row within its group lies between them: from 1 + the number of rows that are better to the
    number of rows less those that it is better than. Better means p < 0.05 in the t test paired by seed, by Holm's
    correction over all pairs of the group, so that all ranges of a group hold with at least 95 % confidence
    (Mogstad et al. 2024, "Inference for ranks"). Differences without spread are no evidence.

    None where there is nothing to rank: a metric that does not judge, one seed only, no weight masked (mask density
    1: a reference), seeds that have failed (the mean is then over the survivors), or no other such row in the group.
    """
    failed: dict[tuple[str, ...], dict[int, str]] = {}
    for item in left:
        if item.of and item.seed is not None:
            failed.setdefault(item.of, {})[item.seed] = item.reason
    for row in table:
        identity = (*(row[name] for name in ("suite", "experiment", "architecture", "benchmark", "method")),)
        row["failed"] = failed.get((*identity, asked(row["asked"])), {})
        row["rank"] = row["rank_worst"] = None
    for _, group in groupby(table, key=lambda row: row["group"]):
        rivals = [row for row in group if row["n"] > 1 and row["density_mask"] < 1 and not row["failed"]]
        if len(rivals) < 2 or rivals[0]["direction"] == "none":
            continue
        wins = better(np.array([row["values"] for row in rivals]), rivals[0]["direction"])
        for row, above, below in zip(rivals, wins.sum(axis=1).tolist(), wins.sum(axis=0).tolist(), strict=True):
            row["rank"], row["rank_worst"] = 1 + above, len(rivals) - below


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
    smallest, needed = detectable(difference.std, difference.n), seeds_needed(difference.mean, difference.std)
    for i, (row, other) in enumerate(zip(found, matched, strict=True)):
        itself = row is other
        comparable = other is not None and difference.n[i] > 0
        row["reference"] = other["id"] if other is not None and comparable else None
        row["baseline"] = other["method"] if other is not None and comparable else None
        row["difference"] = None if itself else number(difference.mean[i])
        row["difference_ci_low"] = None if itself else number(difference.low[i])
        row["difference_ci_high"] = None if itself else number(difference.high[i])
        row["p_value"] = None if itself else number(difference.p[i])
        row["mde"] = None if itself else number(smallest[i])
        row["seeds_needed"] = None if itself or math.isnan(needed[i]) else int(needed[i])
        row["speedup_measured"] = _ratio(other["seconds"], row["seconds"]) if other is not None and comparable else None
        row["speedup_theoretical"] = _ratio(row["inference_flops"], row["inference_flops_sparse"])


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

    def distance(candidate: Row) -> tuple[bool, bool, float]:
        same = (candidate["match"], candidate["asked"]) == (row["match"], row["asked"])
        return not equal_budgets(candidate, row), not same, abs(candidate["density_mask"] - row["density_mask"])

    return row if row in candidates else min(usable, key=distance, default=None)


def equal_budgets(one: Row, other: Row) -> bool:
    """Whether the training of both has cost the same, within 1 %, in examples, tokens and dense-equivalent FLOPs."""
    return all(_close(one[name], other[name], BUDGET_TOLERANCE) for name in BUDGET)


def _close(one: float | None, other: float | None, tolerance: float) -> bool:
    return one == other if one is None or other is None else math.isclose(one, other, rel_tol=tolerance)


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one and other else None


def _table(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in TABLE)


def _group(table: Iterable[Row]) -> None:
    """Set ``group`` of rows that are sorted by scope and falling density."""
    count, firsts = 0, list[Row]()  # a row of each group of the density at hand
    for row in table:
        if not firsts or not _near(row, firsts[0]):
            firsts = []
        first = next((first for first in firsts if _comparable(first, row)), None)
        if first is None:
            row["group"], count = count, count + 1
            firsts.append(row)
        else:
            row["group"] = first["group"]


def _comparable(one: Row, other: Row) -> bool:
    """Rows of one mean density: whether their budgets and the span of their densities over seeds are the same too."""
    spans = (_close(one[name], other[name], GROUP_TOLERANCE) for name in ("density_low", "density_high"))
    return equal_budgets(one, other) and all(spans)


def _near(row: Row, first: Row) -> bool:
    same = row["density_scope"] == first["density_scope"]
    return bool(same and row["density_mask"] >= (1 - GROUP_TOLERANCE) * first["density_mask"])


def _order(row: Row) -> tuple[Any, ...]:
    worse = {"max": -1, "min": 1, "none": 0}[row["direction"]] * row["mean"]
    return (*_table(row), row["group"], worse, row["method"], row["id"])


def _asked(row: Row, methods: Sequence[str], density: float | None) -> bool:
    near = density is None or abs(row["density_mask"] - density) <= DENSITY_TOLERANCE * density
    return near and (not methods or row["method"] in methods)


def _check(frame: pd.DataFrame, column: str, names: Iterable[str]) -> None:
    known = frame[column].unique().tolist()
    for name in names:
        if name not in known:
            raise UserError(unknown_name(column, name, known) + " These are the names in the results.")
