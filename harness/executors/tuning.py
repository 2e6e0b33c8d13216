"""Which settings the finished trials of a suite choose."""

from __future__ import annotations

import math
from collections.abc import Callable

from harness.errors import UserError
from harness.executors.completion import Completion
from harness.results.store import ResultStore
from harness.results.trial_score import TrialScore, best
from harness.results.tuned_method import TrialCells, TunedMethod
from harness.stages.graph import compile_graph
from harness.suites.cell import Cell, Key, Tuned
from harness.suites.suite import Suite


def settle(suite: Suite, results: ResultStore) -> tuple[Suite, list[TunedMethod]]:
    """The suite with the settings that finished trials choose, and all trials of each method.

    A method whose trials are not all finished has no settings yet; its cells wait. Nothing but the suite and the
    records of trials decides, so that a run that was killed chooses as one that was not.

    Raises:
        UserError: if trials are finished, and none of them has a validation score.
    """
    trials: dict[Tuned, dict[int, list[str]]] = {}
    for planned in compile_graph((cell for cell in suite.cells if cell.trial), suite.registry).cells:
        assert planned.cell.trial is not None
        trials.setdefault(planned.cell.tuned, {}).setdefault(planned.cell.trial.number, []).append(planned.id)
    found = []
    for tuned, cells in trials.items():
        drawn = suite.tuning(tuned.experiment)
        settings = {trial.number: trial.settings[tuned.method] for trial in drawn}
        listed = [TrialCells(settings=settings[number], cells=names) for number, names in sorted(cells.items())]
        space, chosen = drawn[0].spaces[tuned.method], _chosen(suite, tuned, listed, results)
        found.append(TunedMethod(**tuned._asdict(), trials=listed, space=dict(space), chosen=chosen))
    choices = {
        Tuned(one.experiment, one.architecture, one.trained_on, one.method): one.chosen
        for one in found
        if one.chosen is not None
    }
    return (suite.with_choices(choices) if choices else suite), found


def with_trials(suite: Suite, wanted: Callable[[Cell | Key], bool]) -> Callable[[Cell | Key], bool]:
    """Whether a cell is wanted, or is of a trial that one of the wanted cells waits for."""
    pending = {cell.key: cell for cell in suite.pending}
    first = {key[:4]: key for key in reversed(pending)}
    needed: set[Tuned] = set()

    def need(key: Key | None) -> None:
        if key in pending:
            cell = pending[key]
            needed.add(cell.tuned)
            budget = suite.experiments[cell.experiment].methods[cell.method].budget
            need(first.get((*cell.key[:3], budget.match)) if budget is not None else None)
            need(cell.match)
            need(cell.source)

    for key, cell in pending.items():
        if wanted(cell):
            need(key)
    return lambda cell: wanted(cell) or (isinstance(cell, Cell) and cell.trial is not None and cell.tuned in needed)


def _chosen(suite: Suite, tuned: Tuned, trials: list[TrialCells], results: ResultStore) -> int | None:
    """The number of the best trial; None while one is not finished."""
    scores = []
    done = False
    for trial in trials:
        records = [results.read(suite.name, name) for name in trial.cells]
        read = [record for record in records if record is not None and Completion.of_record(record).settled]
        if len(read) < len(records):
            return None
        done |= any(record.status == "done" for record in read)
        scores.append(TrialScore.of(read))
    if done and all(math.isnan(value) for score in scores for value in score.values):
        raise UserError(
            f"settings of '{tuned.method}' are chosen by validation data, and no trial has a validation score: "
            f"'{tuned.trained_on}' gives none. Choose a benchmark that does, or take out tune"
        )
    return best(scores)
