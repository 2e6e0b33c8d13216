"""Which jobs go to a cluster together: short ones share a batch, evaluations follow their stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.executors.base import Job
from harness.stages.graph import PlannedCell, Stage
from harness.suites.slurm_options import Request

EVALUATION_SECONDS = 20.0
"""What an evaluation is expected to take; nobody knows before."""


@dataclass(slots=True, eq=False)
class Batch:
    """Jobs that one SLURM job does, in an order in which they can be done.

    Attributes:
        request: what it asks the cluster for.
        jobs: what it does.
        after: the batches that must be done before, in the order in which they were made.
        outside: SLURM's ids of jobs handed in earlier that must be done before.
        seconds: how long it is expected to take.
    """

    request: Request
    jobs: list[Job] = field(default_factory=list)
    after: tuple[Batch, ...] = ()
    outside: tuple[str, ...] = ()
    seconds: float = 0.0


def pack(
    jobs: Sequence[Job],
    request: Callable[[str, str], Request],
    seconds: Mapping[str, float],
    short: float,
    outside: Mapping[str, str],
) -> list[Batch]:
    """Batches of jobs, each after those that it needs.

    A stage that is expected to take ``short`` seconds or more has a batch of its own; shorter ones share one: with
    the batch that they all wait for, or with others that wait for the same. Long ones that may be packed share one for
    each pack. Evaluations are done where their stage is. Of stages that run side by side (``cells_per_gpu``) a batch
    takes so many more.

    Args:
        jobs: in an order in which they could run.
        request: what a job of an architecture and a method asks for.
        seconds: expected time per stage hash.
        outside: SLURM's ids of what was handed in earlier, per job id.
    """
    return _Packer(request, seconds, short, outside).pack(jobs)


class _Packer:
    """Batches only ever wait for batches that were begun before them, so that they cannot wait in a circle."""

    def __init__(
        self,
        request: Callable[[str, str], Request],
        seconds: Mapping[str, float],
        short: float,
        outside: Mapping[str, str],
    ) -> None:
        self._request = request
        self._seconds = seconds
        self._short = short
        self._outside = outside
        self._batches: list[Batch] = []
        self._of: dict[str, Batch] = {}
        self._signature: dict[int, str] = {}
        self._open: dict[tuple[str, tuple[int, ...], tuple[str, ...], str | None], Batch] = {}

    def pack(self, jobs: Sequence[Job]) -> list[Batch]:
        order = {job.id: index for index, job in enumerate(jobs)}
        requests: dict[tuple[str, str], tuple[Request, str]] = {}
        for job in jobs:
            cell = job.work.cell
            key = (cell.architecture, cell.method)
            if key not in requests:
                made = self._request(*key)
                requests[key] = (made, made.model_dump_json())
            self._place(job, *requests[key])
        for batch in self._batches:
            batch.jobs.sort(key=lambda job: order[job.id])
        return self._batches

    def _place(self, job: Job, request: Request, signature: str) -> None:
        after: dict[int, Batch] = {}
        for need in job.needs:
            if need in self._of:
                after[id(self._of[need])] = self._of[need]
        expected = self._seconds.get(job.id, 0.0) if isinstance(job.work, Stage) else EVALUATION_SECONDS
        outside = tuple(sorted({self._outside[need] for need in job.needs if need in self._outside}))
        only = next(iter(after.values())) if len(after) == 1 else None
        if only is not None and set(outside) <= set(only.outside) and self._joins(only, job, expected, signature):
            self._add(only, job, expected)
            return
        pack = job.pack if request.processes == 1 and expected >= self._short else None
        slot = (signature, tuple(after), outside, pack)
        shares = expected < self._short or pack is not None
        batch = self._open.get(slot) if shares else None
        if batch is None or not (self._room(batch) if pack is None else _place_in_pack(batch, job)):
            batch = Batch(request, after=tuple(after.values()), outside=outside)
            self._batches.append(batch)
            self._signature[id(batch)] = signature
            if shares:
                self._open[slot] = batch
        self._add(batch, job, expected)

    def _joins(self, batch: Batch, job: Job, expected: float, signature: str) -> bool:
        """Whether a job that waits only for ``batch`` becomes a part of it."""
        if isinstance(job.work, PlannedCell):
            return True
        return expected < self._short and self._room(batch) and self._signature[id(batch)] == signature

    def _room(self, batch: Batch) -> bool:
        return batch.seconds < self._short * (batch.request.cells_per_gpu or 1)

    def _add(self, batch: Batch, job: Job, expected: float) -> None:
        batch.jobs.append(job)
        batch.seconds += expected
        self._of[job.id] = batch


def _place_in_pack(batch: Batch, job: Job) -> bool:
    most = (job.work.cell.training.pack or 1) * (batch.request.cells_per_gpu or 1)
    return sum(other.pack == job.pack for other in batch.jobs) < most
