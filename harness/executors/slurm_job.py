"""What runs in a SLURM job: a batch of stages and evaluations, in worker processes of that job."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.executors.submissions import Submissions
from harness.machine import gpus
from harness.storage.leases import slurm_job

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

    from harness.executors.base import Job
    from harness.executors.local import LocalExecutor
    from harness.executors.progress import Progress
    from harness.registry.plugins import Registry

BEAT = 5.0
"""Seconds between two writings of the progress file."""
SAY = 60.0
"""Seconds between two lines about a stage in the log."""


@dataclass(slots=True)
class SlurmJob:
    """A batch; submitit calls it in the job, and asks it for a checkpoint when the job has to end early.

    Attributes:
        results: the results folder, as all nodes see it.
        suite: its name.
        plugins: single-file plugins to load.
        batch: the pickled jobs: they can be read only when their plugins have been loaded.
        processes: how many processes train a cell together; this is called in each of them.
        workers: how many cells run side by side.
        checkpoint_seconds: time between checkpoints.
        attempts: times that a stage may be begun without getting further.
        signal_seconds: how long before its end the job is warned.
    """

    results: Path
    suite: str
    plugins: tuple[Path, ...]
    batch: bytes
    processes: int
    workers: int
    checkpoint_seconds: float
    attempts: int
    signal_seconds: int
    _executor: LocalExecutor | None = field(default=None, init=False, repr=False)

    @classmethod
    def pack(cls, jobs: Sequence[Job], **settings: Any) -> SlurmJob:
        """With the jobs in the form in which they travel."""
        return cls(batch=pickle.dumps(list(jobs)), **settings)

    def __call__(self) -> None:
        """Do what is left of the batch.

        Exits with 1 if nothing of it could be done, so that what depends on it does not start.
        """
        from harness.executors.local import LocalExecutor
        from harness.registry.plugins import load

        if self.processes > 1:
            from submitit.helpers import TorchDistributedEnvironment

            TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        registry = load(self.plugins)
        jobs: list[Job] = pickle.loads(self.batch)  # noqa: S301 (our own, written by whoever handed in the job)
        rank = int(os.environ.get("SLURM_PROCID", "0")) if self.processes > 1 else None
        view = JobView(self.results, self.suite, registry, rank)
        todo = view.ready(jobs)
        self._executor = LocalExecutor(
            self.results,
            self.workers,
            gpus=gpus() if self.processes == 1 else 0,
            plugins=self.plugins,
            checkpoint_seconds=self.checkpoint_seconds,
            attempts=self.attempts,
            patient=True,
            forks=False,  # SLURM adds up what processes share, so that jobs would need more than they ask for
        )
        if todo:
            outcome = self._executor.run(todo, view, max_failures=1 if self.processes > 1 else None)
            if outcome.interrupted:
                view.say("stopped by a signal; checkpoints are written")
                _await_end(self.signal_seconds)
                sys.exit(1)
            if self.processes > 1 and outcome.failures:
                sys.exit(1)  # srun then ends the others, which may wait for this one
        view.ended()
        if view.useless:
            sys.exit(1)

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit in a signal handler: end with checkpoints, then begin again in the requeued job."""
        from submitit.helpers import DelayedSubmission

        if self._executor is not None:
            self._executor.stop(0.8 * self.signal_seconds)
        self._executor = None
        return DelayedSubmission(self)


