"""Rows of a comparison: one per method and density, averaged over seeds, paired with the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import pandas as pd

from harness.analysis.averages import averaged
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.contrasts import adjust, factors, pair, pair_named
from harness.analysis.frame import TABLE
from harness.analysis.grouping import group
from harness.analysis.ranking import rank
from harness.errors import UserError, unknown_name
from harness.formatting import listed
from harness.results.store import LeftOut
from harness.suites.sweeps import meant

TIMES_AS_FAST = "times as fast"
"""Unit of a metric that says how much faster a network is than dense."""
DENSITY_TOLERANCE = 0.1
"""Relative: how near a density must be to count as the one asked for."""
CHOICES = ("suite", "experiment", "architecture", "benchmark")
"""By what tables are chosen; what a failed result would have been of begins with these."""
_LISTED = 8  # densities that an error names


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows to compare; all of them by default.

    Attributes:
        methods: labels to keep, that of a sweep for all of its rows; the baseline stays beside them.
        baseline: label to compare with. Default: what the suite names, or ``dense``.
        metric: default: each benchmark's primary one.
        experiment, benchmark, architecture: labels.
        at_density: keeps rows whose mask density is within 10 % (relative) of this, smaller networks that stand for
            it, and the baseline.
        suite: name.
    """

    methods: Sequence[str] = ()
    baseline: str | None = None
    metric: str | None = None
    experiment: str | None = None
    benchmark: str | None = None
    architecture: str | None = None
    at_density: float | None = None
    suite: str | None = None

    @property
    def narrow(self) -> bool:
        """Whether anything but a suite is chosen, so that questions across tables are not meant."""
        return bool(self.methods) or replace(self, methods=(), suite=None) != Selection()


ALL = Selection()


def compare(frame: pd.DataFrame, chosen: Selection = ALL) -> list[ComparisonRow]:
    """The rows of :func:`selected` tables, one after the other."""
    return [row for table in selected(frame, chosen) for row in table]


def selected(frame: pd.DataFrame, chosen: Selection = ALL, left: Sequence[LeftOut] = ()) -> list[list[ComparisonRow]]:
    """Tables of the rows that are asked for, each with ``rank`` and ``p_adjusted``.

    ``frame`` and ``left`` are as :func:`harness.analysis.frame.load` returns them. Of the questions of a table those
    are kept whose two rows are, and Holm's correction is over them; ranks are among the rows that are kept. Where
    several methods are named and no question is about any two of them, each two of them are the questions.

    Raises:
        UserError: for a name that no result has, with the nearest one; for a density outside [0, 1]; if nothing is
            left, with the densities that there are.
    """
    density = chosen.at_density
    if density is not None and not 0 <= density <= 1:
        raise UserError(f"density {density:g} is outside [0, 1]: give the fraction of weights kept, 0.1 for 10 %")
    for place, column in enumerate(CHOICES):
        if (name := getattr(chosen, column)) is not None:
            _check(frame, column, [name])
            frame = frame[frame[column] == name]
            left = [item for item in left if not item.of or item.of[place] == name]
    named = [_labels(frame, name, left) for name in dict.fromkeys(chosen.methods)]
    methods = [label for labels in named for label in labels]
    if chosen.baseline is not None:
        _check(frame, "method", [chosen.baseline])
    if chosen.metric is not None:
        _check(frame, "metric", [chosen.metric])
    others = listed(sorted(frame["metric"].unique()))
    frame = frame[frame["primary"].astype(bool) if chosen.metric is None else frame["metric"] == chosen.metric]
    found, densities = [], set[float]()
    for _, table in tables(rows(frame, chosen.baseline)):
        places = {row.id: _stands(row, table) for row in table if not methods or row.method in methods}
        densities.update(*places.values())
        kept = [
            row
            for row in table
            if row.id in places and (density is None or any(_near(one, density) for one in places[row.id]))
        ]
        all_tests = sum(contrast.p is not None for row in table for contrast in row.contrasts)
        wanted = {row.id for row in kept} | {row.reference for row in kept}
        found.append([row for row in table if row.id in wanted])
        if chosen.baseline is not None or pair_named(found[-1], named):
            all_tests = 0  # no leaderboard asks that
        adjust(found[-1])
        rank(found[-1], left)
        for row in found[-1]:
            row.all_tests = all_tests
        for row in found[-1] if methods else ():
            row.absent = {name: row.absent[name] for name in methods if name in row.absent}
    if not any(found):
        text = "no finished run matches all of these options"
        if frame.empty and (unscored := [item for item in left if item.unscored]):
            text = f"no run has a primary score ({unscored[0].reason}): choose a metric, there is {others}"
        raise UserError(text if density is None or not densities else f"{text}: {_others(densities, density)}")
    return [table for table in found if table]


