"""The tables of tuning: what was chosen for each method, what that took, and every trial."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from harness.analysis.tuning import TrialRow, TuningRow, tuning_rows
from harness.formatting import listed
from harness.report.answers import few
from harness.report.tables import BETTER, NONE, Column, Table, count, decimals, fraction
from harness.results.store import ResultStore


def tuning_tables(store: ResultStore, suite: str) -> Iterator[Table]:
    """One for each network and training data of an experiment that is tuned; its detail has every trial."""
    rows = tuning_rows(store, suite)
    for _, some in groupby(rows, key=lambda row: (row.experiment, row.architecture, row.trained_on)):
        yield _table(list(some))


def _table(rows: Sequence[TuningRow]) -> Table:
    first = next((row for row in rows if row.metric is not None), rows[0])
    places = decimals([trial.mean for row in rows for trial in row.trials if not math.isnan(trial.mean)] or [1.0])
    counts = sorted({trials for row in rows for trials in row.expected})
    columns = [
        Column("method", names=True, key=True),
        Column("settings"),
        Column("trial", 1, right=True),
        Column(f"validation {first.name}".rstrip()),
        *(Column(f"best of {trials}", 2, right=True) for trials in counts),
        Column("steps", 3, right=True),
        Column("FLOPs", 4, right=True),
    ]
    cells = [
        [
            row.method,
            row.chosen.settings if row.chosen else "not chosen yet",
            f"{row.chosen.number} of {row.asked}" if row.chosen else f"{len(row.trials)} of {row.asked} finished",
            _number(row.chosen.mean if row.chosen else math.nan, places),
            *(_number(row.expected.get(trials, math.nan), places) for trials in counts),
            _cost(row, count(row.steps)),
            _cost(row, f"{row.flops:.2e}"),
        ]
        for row in rows
    ]
    seeds = listed([str(seed) for seed in first.seeds]) if first.seeds else ""
    better = f": {BETTER[first.metric.direction]}" if first.metric else ""
    notes = [
        f"Validation {first.name}{better}, mean over the seeds of tuning ({seeds or 'none yet'}), which are not "
        "reported. Trial 1 is the default; of equal trials the first is chosen.",
        "Best of k: mean of the best validation score of k of these trials, over all ways to draw k without "
        "replacement. Steps and FLOPs are of all trials together, and in no row's training.",
    ]
    title = f"Tuning of {rows[0].experiment}: {rows[0].architecture} on {rows[0].trained_on}"
    return Table(title, columns, cells, notes, answer=_answer(rows, places), detail=_trials(rows, places))


def _answer(rows: Sequence[TuningRow], places: int) -> list[str]:
    """What was gained over the defaults, on the seeds of tuning; without a test."""
    chosen = [(row, row.chosen) for row in rows if row.chosen is not None]
    if not chosen:
        return ["Nothing is chosen yet: trials are not finished."]
    gains = {row.method: best.mean - row.trials[0].mean for row, best in chosen if best.number > 1}
    found: list[str] = []
    if told := sorted((name for name in gains if math.isfinite(gains[name])), key=lambda name: -abs(gains[name])):
        changes = [f"{name} by {gains[name]:+.{places}f}" for name in told]
        found.append(f"Tuning changed the validation {_metric(rows)} of {few(changes)}, on the seeds of tuning.")
    if lost := [name for name in gains if name not in told]:
        found.append(f"The default of {few(lost)} has no score.")
    if kept := [row.method for row, best in chosen if best.number == 1]:
        found.append(f"No trial was better than the default of {few(kept)}.")
    if waiting := [row.method for row in rows if row.chosen is None]:
        found.append(f"Not chosen yet: {few(waiting)}.")
    return found


def _metric(rows: Sequence[TuningRow]) -> str:
    return next((row.name for row in rows if row.metric is not None), "score")


def _trials(rows: Sequence[TuningRow], places: int) -> Table:
    columns = [
        Column("method", names=True, key=True),
        Column("trial", right=True),
        Column("settings"),
        Column("mean", right=True),
        Column("by seed"),
        Column("density", 2, right=True),
        Column("", 1),
    ]
    cells = [
        [
            row.method,
            str(trial.number),
            trial.settings,
            _number(trial.mean, places),
            ", ".join(_number(score, places) for score in trial.scores),
            _densities(trial),
            _remark(row, trial),
        ]
        for row in rows
        for trial in row.trials
    ]
    return Table("Every trial", columns, cells)


def _cost(row: TuningRow, text: str) -> str:
    """More than that, where training that diverged does not say what it took."""
    if not row.trials:
        return NONE
    return f"> {text}" if row.untold else text


def _densities(trial: TrialRow) -> str:
    """``0.0200``, or the span over seeds."""
    found = sorted({fraction(density, 4) for density in trial.densities})
    return " to ".join([found[0], found[-1]] if len(found) > 1 else found) or NONE


def _remark(row: TuningRow, trial: TrialRow) -> str:
    """What speaks for or against a trial."""
    words = ["chosen"] if trial is row.chosen else []
    if lost := sum(map(math.isnan, trial.scores)):
        words.append(f"no score in {lost} of {len(trial.scores)} seeds")
    if trial.broken:
        words.append(f"broken in {trial.broken} of {len(trial.scores)} seeds")
    return ", ".join(words)


def _number(value: float, places: int) -> str:
    return f"{value:.{places}f}" if math.isfinite(value) else NONE
