"""The leaderboard's tables as data: texts to show, and values to sort and filter by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from harness.analysis.comparison import rows
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.frame import TABLE
from harness.analysis.grouping import BUDGET_TOLERANCE, close
from harness.formatting import duration, size, unit_text
from harness.report.answers import density, winner
from harness.report.boards import boards, identity
from harness.report.cell_texts import (
    baseline_name,
    budget,
    dead_units,
    examples,
    minus_baseline,
    minus_control,
    precision,
    ranks,
    score,
    steps,
    tested,
    tokens,
)
from harness.report.html.plot_data import plot_data
from harness.report.tables import NONE, Table, count, decimals, fraction, rounded
from harness.results.store import LeftOut

_MORE = (
    ("std", "metric", "seed noise", "standard deviation over seeds"),
    ("stderr", "metric", "evaluation noise", "standard error of one seed's score over the test examples"),
    ("effective", "fraction", "effective", "fraction of weights that can change the output"),
    ("published", "plain", "published", "the number of the paper"),
    ("parameters", "count", "parameters", "of the whole network"),
    ("density_total", "fraction", "total density", "parameters left over all parameters"),
    ("flops", "plain", "training FLOPs", "dense-equivalent, one network"),
    ("flops_sparse", "plain", "sparse training FLOPs", "in theory: RigL's accounting"),
    ("inference_flops", "plain", "inference FLOPs", "dense-equivalent, one example"),
    ("inference_flops_sparse", "plain", "sparse inference FLOPs", "in theory: if masked weights cost nothing"),
    ("speedup_theoretical", "times", "speed-up in theory", "of inference: dense over sparse FLOPs"),
    ("speedup_measured", "times", "speed-up, measured", "beside the dense network, on the machine it ran on"),
    ("seconds", "time", "training time", "of runs as they were scheduled, mean over seeds: no measure of speed"),
    ("peak_memory", "memory", "peak memory", "measured, mean over seeds"),
)
"""Columns shown on demand where a row has a value: key, form, name, meaning."""
_MASK_MEAN = "mean value of the soft masks that the network was tested with"


@dataclass(frozen=True, slots=True)
class BoardColumn:
    """A heading, what it means, and how a row's cell is written and valued; ``more``: shown on demand."""

    name: str
    help: str
    text: Callable[[ComparisonRow], str]
    value: Callable[[ComparisonRow], Any]
    more: bool = True


def page_boards(
    frame: pd.DataFrame, left: Sequence[LeftOut], numbers: Mapping[tuple[str, str], int]
) -> Iterator[tuple[dict[str, Any], Sequence[ComparisonRow]]]:
    """Each table of the leaderboards, ready for JSON, and its rows.

    {"suite", ..., "title", "answer", "notes", "groups": titles, "columns": [{"name", "help", "more"}], "rows": [
    {"method", "density", "group", "best", "cells": [[text, value or null]], "seeds": [[seed, record or null]]}],
    "detail": as :func:`plain_table` has it, or null, "told": how many of its questions are decided, "plot": as
    :func:`~harness.report.html.plot_data.plot_data` has it}. Answers, ranks, notes, details and order are the
    markdown leaderboard's. Values are numbers, or texts where there is no number to sort by.
    """
    others: dict[tuple[Any, ...], dict[str, ComparisonRow]] = {}
    clocked: dict[tuple[Any, ...], dict[str, ComparisonRow]] = {}
    for row in rows(frame[~frame["primary"].astype(bool)]):
        others.setdefault(identity(row), {})[row.metric] = row
        if row.timed:
            clocked.setdefault(_network(row), {})[row.metric] = row
    for board in boards(frame, left):
        table = board.rows
        numbered = {row.id: row for row in table}
        columns = [*_columns(table), *_metrics(table, others)]
        detail = board.primary.detail
        shown = {
            **dict(zip(TABLE, table[0].take(*TABLE), strict=True)),
            "title": board.primary.title,
            "answer": board.primary.answer,
            "notes": board.primary.notes,
            "groups": _groups(table),
            "columns": [{"name": column.name, "help": column.help, "more": column.more} for column in columns],
            "rows": [
                {
                    "method": row.method,
                    "density": row.density_mask,
                    "group": row.group,
                    "best": at in board.primary.bold,
                    "cells": [[column.text(row), column.value(row)] for column in columns],
                    "seeds": [
                        [seed, numbers.get((row.suite, cell))] for seed, cell in zip(row.seeds, row.cells, strict=True)
                    ],
                }
                for at, row in enumerate(table)
            ],
            "detail": plain_table(detail) if detail else None,
            "told": sum(winner(contrast, numbered) is not None for row in table for contrast in row.contrasts),
            "plot": plot_data(
                table,
                {row.id: others.get(identity(row), {}) for row in table},
                {row.id: clocked.get(_network(row), {}) for row in table},
            ),
        }
        yield shown, table


def _network(row: ComparisonRow) -> tuple[Any, ...]:
    """What says that rows of two tables are of equal networks."""
    names = ("suite", "experiment", "architecture", "trained_on", "method", "density_scope", "match", "asked")
    return row.take(*names)


def plain_table(table: Table) -> dict[str, Any]:
    """A table that is shown as it is: {"title", "answer", "columns": [[name, right]], "rows": texts, "notes",
    "detail": another such table or null}.
    """
    return {
        "title": table.title,
        "answer": table.answer,
        "columns": [[column.name, column.right] for column in table.columns],
        "rows": table.rows,
        "notes": table.notes,
        "detail": plain_table(table.detail) if table.detail else None,
    }


