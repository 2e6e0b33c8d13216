"""About how long stages and evaluations take, from what has finished, what can be tried, or what is counted."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING

import torch

from harness.core.phases import Train
from harness.executors.network_size import NetworkSize
from harness.executors.pace import Pace
from harness.executors.step_kind import StepKind, StepKinds
from harness.executors.timing_process import short_timings
from harness.training.environment import device_name

if TYPE_CHECKING:
    from harness.core.data import Split
    from harness.executors.planning import Plan
    from harness.results.store import ResultStore
    from harness.stages.graph import PlannedCell, Stage
    from harness.suites.cell import Part
    from harness.suites.suite import Suite

EFFICIENCY = 0.5
"""Share of a matrix product's speed that training reaches, for a first guess; 0.3 to 0.6 were seen on one core."""
STEP_SECONDS = 1e-3
"""Of a step beside its operations, for a first guess: small networks take nothing else."""
COMPOSED = 2.0
"""Steps without a method that one with composed weights takes, where neither is known; 1.2 to 9 have been seen."""
LONGEST = 0.5
"""Seconds of a step, by the first guess, from which a network is not built to be timed: two steps would be taken."""
TELLING = 0.02
"""Seconds of a step, by the first guess, from which its time says how fast larger networks are."""
BUILDING = 2e-8
"""Seconds for each parameter and each number of a batch, which are made before a step can be timed."""
STAGE_SECONDS = 0.05
"""Of a stage beside its steps and checks: what is built, and what is written."""
FINISHED, TIMED = "finished stages", "short timings"
EVALUATION_SECONDS = 0.15
"""Of a cell beside what its network computes: what is built, counted, and written."""


