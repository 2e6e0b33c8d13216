"""Rows of a comparison: one per method and density, averaged over seeds, paired with the baseline."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.frame import SPENT, TABLE
from harness.analysis.result_row import asked
from harness.analysis.statistics import Array, better, detectable, holm, paired, seeds_needed, summarise
from harness.errors import UserError, unknown_name
from harness.results.store import LeftOut

ROW = (*TABLE, "method", "density_scope", "match", "asked")
DENSITY_TOLERANCE = 0.1  # relative; how near a density must be to count as the one asked for
GROUP_TOLERANCE = 0.05  # relative; how near densities must be to be ranked against each other
BUDGET_TOLERANCE = 0.01  # relative; the same for what training has cost
BUDGET = ("examples", "tokens", "flops")

_AVERAGED = (
    "density_requested",
    "density_mask",
    "density_nonzero",
    "density_total",
    "parameters",
    *SPENT,
    "published",
)
_CONSTANT = ("unit", "direction", "trained_on", "primary")
_KEPT = {*ROW, *_CONSTANT, "baseline"} - {"asked"}


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


def compare(frame: pd.DataFrame, chosen: Selection = ALL) -> list[ComparisonRow]:
    """The rows of :func:`selected` tables, one after the other."""
    return [row for table in selected(frame, chosen) for row in table]


def selected(frame: pd.DataFrame, chosen: Selection = ALL, left: Sequence[LeftOut] = ()) -> list[list[ComparisonRow]]:
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
        wanted = {row.id for row in kept} | {row.reference for row in kept}
        found.append([row for row in table if row.id in wanted])
        adjust(found[-1])
        rank(found[-1], left)
    return [table for table in found if table]


def rows(frame: pd.DataFrame, baseline: str | None = None) -> list[ComparisonRow]:
    """Every row of a frame, without ranks, sorted by table, group, then best first.

    Rows of one group are within 5 % of its highest mask density, mean and extremes over seeds, and within 1 % in
    examples, tokens and dense-equivalent FLOPs.
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
    seeds, column = np.unique(frame["seed"].to_numpy(), return_inverse=True)
    values = np.full((len(constants), len(seeds)), np.nan)
    values[index, column] = frame["value"].to_numpy()
    summary = summarise(values)
    averaged = averages.join(spans).join(constants).reset_index()
    found = [
        ComparisonRow(
            id=i,
            values=values[i],
            seeds=seeds[np.isfinite(values[i])].tolist(),
            n=int(summary.n[i]),
            mean=float(summary.mean[i]),
            std=number(summary.std[i]),
            ci_low=number(summary.low[i]),
            ci_high=number(summary.high[i]),
            **_named(row),
        )
        for i, row in enumerate(averaged.to_dict("records"))
    ]
    cells = frame[["seed", "cell", "made_with"]].itertuples(index=False, name=None)
    for at, (_, cell, made_with) in sorted(zip(index.tolist(), cells, strict=True)):
        found[at].cells.append(cell)
        found[at].made_with.add(made_with)
    _pair(found, values, baseline)
    found.sort(key=lambda row: (*_table(row), row.density_scope, -row.density_mask))
    for _, table in tables(found):
        _group(table)
    found.sort(key=_order)
    return found


def _named(values: Mapping[Hashable, Any]) -> dict[str, Any]:
    """Names as they are, numbers without nan."""
    return {str(name): value if name in _KEPT else number(value) for name, value in values.items()}


def tables(found: Iterable[ComparisonRow]) -> Iterator[tuple[tuple[str, ...], list[ComparisonRow]]]:
    """Sorted rows split into tables: what may stand in one column together."""
    for key, group in groupby(found, key=_table):
        yield key, list(group)


def adjust(table: Iterable[ComparisonRow]) -> None:
    """Set ``p_adjusted`` of the rows of one table: Holm's correction over those that have a ``p_value``."""
    table = list(table)
    raw = np.array([math.nan if row.p_value is None else row.p_value for row in table])
    for row, p in zip(table, holm(raw), strict=True):
        row.p_adjusted = number(p)


def rank(table: Sequence[ComparisonRow], left: Iterable[LeftOut] = ()) -> None:
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
        identity = row.take("suite", "experiment", "architecture", "benchmark", "method")
        row.failed = failed.get((*identity, asked(row.asked)), {})
        row.rank = row.rank_worst = None
    for _, group in groupby(table, key=lambda row: row.group):
        rivals = [row for row in group if row.n > 1 and row.density_mask < 1 and not row.failed]
        if len(rivals) < 2 or rivals[0].direction == "none":
            continue
        wins = better(np.array([row.values for row in rivals]), rivals[0].direction)
        for row, above, below in zip(rivals, wins.sum(axis=1).tolist(), wins.sum(axis=0).tolist(), strict=True):
            row.rank, row.rank_worst = 1 + above, len(rivals) - below


