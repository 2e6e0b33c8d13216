"""What is left to do for a suite, and about what it will cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
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
    from harness.suites.suite import Suite

EFFICIENCY = 0.2
"""Share of a large matrix product's speed that training reaches, for a first guess of the time."""


REFERENCE = ("an A100", 312e12, 0.4)
"""A GPU, its bf16 operations per second, and the share of them that training a language model reaches."""


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
    """

    graph: Graph
    selected: list[PlannedCell]
    finished: list[PlannedCell] = field(default_factory=list)
    diverged: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)

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


@dataclass(frozen=True, slots=True)
class Cost:
    """About what a plan takes: training tokens and operations, seconds of one worker per stage, bytes.

    ``tokens`` counts examples where data are no text. ``disk_bytes`` is for the stages that are kept,
    ``checkpoint_bytes`` for the checkpoints of one that runs. ``memory`` is what one training of an architecture takes
    at least, by label, beside its process and its data; an architecture of which that is not known is left out.
    """

    tokens: int
    flops: float
    stage_seconds: Mapping[str, float]
    disk_bytes: float
    basis: str
    checkpoint_bytes: float = 0.0
    memory: Mapping[str, int] = field(default_factory=dict)

    @property
    def memory_bytes(self) -> int:
        """Of the largest network."""
        return max(self.memory.values(), default=0)

    @property
    def gpu_hours(self) -> float:
        """Hours of one GPU of the reference kind, at the efficiency that large networks reach."""
        return self.flops / (REFERENCE[1] * REFERENCE[2]) / 3600

    @property
    def seconds(self) -> float:
        """Seconds of one worker for all stages."""
        return sum(self.stage_seconds.values())


def estimate(plan: Plan, suite: Suite, store: StageStore) -> Cost:
    """A first guess; seconds per step are the median of finished stages of the same network and method,
    or of the network with any method, where there are any.
    """
    import torch

    from harness.executors.footprint import COPIES, training_bytes
    from harness.results.flops import forward_flops

    flops = disk = checkpoint = 0.0
    memory: dict[str, int] = {}
    tokens = 0
    seconds: dict[str, float] = {}
    measured = _measured(plan.graph.stages.values(), store)
    networks: dict[Any, tuple[int, int, int]] = {}
    speed: float | None = None
    for stage in plan.stages:
        cell = stage.cell
        key = _network_key(stage)
        if key not in networks:
            spec = suite.spec(cell.training_part)
            architecture = suite.registry.get("architecture", cell.architecture_part.plugin)(
                cell.architecture_part.options, spec
            )
            with torch.random.fork_rng(devices=[]), torch.device("meta"):
                size = sum(p.numel() for p in architecture.build().parameters())
            networks[key] = (forward_flops(architecture, spec).total, size, spec.tokens)
            label, needed = cell.architecture, training_bytes(architecture, spec, cell.training)
            memory |= {} if needed is None else {label: max(needed, memory.get(label, 0))}
        forward, size, length = networks[key]
        examples = stage.steps * cell.training.batch_size
        tokens += examples * length
        work = 3.0 * forward * examples
        flops += work
        disk += 4.0 * size
        # Two checkpoints are kept while the next one is written; gradients are in none.
        checkpoint = max(checkpoint, 3 * (COPIES[cell.training.optimizer] - 1) * 4.0 * size)
        known = measured.get((key, stage.cell.method_part.plugin)) or measured.get((key, None))
        if known:
            seconds[stage.hash] = median(known) * stage.steps
        else:
            speed = speed or _matrix_speed()
            seconds[stage.hash] = work / (speed * EFFICIENCY)
    basis = "finished stages" if speed is None else f"{speed / 1e9:.0f} GFLOP/s at {EFFICIENCY:.0%}"
    return Cost(tokens, flops, seconds, disk, basis, checkpoint, memory)


def _network_key(stage: Stage) -> tuple[int, int, int]:
    cell = stage.cell
    return (id(cell.architecture_part), id(cell.training_part), cell.training.batch_size)


def _measured(stages: Iterable[Stage], store: StageStore) -> dict[Any, list[float]]:
    """Seconds per step of finished stages, by network and method, and by network for every method (None)."""
    found: dict[Any, list[float]] = {}
    for stage in stages:
        manifest = store.manifest(stage.hash)
        if manifest and manifest.get("seconds_per_step"):
            for method in (stage.cell.method_part.plugin, None):
                found.setdefault((_network_key(stage), method), []).append(manifest["seconds_per_step"])
    return found


def _matrix_speed() -> float:
    """Operations per second of a matrix product on one thread of this machine, or on its GPU."""
    import torch

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


def summary(graph: Graph, plan: Plan) -> Sequence[str]:
    """The plan in a few lines."""
    running = len(plan.selected) - len(plan.finished)
    stages = plan.stages
    whole = {stage.hash for planned in plan.selected for stage in planned.stages}
    uses = sum(len(planned.stages) for planned in plan.selected)
    lines = [
        f"{count(len(plan.selected), 'cell')}, {len(plan.finished):,} finished, {running:,} to run",
        f"{count(len(whole), 'stage')} ({uses - len(whole):,} shared), {len(stages):,} to run, "
        f"{count(plan.steps, 'optimizer step')}",
    ]
    if len(plan.selected) < len(graph.cells):
        lines.append(f"selected from {count(len(graph.cells), 'cell')} by --only")
    return lines
