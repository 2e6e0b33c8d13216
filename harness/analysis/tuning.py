"""What the trials of a suite found, and what they took: read from their records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from harness.analysis.expected_best import expected_best
from harness.results.cell_record import CellRecord
from harness.results.record_parts import MetricScore
from harness.results.store import ResultStore
from harness.results.trial_score import TrialScore
from harness.results.tuned_method import TunedMethod


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial of a method.

    Attributes:
        settings: option -> what it sets; empty in the default. :func:`settings_words` has them in words.
        scores: validation score of each seed of tuning; nan where it diverged. ``mean`` is over these.
        densities: of the mask, one for each seed that has a result.
        broken: seeds whose network does not depend on its input.
        steps, flops: that its cells have cost together, as far as they say, dense-equivalent; ``untold`` is the number
            of those that do not, as training that diverged.
    """

    number: int
    settings: Mapping[str, object]
    scores: tuple[float, ...]
    mean: float
    densities: tuple[float, ...]
    broken: int
    steps: float
    flops: float
    untold: int


@dataclass(frozen=True, slots=True)
class TuningRow:
    """The trials of one method on a network and its training data.

    Attributes:
        metric: primary one of the training data's benchmark, None if no trial has a score.
        trials: those that are finished, in order; of ``asked``.
        chosen: the one with whose settings the reported cells are; None while trials are not finished.
        ends: option -> 1 where the chosen value is the highest number that a trial had, the default's included, -1
            where it is the lowest and not 0, below which there is nothing.
        untried: those of ``ends`` beyond which the space has values that no trial had.
        expected: number of trials -> mean of the best validation score of so many; empty while they are not finished.
    """

    experiment: str
    architecture: str
    trained_on: str
    method: str
    metric: MetricScore | None
    name: str
    seeds: tuple[int, ...]
    trials: tuple[TrialRow, ...]
    asked: int
    chosen: TrialRow | None
    ends: Mapping[str, int]
    untried: frozenset[str]
    expected: Mapping[int, float]

    @property
    def steps(self) -> float:
        """Optimizer steps of all trials, which no row's training counts."""
        return sum(trial.steps for trial in self.trials)

    @property
    def flops(self) -> float:
        """Training operations of all trials, dense-equivalent."""
        return sum(trial.flops for trial in self.trials)

    @property
    def untold(self) -> int:
        """Cells of which the cost is not known, so that the others' is too low."""
        return sum(trial.untold for trial in self.trials)


def tuning_rows(store: ResultStore, suite: str) -> list[TuningRow]:
    """A row for each method that a suite tunes, in order of its plan."""
    plan = store.plan(suite)
    return [_row(store, suite, method) for method in plan.tuning] if plan else []


def settings_text(method: TunedMethod) -> str:
    """What the reported cells of a method have: ``lr 0.003 (trial 4 of 6)``; "" while nothing is chosen."""
    if method.chosen is None:
        return ""
    return f"{settings_words(method.settings)} (trial {method.chosen} of {len(method.trials)})"


def settings_words(settings: Mapping[str, object], ends: Mapping[str, str] = {}) -> str:
    """``lr 0.01, weight_decay 0.1``; ``default`` where nothing is set. ``ends`` are marks behind options' values."""
    if not settings:
        return " ".join(["default", *(f"{name} {mark}" for name, mark in ends.items())])
    marks = {name: f" {mark}" for name, mark in ends.items()}
    return ", ".join(f"{name} {_value(value)}{marks.get(name, '')}" for name, value in settings.items())


def _row(store: ResultStore, suite: str, method: TunedMethod) -> TuningRow:
    metrics: list[tuple[str, MetricScore]] = []
    seeds: dict[int, None] = {}
    rows: list[TrialRow] = []
    firsts: list[CellRecord] = []
    sign = 1
    for number, trial in enumerate(method.trials, 1):
        found = [store.read(suite, name) for name in trial.cells]
        records = [record for record in found if record is not None and record.status in ("done", "diverged")]
        if len(records) < len(found):
            continue
        firsts.append(records[0])
        score = TrialScore.of(records)
        metrics += [(name, one) for record in records for name, one in record.validation.items() if one.primary]
        sign = score.sign if any(record.metrics for record in records) else sign
        seeds |= dict.fromkeys(record.seed for record in records)
        spent = [record.spent for record in records if record.spent is not None]
        flops = [one.flops.training for one in spent if one.flops is not None and one.flops.training is not None]
        rows.append(
            TrialRow(
                number=number,
                settings=trial.settings,
                scores=score.values,
                mean=score.mean,
                densities=tuple(record.density.mask for record in records if record.density.mask is not None),
                broken=score.broken,
                steps=sum(one.steps or 0 for one in spent),
                flops=sum(flops),
                untold=len(records) - len(flops),
            )
        )
    whole = len(rows) == len(method.trials)
    name, metric = metrics[0] if metrics else ("", None)
    ends, untried = _ends(method, firsts) if whole else ({}, frozenset())
    return TuningRow(
        experiment=method.experiment,
        architecture=method.architecture,
        trained_on=method.trained_on,
        method=method.method,
        metric=metric,
        name=name,
        seeds=tuple(seeds),
        trials=tuple(rows),
        asked=len(method.trials),
        chosen=next((row for row in rows if row.number == method.chosen), None),
        ends=ends,
        untried=untried,
        expected=dict(_expected(rows, sign)) if whole else {},
    )


def _ends(method: TunedMethod, records: Sequence[CellRecord]) -> tuple[dict[str, int], frozenset[str]]:
    """Of the chosen values, which are the highest or lowest of those tried; ``records`` are one of each trial.

    And of those, beyond which the space has more; older plans do not have their space.
    """
    found: dict[str, int] = {}
    untried = []
    for option in dict.fromkeys(option for trial in method.trials for option in trial.settings):
        tried = [trial.settings.get(option, _default(method, records, option)) for trial in method.trials]
        numbers = [number for number in tried if _is_number(number)]
        value = tried[method.chosen - 1] if method.chosen else None
        if not _is_number(value) or len(set(numbers)) == 1:
            continue
        space = [number for number in method.space.get(option, ()) if _is_number(number)]
        if value == max(numbers):
            found[option] = 1
            untried += [option] * (max([value, *space]) > value)
        elif value == min(numbers) != 0:
            found[option] = -1
            untried += [option] * (min([value, *space]) < value)
    return found, frozenset(untried)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _default(method: TunedMethod, records: Sequence[CellRecord], option: str) -> object:
    """An option's value in the first trial, which sets nothing."""
    trials = [(trial.settings, record) for trial, record in zip(method.trials, records, strict=True)]
    # A method's own option may have the name of one of training: records say which of the two the trials set.
    shared = all(
        (record.training or {}).get(option) == settings[option] for settings, record in trials if option in settings
    )
    return ((records[0].training or {}) if shared else records[0].method.options).get(option.removeprefix("method."))


def _expected(rows: list[TrialRow], sign: int) -> Iterator[tuple[int, float]]:
    """For 1, 2, 4, ... trials and for all; a trial that diverged is worse than any number."""
    scores = [-math.inf if math.isnan(row.mean) else sign * row.mean for row in rows]
    for trials in sorted({2**power for power in range(len(scores).bit_length())} | {len(scores)}):
        yield trials, sign * expected_best(scores, trials)


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