class JobView:
    """Reports to files what the job does; see :class:`harness.executors.base.View`.

    Of several processes that train together the first reports, and of failures the one that fails first: the others
    lose their peer then, which says nothing. ``rank`` is the process's number among them; None where it is alone.
    """

    def __init__(self, results: Path, suite: str, registry: Registry, rank: int | None) -> None:
        from harness.results.store import ResultStore
        from harness.stages.store import StageStore

        self._results = ResultStore(results)
        self._stages = StageStore(self._results.work)
        self._submissions = Submissions(self._results.work, suite)
        self._registry = registry
        self._first, self._alone = not rank, rank is None
        self._slurm = slurm_job() or "none"
        self._running: dict[str, Progress] = {}
        self._said: dict[str, float] = {}
        self._beaten = 0.0
        self._done = 0
        self._bad = 0

    def ready(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that are not done yet, and that can be done.

        What waits for something that failed elsewhere has failed too; what waits for something that was never
        made is left for a later run.
        """
        from harness.executors.base import Job as Ready
        from harness.executors.completion import Completion

        todo: list[Job] = []
        here = {job.id for job in jobs}
        left: set[str] = set()
        for job in jobs:
            if Completion.of(job.work, self._results, self._stages).settled:
                self._done += 1
                continue
            missing = tuple(need for need in job.needs if self._stages.manifest(need) is None)
            outside = [need for need in missing if need not in here or need in left]
            if not outside:
                todo.append(Ready(job.id, job.work, missing, job.pack if self._alone else None))
                continue
            left.add(job.id)
            cause = self._submissions.failure(outside[0])
            if cause is None:
                self._bad += 1
                self.say(f"{job.label}: what it needs has not been made (stage {outside[0]}); left for a later run")
            else:
                self.failed(job, blocked(cause))
        return todo

    @property
    def useless(self) -> bool:
        """Whether nothing of the batch is done."""
        return self._bad > 0 and self._done == 0

    def started(self, job: Job) -> None:
        """A job has begun."""
        from harness.executors.progress import Progress

        self._running[job.id] = Progress(job)
        self.say(f"begins: {job.label} ({job.id})")
        self._beat(now=True)

    def progress(self, job: Job, step: int, loss: float, more: Mapping[str, Any]) -> None:
        """A job has done ``step`` of its steps."""
        self._running[job.id].seen(step, loss, more)
        if time.monotonic() - self._said.get(job.id, -SAY) >= SAY:
            self._said[job.id] = time.monotonic()
            self.say(f"{job.label}: step {step:,} of {job.steps:,}, loss {loss:.4f}")
        self._beat()

    def finished(self, job: Job) -> None:
        """A job is done."""
        self._done += 1
        self._running.pop(job.id, None)
        self.say(f"done: {job.label} ({job.id})")
        self._beat(now=True)

    def failed(self, job: Job, failure: Mapping[str, Any]) -> None:
        """A job has failed, or cannot run because one that it needs has."""
        from harness.results.record import failed
        from harness.stages.graph import PlannedCell

        self._bad += 1
        self._running.pop(job.id, None)
        told = None if self._alone else self._submissions.failure(job.id)
        failure = told or {"label": job.label, **failure}
        text = f"failed: {job.label} ({job.id}): {failure['message']}\n{failure.get('traceback') or ''}".rstrip()
        self.say(text, told is None)
        if told is None:
            self._submissions.fail(job.id, failure)
        if isinstance(job.work, PlannedCell):
            failure.pop("label", None)
            self._results.write(failed(job.work, self._registry, failure))
        self._beat(now=True)

    def note(self, text: str) -> None:
        """One line that the user should see."""
        self.say(text)

    def ended(self) -> None:
        """The batch has come to its end."""
        self._beat(now=True, ended=True)

    def say(self, text: str, of_all: bool = False) -> None:
        """A line in the job's log; also of a process that is not the first if ``of_all``."""
        if self._first or of_all:
            print(time.strftime("%Y-%m-%d %H:%M:%S"), text, flush=True)  # noqa: T201

    def _beat(self, now: bool = False, ended: bool = False) -> None:
        from harness.errors import StorageError

        if not self._first or not (now or time.monotonic() - self._beaten >= BEAT):
            return
        self._beaten = time.monotonic()
        with suppress(StorageError):  # a disk that is full does not end a job here
            self._submissions.write_progress(
                self._slurm,
                {
                    "host": socket.gethostname(),
                    "time": time.time(),
                    "restarts": int(os.environ.get("SLURM_RESTART_COUNT", "0")),
                    "jobs": [progress.row() for progress in self._running.values()],
                    "ended": ended,
                },
            )


def blocked(failure: Mapping[str, Any], same_cell: bool = False) -> dict[str, Any]:
    """The failure of what cannot be done because of another failure; of the ``same_cell`` it is the same."""
    by = failure.get("cause") or f"{failure.get('label')} ({failure['message']})"
    message = failure["message"] if same_cell else f"blocked by {by}"
    return {**failure, "message": message, "cause": by}


def _await_end(seconds: float) -> None:
    """Stay until SLURM ends the job, unless it is being cancelled already.

    After SIGTERM comes either the end (``scancel``, ``scontrol requeue``), or, when the job is preempted, submitit's
    signal to requeue: a job that left by itself would not be started again.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = subprocess.run(
            ["scontrol", "show", "job", os.environ["SLURM_JOB_ID"]], capture_output=True, text=True, check=False
        ).stdout
        if "JobState=RUNNING" not in state:
            return
        time.sleep(1)
