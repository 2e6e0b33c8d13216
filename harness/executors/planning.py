"""What is left to do for a suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.executors.base import Job
from harness.executors.completion import Completion, recorded_failure
from harness.formatting import count
from harness.results.packing import forget as forget_cells
from harness.results.store import ResultStore
from harness.stages.graph import Graph, PlannedCell, Stage
from harness.stages.store import StageStore

if TYPE_CHECKING:
    from harness.suites.cell import Cell


@dataclass(slots=True)
class Plan:
    """The jobs of a run.

    Attributes:
        graph: all cells of the suite.
        selected: the cells that the user asked for.
        finished: those of them that have a record already: done, or diverged, which would only happen again.
        diverged: why the latter have, by cell id.
        jobs: what must run, in an order in which it could.
        damaged: files of stages that seem finished and do not count; those stages are among the jobs.
        alone: why stages that were to be packed run alone, by architecture; see :mod:`harness.executors.packs`.
    """

    graph: Graph
    selected: list[PlannedCell]
    finished: list[PlannedCell] = field(default_factory=list)
    diverged: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    alone: dict[str, str] = field(default_factory=dict)

    @property
    def stages(self) -> list[Stage]:
        """Stages among the jobs."""
        return [job.work for job in self.jobs if isinstance(job.work, Stage)]

    @property
    def steps(self) -> int:
        """Optimizer steps among the jobs."""
        return sum(job.steps for job in self.jobs)


def make_plan(
    graph: Graph, results: ResultStore, only: Callable[[Cell], bool] = lambda _: True, force: bool = False
) -> Plan:
    """Which jobs are missing; with ``force`` as if the selected cells had no results and no stages."""
    store = StageStore(results.work)
    plan = Plan(graph, [planned for planned in graph.cells if only(planned.cell)])
    suites = {planned.cell.suite for planned in plan.selected}
    loose = {suite: results.loose(suite).keys() for suite in suites}
    packed = {suite: results.packed(suite) for suite in suites}
    finished: dict[str, bool] = {}
    added: set[str] = set()
    forgotten: set[str] = set()
    if force:
        loose, packed = {suite: {}.keys() for suite in suites}, dict.fromkeys(suites, frozenset())
        forgotten = {stage.hash for planned in plan.selected for stage in planned.stages}

    def need(stage: Stage) -> bool:
        """Add a stage and what it needs, unless it is finished; whether it was missing."""
        if stage.hash not in finished:
            finished[stage.hash] = stage.hash not in forgotten and Completion.of(stage, results, store).settled
            if not finished[stage.hash]:
                plan.damaged += filter(None, [store.damaged(stage.hash)])
                missing = tuple(name for name in stage.needs if need(graph.stages[name]))
                plan.jobs.append(Job(stage.hash, stage, missing))
        return not finished[stage.hash]

    for planned in plan.selected:
        suite = planned.cell.suite
        if planned.id in packed[suite] and planned.id not in loose[suite]:  # only what is done is packed
            plan.finished.append(planned)
            continue
        record = results.read(suite, planned.id) if planned.id in loose[suite] else None
        completion = Completion.of_record(record)
        if record is not None and completion.settled:
            plan.finished.append(planned)
            if completion is Completion.DIVERGED:
                plan.diverged[planned.id] = recorded_failure(record)
        elif planned.id not in added:
            added.add(planned.id)
            last = planned.stages[-1]
            plan.jobs.append(Job(planned.id, planned, (last.hash,) if need(last) else ()))
    return plan


def forget(plan: Plan, results: ResultStore) -> None:
    """Delete the results and the stages of a plan's selected cells."""
    store = StageStore(results.work)
    for suite in {planned.cell.suite for planned in plan.selected}:
        forget_cells(results, suite, {planned.id for planned in plan.selected if planned.cell.suite == suite})
    for planned in plan.selected:
        for stage in planned.stages:
            store.discard(stage.hash)


def summary(graph: Graph, plan: Plan, unplanned: int = 0) -> Sequence[str]:
    """The plan in a few lines; ``unplanned`` runs are to do, and no more is known of them."""
    running = len(plan.selected) - len(plan.finished) + unplanned
    stages = plan.stages
    whole = {stage.hash for planned in plan.selected for stage in planned.stages}
    uses = sum(len(planned.stages) for planned in plan.selected)
    left = f"{len(stages):,} of " if len(stages) < len(whole) else ""
    todo = left + count(len(whole), "stage")
    lines = [
        f"{count(len(plan.selected) + unplanned, 'run')}, {len(plan.finished):,} finished, {running:,} to do",
        f"{todo} to train ({uses - len(whole):,} shared), {count(plan.steps, 'optimizer step')}",
    ]
    if len(plan.selected) < len(graph.cells):
        lines.append(f"selected from {count(len(graph.cells), 'run')} by --only")
    if unplanned:
        lines.append(f"{count(unplanned, 'run')} of them cannot be planned before their data are here")
    if packed := sum(job.pack is not None for job in plan.jobs):
        lines.append(f"{count(packed, 'stage')} may take steps together with others (training.pack)")
    lines += [f"{name} trains alone, as it cannot be packed: {reason}" for name, reason in plan.alone.items()]
    return lines