class StepTimes:
    """About how long the jobs of a plan take.

    Seconds of a step are the median of finished stages, or of records, of its kind; else, where that is wanted, of a
    few steps that are really taken; else those of the network with held masks, of a composed method ``COMPOSED`` times
    as many; else of the network with any method; else by its operations, at the speed of the largest network that was
    timed, or at ``EFFICIENCY`` of a matrix product's.

    Args:
        plan: of the suite.
        suite: which knows its data and plugins.
        results: what has finished.
        device: of this machine's workers. None where they are elsewhere: then what finished on any machine counts.
        timed: whether steps may be timed, which takes some seconds.
    """

    def __init__(
        self, plan: Plan, suite: Suite, results: ResultStore, device: torch.device | None, timed: bool
    ) -> None:
        self._suite = suite
        self._device = device
        self._kinds = StepKinds(suite)
        self._sizes: dict[str, NetworkSize] = {}
        self._examples: dict[tuple[int, Split], int] = {}
        self._pace = Pace(self._kinds, results, None if device is None else device_name(device))
        self._pace.learn(plan.graph.stages.values(), plan.finished)
        self._spent: dict[str, float] = {}
        self._guessed = 0.0
        self._timings: dict[StepKind, float] = {}
        self._seen: float | None = None
        work: Counter[StepKind] = Counter()
        some: dict[StepKind, Stage] = {}
        for stage in plan.stages:
            kind = self._kinds.of(stage)
            if stage.steps and self._pace.of(kind) is None:
                work[kind] += int(self.size(stage).step * stage.steps)
                some.setdefault(kind, stage)
        if timed and device is not None:
            small = {kind: some[kind] for kind, _ in work.most_common() if self._can_be_tried(kind, some[kind])}
            self._timings = short_timings(small, suite, device)
            self._learn_speed(some)

    def size(self, stage: Stage) -> NetworkSize:
        """Of a stage's network."""
        network = self._kinds.of(stage).network
        if network not in self._sizes:
            self._sizes[network] = NetworkSize.of(stage, self._suite)
        return self._sizes[network]

    def stage_seconds(self, stage: Stage) -> float:
        """Of a whole stage."""
        if not stage.steps:
            return STAGE_SECONDS
        kind = self._kinds.of(stage)
        step, basis, checked = self._step(kind, stage)
        seconds = STAGE_SECONDS + step * stage.steps
        if not checked:
            cell = stage.cell
            split: Split = "test" if cell.evaluation.select == "best_test" else "validation"
            trainings = [phase.steps for phase in stage.phases if isinstance(phase, Train)]
            checks = sum(min(steps, cell.evaluation.checks) for steps in trainings)
            seconds += checks * self._scoring(stage, cell.training_part, split)
        self._spent[basis] = self._spent.get(basis, 0.0) + seconds
        if basis not in (FINISHED, TIMED) and self._can_be_tried(kind, stage):
            self._guessed += seconds
        return seconds

    def cell_seconds(self, planned: PlannedCell) -> float:
        """Of a cell's evaluation."""
        last, part = planned.stages[-1], planned.cell.benchmark_part
        return EVALUATION_SECONDS + sum(self._scoring(last, part, split) for split in ("test", "validation"))

    @property
    def guessed(self) -> bool:
        """Whether most of these seconds are of small networks that were never timed: no formula knows their steps."""
        return self._guessed > sum(self._spent.values()) / 2

    @property
    def basis(self) -> str:
        """Where the seconds of the stages asked for so far come from, with their shares where there are several."""
        total = sum(self._spent.values())
        shares = sorted(((seconds / total, name) for name, seconds in self._spent.items()), reverse=True)
        return ", ".join(name if share == 1 else f"{share:.0%} {name}" for share, name in shares)

    def _step(self, kind: StepKind, stage: Stage) -> tuple[float, str, bool]:
        """Seconds of a step, where they come from, and whether a training's checks are among them."""
        factor = COMPOSED if kind.composed else 1.0
        if (known := self._pace.of(kind)) is not None:
            return known, FINISHED, True
        if kind in self._timings:
            return self._timings[kind], TIMED, False
        if (known := self._pace.of(kind.held)) is not None:
            return known * factor, FINISHED, True
        if kind.held in self._timings:
            return self._timings[kind.held] * factor, TIMED, False
        if (known := self._pace.of_network(kind)) is not None:
            return known, FINISHED, True
        counted = f"{self._matrix_speed / 1e9:.0f} GFLOP/s at {self._speed / self._matrix_speed:.0%}"
        return self._guess(stage) * factor, counted, False

    @cached_property
    def _matrix_speed(self) -> float:
        return matrix_speed(self._device)

    @property
    def _speed(self) -> float:
        """Operations per second of training, as far as is known."""
        return EFFICIENCY * self._matrix_speed if self._seen is None else self._seen

    def _scoring(self, stage: Stage, part: Part, split: Split) -> float:
        """Seconds of the forward passes that score a split, a third of a step's time for as many examples."""
        if (id(part), split) not in self._examples:
            self._examples[id(part), split] = self._suite.examples(part, split) or 0
        size, (step, _, _) = self.size(stage), self._step(self._kinds.of(stage).held, stage)
        return self._examples[id(part), split] / size.tokens * step / (3 * size.batch)

    def _guess(self, stage: Stage) -> float:
        """Seconds of a step with held masks, by what is counted."""
        return STEP_SECONDS + self.size(stage).step / self._speed

    def _can_be_tried(self, kind: StepKind, stage: Stage) -> bool:
        """Whether a step is not too long for it, and need not be compiled, which takes a minute."""
        size, factor = self.size(stage), COMPOSED if kind.composed else 1.0
        made = size.parameters + size.batch * size.example
        return self._guess(stage) * factor + BUILDING * made < LONGEST and not stage.cell.training.compile

    def _learn_speed(self, stages: dict[StepKind, Stage]) -> None:
        """Take over the speed of the largest network that was timed, if it is large enough to tell."""
        telling = [kind for kind in self._timings if self._guess(stages[kind]) >= TELLING]
        if telling:
            largest = max(telling, key=lambda kind: (self.size(stages[kind]).step, not kind.composed))
            taken = self._timings[largest] / (COMPOSED if largest.composed else 1.0)
            self._seen = self.size(stages[largest]).step / taken


def matrix_speed(device: torch.device | None) -> float:
    """Operations per second of a matrix product on one thread, or on a GPU."""
    if device is None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    size = 512 if device.type == "cpu" else 4096
    a = torch.ones(size, size, device=device)
    best = float("inf")
    for _ in range(5):
        start = perf_counter()
        (a @ a).sum().item()
        best = min(best, perf_counter() - start)
    torch.set_num_threads(threads)
    return 2.0 * size**3 / best