def number(value: Any) -> float | None:
    """A float for JSON: None for nan."""
    return None if value is None or math.isnan(value) else float(value)


def _pair(found: list[ComparisonRow], values: Array, baseline: str | None) -> None:
    """Set what concerns the baseline; rows must still be in the order of ``values``."""
    candidates: dict[Hashable, list[ComparisonRow]] = {}
    for row in found:
        if row.method == (baseline or row.baseline):
            candidates.setdefault(_table(row), []).append(row)
    matched = [_reference(row, candidates.get(_table(row), [])) for row in found]
    reference = np.array([np.full(values.shape[1], np.nan) if m is None else values[m.id] for m in matched])
    difference = paired(values, reference)
    smallest, needed = detectable(difference.std, difference.n), seeds_needed(difference.mean, difference.std)
    for i, (row, other) in enumerate(zip(found, matched, strict=True)):
        itself = row is other
        comparable = other is not None and difference.n[i] > 0
        row.reference = other.id if other is not None and comparable else None
        row.baseline = other.method if other is not None and comparable else None
        row.difference = None if itself else number(difference.mean[i])
        row.difference_ci_low = None if itself else number(difference.low[i])
        row.difference_ci_high = None if itself else number(difference.high[i])
        row.p_value = None if itself else number(difference.p[i])
        row.mde = None if itself else number(smallest[i])
        row.seeds_needed = None if itself or math.isnan(needed[i]) else int(needed[i])
        row.speedup_theoretical = _ratio(row.inference_flops, row.inference_flops_sparse)


def _reference(row: ComparisonRow, candidates: Sequence[ComparisonRow]) -> ComparisonRow | None:
    """The baseline row to compare with: an unmasked one always, a sparse one only at the row's own density."""
    usable = [
        c
        for c in candidates
        if c.density_mask == 1
        or (
            c.density_scope == row.density_scope
            and math.isclose(c.density_mask, row.density_mask, rel_tol=DENSITY_TOLERANCE)
        )
    ]

    def distance(candidate: ComparisonRow) -> tuple[bool, bool, float]:
        same = (candidate.match, candidate.asked) == (row.match, row.asked)
        return not equal_budgets(candidate, row), not same, abs(candidate.density_mask - row.density_mask)

    return row if row in candidates else min(usable, key=distance, default=None)


def equal_budgets(one: ComparisonRow, other: ComparisonRow) -> bool:
    """Whether the training of both has cost the same, within 1 %, in examples, tokens and dense-equivalent FLOPs."""
    return all(
        _close(mine, others, BUDGET_TOLERANCE)
        for mine, others in zip(one.take(*BUDGET), other.take(*BUDGET), strict=True)
    )


def _close(one: float | None, other: float | None, tolerance: float) -> bool:
    return one == other if one is None or other is None else math.isclose(one, other, rel_tol=tolerance)


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one and other else None


def _table(row: ComparisonRow) -> tuple[str, ...]:
    return row.take(*TABLE)


def _group(table: Iterable[ComparisonRow]) -> None:
    """Set ``group`` of rows that are sorted by scope and falling density."""
    count, firsts = 0, list[ComparisonRow]()  # a row of each group of the density at hand
    for row in table:
        if not firsts or not _near(row, firsts[0]):
            firsts = []
        first = next((first for first in firsts if _comparable(first, row)), None)
        if first is None:
            row.group, count = count, count + 1
            firsts.append(row)
        else:
            row.group = first.group


def _comparable(one: ComparisonRow, other: ComparisonRow) -> bool:
    """Rows of one mean density: whether their budgets and the span of their densities over seeds are the same too."""
    lows = _close(one.density_low, other.density_low, GROUP_TOLERANCE)
    return equal_budgets(one, other) and lows and _close(one.density_high, other.density_high, GROUP_TOLERANCE)


def _near(row: ComparisonRow, first: ComparisonRow) -> bool:
    same = row.density_scope == first.density_scope
    return bool(same and row.density_mask >= (1 - GROUP_TOLERANCE) * first.density_mask)


def _order(row: ComparisonRow) -> tuple[Any, ...]:
    worse = {"max": -1, "min": 1, "none": 0}[row.direction] * row.mean
    return (*_table(row), row.group, worse, row.method, row.id)


def _asked(row: ComparisonRow, methods: Sequence[str], density: float | None) -> bool:
    near = density is None or abs(row.density_mask - density) <= DENSITY_TOLERANCE * density
    return near and (not methods or row.method in methods)


def _check(frame: pd.DataFrame, column: str, names: Iterable[str]) -> None:
    known = frame[column].unique().tolist()
    for name in names:
        if name not in known:
            raise UserError(unknown_name(column, name, known) + " These are the names in the results.")