def _groups(table: Sequence[ComparisonRow]) -> dict[int, str]:
    """What the rows of each group have in common: density, and what of training differs elsewhere in the table."""
    told = [part for part in (steps, examples, tokens) if len(set(map(part, table))) > 1]
    groups: dict[int, list[ComparisonRow]] = {}
    for row in table:
        groups.setdefault(row.group, []).append(row)
    titles: dict[int, str] = {}
    for number, group in groups.items():
        row = group[0]
        named = "Smaller networks" if row.small else f"Density {density(row) if row.density_low < 1 else 1}"
        shared = [part(row) for part in told if len(set(map(part, group))) == 1]
        titles[number] = ", ".join([named, *filter(None, shared)])
    return titles


def _columns(table: Sequence[ComparisonRow]) -> Iterator[BoardColumn]:
    """What matters first, so that a narrow screen shows it: as the markdown leaderboard has it."""
    first = table[0]
    baseline = baseline_name(table)
    places = precision(table)
    equal = _alike(row.examples for row in table) and _alike(row.tokens for row in table)

    def column(
        key: str, name: str, text: str, written: Callable[[ComparisonRow], str], more: bool = False
    ) -> BoardColumn:
        return BoardColumn(name, text, written, lambda row: getattr(row, key), more)

    yield column("rank", "rank", "range of ranks among the rows of equal density and budget", ranks)
    yield column("method", "method", "", lambda row: row.method)
    scopes = " or ".join(sorted({row.density_scope for row in table}))
    scope = f"fraction of weights that the tested network's mask keeps, of the scope {scopes}; its span over seeds"
    dense = column("density_mask", "density", scope, density)
    several = len({(row.method, row.match) for row in table}) < len(table)  # then a row's density says which it is
    if several:
        yield dense
    unit = f" ({unit_text(first.unit)})" if first.unit else ""
    what = "mean over seeds, with its 95 % interval; where densities differ, from the lowest score to the highest"
    yield column("mean", first.metric + unit, what, lambda row: score(row, places))
    against = {contrast.control for row in table for contrast in row.contrasts[:1]}
    only = next(iter(against)) if len(against) == 1 else None
    if against:
        paired = "difference to the control that is asked about, paired, with its 95 % interval"
        name = f"minus {only}" if only else "minus control"
        told = partial(minus_control, places=places, named=only is None)
        yield BoardColumn(name, paired, told, _control_difference, False)
        adjusted = "paired t test, Holm-adjusted over the questions of the table"
        yield BoardColumn("p", adjusted, tested, lambda row: row.contrast and row.contrast.p_adjusted, False)
    if not several:
        yield dense
    if any(row.mask_mean is not None for row in table):
        yield column("mask_mean", "mean mask", _MASK_MEAN, lambda row: fraction(row.mask_mean))
    if baseline is not None and baseline != only:
        paired = "difference paired by seed, with its 95 % interval; not tested unless it is asked"
        yield column("difference", f"minus {baseline}", paired, lambda row: minus_baseline(row, places))
    yield BoardColumn("budget", "training of one network", budget, lambda row: row.tokens or row.examples, equal)
    yield column("n", "n", "seeds", lambda row: str(row.n), len({row.n for row in table}) == 1)
    yield column("asked", "asked", "density asked for, or what it was matched to", _asked, True)
    if any(row.settings for row in table):
        yield column("settings", "settings", "chosen by the trials of tuning", lambda row: row.settings or NONE, True)
    zeros = "fraction of the weights in scope that are not 0 in the tested network"
    yield column("density_nonzero", "non-zero", zeros, lambda row: fraction(row.density_nonzero), True)
    written = {"metric": lambda value: rounded(value, places), **_WRITTEN}
    if any(row.dead_high for row in table):
        yield BoardColumn("dead units", "hidden units that carry nothing", dead_units, lambda row: row.dead_high)
    for key, form, name, text in _MORE:
        if any(getattr(row, key) is not None for row in table):
            yield column(key, name, text, partial(_optional, key, written[form]), True)


def _metrics(
    table: Sequence[ComparisonRow], others: Mapping[tuple[Any, ...], Mapping[str, ComparisonRow]]
) -> Iterator[BoardColumn]:
    """A column for each metric beside the primary one."""
    found = {row.id: others.get(identity(row), {}) for row in table}
    for name in sorted({name for metrics in found.values() for name in metrics}):
        measured = {at: metrics[name] for at, metrics in found.items() if name in metrics}
        first = next(iter(measured.values()))
        places = decimals([row.mean for row in measured.values()])

        def text(row: ComparisonRow, measured: Mapping[int, ComparisonRow] = measured, places: int = places) -> str:
            other = measured.get(row.id)
            return NONE if other is None else score(other, places)

        def value(row: ComparisonRow, measured: Mapping[int, ComparisonRow] = measured) -> float | None:
            other = measured.get(row.id)
            return None if other is None else other.mean

        unit = f" ({unit_text(first.unit)})" if first.unit else ""
        yield BoardColumn(name + unit, "mean ± half of the 95 % interval", text, value)


def _alike(budgets: Iterable[float | None]) -> bool:
    """Whether all are within 1 % of each other, or none is known."""
    first, *others = budgets
    return all(close(first, other, BUDGET_TOLERANCE) for other in others)


def _asked(row: ComparisonRow) -> str:
    return f"as {row.match}" if row.match else NONE if row.asked is None else f"{row.asked:g}"


def _control_difference(row: ComparisonRow) -> float | None:
    return row.contrast.difference if row.contrast else None


def _optional(key: str, written: Callable[[float], str], row: ComparisonRow) -> str:
    return NONE if (value := getattr(row, key)) is None else written(value)


_WRITTEN: dict[str, Callable[[float], str]] = {
    "count": count,
    "fraction": fraction,
    "plain": "{:.4g}".format,
    "times": "{:.2f}\N{MULTIPLICATION SIGN}".format,
    "time": duration,
    "memory": size,
}