def rows(frame: pd.DataFrame, baseline: str | None = None) -> list[ComparisonRow]:
    """Every row of a frame, without ranks, sorted by table, group, then best first, broken ones last.

    See :mod:`harness.analysis.grouping` for groups, :mod:`harness.analysis.contrasts` for what is compared.
    """
    if frame.empty:
        return []
    found = averaged(frame)
    found.sort(key=lambda row: (*_table(row), row.density_scope, -row.density_mask))
    for _, table in tables(found):
        group(table)
        pair(table, baseline)
        for row in table:
            row.factors = factors(row, table)
            row.speedup_theoretical = _ratio(row.inference_flops, row.inference_flops_sparse)
    _note_speeds(found)
    found.sort(key=_order)
    return found


def _note_speeds(found: Sequence[ComparisonRow]) -> None:
    """How fast networks are, where the same rows are in a table of that; of several such tables the first counts."""
    names = ("suite", "experiment", "architecture", "trained_on", "method", "density_scope", "match")

    def networks(row: ComparisonRow) -> tuple[object, ...]:
        return (*row.take(*names), row.asked)

    speeds: dict[tuple[object, ...], ComparisonRow] = {}
    for row in found:
        if row.timed and row.primary and row.unit == TIMES_AS_FAST:
            speeds.setdefault(networks(row), row)
    for row in found:
        speed = speeds.get(networks(row))
        if speed is not None and not row.timed and not speed.mixed:
            row.speedup_measured, row.measured_by = speed.mean, speed.protocol


def tables(found: Iterable[ComparisonRow]) -> Iterator[tuple[tuple[str, ...], list[ComparisonRow]]]:
    """Sorted rows split into tables: what may stand in one column together."""
    for key, members in groupby(found, key=_table):
        yield key, list(members)


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one and other else None


def _table(row: ComparisonRow) -> tuple[str, ...]:
    return row.take(*TABLE)


def _order(row: ComparisonRow) -> tuple[Any, ...]:
    worse = {"max": -1, "min": 1, "none": 0}[row.direction] * row.mean
    return (*_table(row), row.group, len(row.broken) / row.n, worse, row.method, row.id)


def _stands(row: ComparisonRow, table: Sequence[ComparisonRow]) -> set[float]:
    """The densities that a row stands for; of a smaller network the one that it is asked for, else its group's."""
    if not row.small:
        return {row.density_mask}
    if row.density_asked is not None:
        return {row.density_asked}
    return {other.density_mask for other in table if other.group == row.group and not other.small}


def _near(one: float, density: float) -> bool:
    return abs(one - density) <= DENSITY_TOLERANCE * density


def _others(densities: Iterable[float], density: float) -> str:
    """That none is near, and which there are."""
    apart = {f"{one:.3g}": abs(one - density) for one in densities}
    nearest = sorted(apart, key=lambda text: apart[text])[:_LISTED]
    are = "there are" if len(apart) == len(nearest) else "the nearest are"
    return f"no density is within 10 % of {density:g}, {are} {listed(sorted(nearest, key=float, reverse=True))}"


def _labels(frame: pd.DataFrame, name: str, left: Iterable[LeftOut]) -> list[str]:
    """A method's label, or those of the rows of a sweep over it."""
    failed = {item.of[-2]: item.reason for item in left if item.of}
    found = meant(name, [*frame["method"].unique(), *failed])
    if found and not set(found) & {*frame["method"]}:
        raise UserError(f"no run of '{name}' has a result: {failed[found[0]]}")
    if not found:
        _check(frame, "method", [name])
    return found


def _check(frame: pd.DataFrame, column: str, names: Iterable[str]) -> None:
    known = frame[column].unique().tolist()
    for name in names:
        if name not in known:
            raise UserError(unknown_name(column, name, known) + " These are the names in the results.")
