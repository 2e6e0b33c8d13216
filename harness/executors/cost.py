"""About what a plan takes: operations, seconds, bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.stages.graph import PlannedCell

if TYPE_CHECKING:
    import torch

    from harness.executors.planning import Plan
    from harness.results.store import ResultStore
    from harness.suites.suite import Suite

START_SECONDS = 4.0
"""Of a run before its first job and after its last one: imports, workers, tables."""
REFERENCE = ("an A100", 312e12, 0.4)
"""A GPU, its bf16 operations per second, and the share of them that training a language model reaches."""


@dataclass(frozen=True, slots=True)
class Cost:
    """About what a plan takes: training tokens and operations, seconds of one worker per stage, bytes.

    ``tokens`` counts examples where data are no text. ``disk_bytes`` is for the stages that are kept,
    ``checkpoint_bytes`` for the checkpoints of one that runs. ``memory`` is what one training of an architecture takes
    at least, by label, beside its process and its data; an architecture of which that is not known is left out.
    ``cell_seconds`` are those of one worker for the evaluation of each cell, by id. ``longest`` are those of the jobs
    that must run one after another. ``basis`` says where seconds come from, and ``guessed`` that they mean nothing yet.
    """

    tokens: int
    flops: float
    stage_seconds: Mapping[str, float]
    disk_bytes: float
    basis: str
    checkpoint_bytes: float = 0.0
    memory: Mapping[str, int] = field(default_factory=dict)
    cell_seconds: Mapping[str, float] = field(default_factory=dict)
    longest: float = 0.0
    guessed: bool = False

    @property
    def memory_bytes(self) -> int:
        """Of the largest network."""
        return max(self.memory.values(), default=0)

    @property
    def gpu_hours(self) -> float:
        """Hours of one GPU of the reference kind, at the efficiency that large networks reach."""
        return self.flops / (REFERENCE[1] * REFERENCE[2]) / 3600

    @property
    def job_seconds(self) -> Mapping[str, float]:
        """Seconds of one worker, by job."""
        return {**self.stage_seconds, **self.cell_seconds}

    def seconds(self, workers: int) -> float:
        """Seconds until so many workers have done everything."""
        return START_SECONDS + max(self.longest, sum(self.job_seconds.values()) / workers)


def estimate(plan: Plan, suite: Suite, results: ResultStore, device: torch.device | None, timed: bool = False) -> Cost:
    """About what a plan takes; arguments as those of :class:`harness.executors.step_times.StepTimes`."""
    from harness.executors.footprint import COPIES
    from harness.executors.step_times import StepTimes

    times = StepTimes(plan, suite, results, device, timed)
    flops = disk = checkpoint = 0.0
    memory: dict[str, int] = {}
    tokens = 0
    for stage in plan.stages:
        size, label = times.size(stage), stage.cell.architecture
        tokens += stage.steps * size.batch * size.tokens
        flops += size.step * stage.steps
        disk += 4.0 * size.parameters
        # Two checkpoints are kept while the next one is written; gradients are in none.
        checkpoint = max(checkpoint, 3 * (COPIES[stage.cell.training.optimizer] - 1) * 4.0 * size.parameters)
        if size.training_bytes is not None:
            memory[label] = max(size.training_bytes, memory.get(label, 0))
    stages = {stage.hash: times.stage_seconds(stage) for stage in plan.stages}
    cells = {job.id: times.cell_seconds(job.work) for job in plan.jobs if isinstance(job.work, PlannedCell)}
    chains: dict[str, float] = {}
    for job in plan.jobs:  # each after those that it needs
        before = max((chains[name] for name in job.needs), default=0.0)
        chains[job.id] = before + stages.get(job.id, 0.0) + cells.get(job.id, 0.0)
    longest = max(chains.values(), default=0.0)
    return Cost(tokens, flops, stages, disk, times.basis, checkpoint, memory, cells, longest, times.guessed)
