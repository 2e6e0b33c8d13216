"""The tables of tuning: what was chosen for each method, what that took, every trial, and methods at equal trials."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby, permutations

from harness.analysis.tuning import TrialRow, TuningRow, settings_words, tuning_rows
from harness.formatting import listed
from harness.report.answers import few
from harness.report.tables import BETTER, NONE, Column, Table, count, decimals, difference, fraction, rounded
from harness.results.store import ResultStore

_ENDS = {1: "\N{UPWARDS ARROW}", -1: "\N{DOWNWARDS ARROW}"}


def tuning_tables(store: ResultStore, suite: str) -> Iterator[Table]:
    """For each network and training data of an experiment that is tuned: what was chosen, with every trial as detail;
    then, of two methods or more, which is better after equal numbers of trials.
    """
    for _, some in groupby(
        tuning_rows(store, suite), key=lambda row: (row.experiment, row.architecture, row.trained_on)
    ):
        rows = list(some)
        yield _table(rows)
        if len(whole := [row for row in rows if row.expected]) > 1:
            yield _equal_trials(whole)


def _table(rows: Sequence[TuningRow]) -> Table:
    first, places = _first(rows), _places(rows)
    columns = [
        Column("method", names=True, key=True),
        Column("settings"),
        Column("trial", 1, right=True),
        Column("validation"),
        Column("steps", 3, right=True),
        Column("FLOPs", 4, right=True),
    ]
    cells = [
        [
            row.method,
            settings_words(row.chosen.settings, _marks(row)) if row.chosen else "not chosen yet",
            f"{row.chosen.number} of {row.asked}" if row.chosen else f"{len(row.trials)} of {row.asked} finished",
            _number(row.chosen.mean if row.chosen else math.nan, places),
            _cost(row, count(row.steps)),
            _cost(row, f"{row.flops:.2e}"),
        ]
        for row in rows
    ]
    seeds = listed([str(seed) for seed in first.seeds]) if first.seeds else ""
    better = f": {BETTER[first.metric.direction]}" if first.metric else ""
    notes = [
        f"Validation {first.name}{better}, mean over the seeds of tuning ({seeds or 'none yet'}), which are not "
        "reported. Trial 1 is the default; of equal trials the first is chosen. Steps and FLOPs are of all trials "
        "together, and in no row's training.",
    ]
    if any(row.ends for row in rows):
        notes.append(f"{_ENDS[1]} {_ENDS[-1]}: the highest or lowest number that a trial of the method had.")
    title = f"Tuning of {_network(rows)}"
    return Table(title, columns, cells, notes, answer=_answer(rows, places), detail=_trials(rows, places))


def _equal_trials(rows: Sequence[TuningRow]) -> Table:
    """Methods by their expected best score of k trials, with their place among each other."""
    first, places = _first(rows), _places(rows)
    sign = -1 if first.metric is not None and first.metric.direction == "min" else 1
    counts = sorted(set.intersection(*({*row.expected} for row in rows)))
    scores = {trials: [sign * row.expected[trials] for row in rows] for trials in counts}
    last = scores[counts[-1]]

    def cell(at: int, trials: int) -> str:
        place = 1 + sum(other > scores[trials][at] for other in scores[trials])
        number = _number(rows[at].expected[trials], places)
        return number if number == NONE else f"{number} ({place})"

    cells = [
        [rows[at].method, *(cell(at, trials) for trials in counts)]
        for at in sorted(range(len(rows)), key=lambda at: (-last[at], rows[at].method))
    ]
    pairs = math.comb(len(rows), 2)
    turned = {
        trials: sum(some[i] < some[j] and last[j] < last[i] for i, j in permutations(range(len(rows)), 2))
        for trials, some in scores.items()
    }
    told = [f"{number} after {trials}" for trials, number in turned.items() if number]
    answer = (
        f"Pairs of methods in another order than after all {counts[-1]} trials, of {pairs:,}: {listed(told)}."
        if told
        else f"The order of methods is the same after {listed([str(trials) for trials in counts])} trials."
    )
    notes = [
        f"Mean of the best validation {first.name} of so many of a method's trials, over all ways to draw them without "
        "replacement, and its place among the methods: the first after one trial need not be the first after many. "
        "Nothing is tested."
    ]
    columns = [
        Column("method", names=True, key=True),
        *(Column("1 trial" if trials == 1 else f"{trials} trials", right=True) for trials in counts),
    ]
    return Table(f"Equal trials of {_network(rows)}", columns, cells, notes, answer=[answer])


def _first(rows: Sequence[TuningRow]) -> TuningRow:
    """One that knows the metric, if any does."""
    return next((row for row in rows if row.metric is not None), rows[0])


def _places(rows: Sequence[TuningRow]) -> int:
    return decimals([trial.mean for row in rows for trial in row.trials if not math.isnan(trial.mean)] or [1.0])


def _network(rows: Sequence[TuningRow]) -> str:
    return f"{rows[0].experiment}: {rows[0].architecture} on {rows[0].trained_on}"


def _marks(row: TuningRow) -> dict[str, str]:
    return {option: _ENDS[end] for option, end in row.ends.items()}


def _answer(rows: Sequence[TuningRow], places: int) -> list[str]:
    """What was gained over the defaults, on the seeds of tuning; without a test."""
    chosen = [(row, row.chosen) for row in rows if row.chosen is not None]
    if not chosen:
        return ["Nothing is chosen yet: trials are not finished."]
    gains = {row.method: best.mean - row.trials[0].mean for row, best in chosen if best.number > 1}
    found: list[str] = []
    if told := sorted((name for name in gains if math.isfinite(gains[name])), key=lambda name: -abs(gains[name])):
        changes = [f"{name} by {difference(gains[name], None, None, places)}" for name in told]
        found.append(f"Tuning changed the validation {_metric(rows)} of {few(changes)}, on the seeds of tuning.")
    if lost := [name for name in gains if name not in told]:
        found.append(f"The default of {few(lost)} has no score.")
    if kept := [row.method for row, best in chosen if best.number == 1]:
        found.append(f"No trial was better than the default of {few(kept)}.")
    found += _at_ends(rows)
    if waiting := [row.method for row in rows if row.chosen is None]:
        found.append(f"Not chosen yet: {few(waiting)}.")
    return found


def _at_ends(rows: Sequence[TuningRow]) -> Iterator[str]:
    for untried, text in (
        (False, "At an end of what was tried, so that a better value may lie beyond"),
        (True, "At an end of what was drawn, with values of the space beyond that no trial had"),
    ):
        methods: dict[str, list[str]] = {}
        for row in rows:
            for option, end in row.ends.items():
                if (option in row.untried) == untried:
                    methods.setdefault(f"the {'highest' if end > 0 else 'lowest'} {option}", []).append(row.method)
        if methods:
            yield f"{text}: {'; '.join(f'{what} for {few(names)}' for what, names in methods.items())}."


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
            settings_words(trial.settings),
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
    return rounded(value, places) if math.isfinite(value) else NONE
