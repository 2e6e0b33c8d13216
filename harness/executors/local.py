"""Runs jobs in worker processes of this machine."""

from __future__ import annotations

import ctypes
import heapq
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import Any

from harness.errors import HarnessError
from harness.executors.base import Executor, Job, Outcome, View
from harness.executors.fork_server import starting, workers_context, workers_environment
from harness.executors.worker import main
from harness.executors.worker_settings import WorkerSettings
from harness.formatting import count

DEATHS = 2
"""A job whose worker died this many times is given up."""
LOOK_SECONDS = 0.5
"""Time between two looks whether a signal has come."""


class LocalExecutor(Executor):
    """A pool of worker processes that each run one job at a time, or one pack of them.

    Args:
        results: the results folder.
        workers: number of processes; with GPUs, worker i uses GPU i modulo their number.
        gpus: number of visible GPUs, 0 for CPU workers.
        plugins: single-file plugins for the workers to load.
        checkpoint_seconds: time between checkpoints of a running stage.
        attempts: times that a stage may be begun without getting further; None for any number.
        patient: whether a second signal is ignored, because a cluster may send several.
        forks: whether workers are forks of a server, which saves seconds and needs memory of its own.
    """

    def __init__(
        self,
        results: Path,
        workers: int,
        gpus: int = 0,
        plugins: Sequence[Path] = (),
        checkpoint_seconds: float = 300,
        attempts: int | None = None,
        patient: bool = False,
        forks: bool = True,
    ) -> None:
        self._results = results
        self._workers = workers
        self._gpus = gpus
        self._plugins = tuple(plugins)
        self._checkpoint_seconds = checkpoint_seconds
        self._attempts = attempts
        self._patient = patient
        self._forks = forks
        self._pool: _Pool | None = None

    def run(self, jobs: Sequence[Job], view: View, max_failures: int | None = None) -> Outcome:
        """Run all jobs. On Ctrl-C, SIGTERM or SIGHUP the running stages write a checkpoint, then the call returns.

        Raises:
            HarnessError: if no other job could do better (a full disk, say); what was finished is kept.
            KeyboardInterrupt: at the second Ctrl-C; nothing is waited for.
        """
        self._pool = pool = _Pool(self)
        try:
            pool.fill(min(self._workers, len(jobs)))
            with _first_signal(self._patient) as stopped:
                return _Schedule(jobs, view, max_failures).run(pool, stopped)
        except KeyboardInterrupt:
            pool.kill()
            raise
        finally:
            pool.close()

    def stop(self, seconds: float) -> None:
        """End the running stages with a checkpoint, from within a signal handler; kill what takes longer."""
        if self._pool is not None:
            self._pool.close(seconds)

    def context(self) -> ForkServerContext | SpawnContext:
        """How workers start."""
        return workers_context() if self._forks else multiprocessing.get_context("spawn")

    def settings(self, index: int) -> WorkerSettings:
        """Settings of worker ``index``."""
        environment = workers_environment()
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = visible_gpu(index % self._gpus)
        return WorkerSettings(self._results, self._plugins, environment, self._checkpoint_seconds, self._attempts)


def visible_gpu(index: int) -> str:
    """Name of the ``index``-th visible GPU, respecting ``CUDA_VISIBLE_DEVICES`` if it is set."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return listed.split(",")[index] if listed else str(index)


@contextmanager
def _first_signal(patient: bool) -> Iterator[Callable[[], bool]]:
    """Whether SIGINT, SIGTERM or SIGHUP has come; a second one raises KeyboardInterrupt, unless one is ``patient``.

    Not by an exception the first time: that could fall between receiving a message and acting on it. SIGHUP comes when
    the terminal closes; nohup ignores it, and so do we then.
    """
    came = False

    def note(number: int, frame: object) -> None:
        nonlocal came
        came = True
        signal.signal(number, signal.SIG_IGN if patient else signal.default_int_handler)

    asked = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        asked.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in asked}
    try:
        yield lambda: came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Pool:
    """The worker processes; a dead one is replaced."""

    def __init__(self, executor: LocalExecutor) -> None:
        self._executor = executor
        self._context = executor.context()
        # Not an Event: a worker that is killed within one keeps its lock for ever.
        self.stop = self._context.RawValue(ctypes.c_bool, False)
        self.pipes: dict[Connection, tuple[int, BaseProcess]] = {}

    def fill(self, size: int) -> None:
        for index in range(size):
            self.start(index)

    def start(self, index: int) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=main, args=(theirs, self.stop, self._executor.settings(index)), daemon=True, name=f"worker-{index}"
        )
        with starting():
            process.start()
            self.pipes[ours] = (index, process)  # before a signal can end this: close() must know of it
        theirs.close()
        return ours

    def replace(self, pipe: Connection) -> int | None:
        """Start another worker in place of a dead one; the dead one's exit code."""
        index, process = self.pipes.pop(pipe)
        pipe.close()
        _end(process, 5)
        self.start(index)
        return process.exitcode

    def kill(self) -> None:
        for _, process in self.pipes.values():
            process.kill()

    def close(self, seconds: float = 20) -> None:
        self.stop.value = True
        for pipe in self.pipes:
            pipe.close()
        end = monotonic() + seconds
        for _, process in self.pipes.values():
            _end(process, end - monotonic())


def _end(process: BaseProcess, seconds: float) -> None:
    """Wait for a process, kill it if it takes longer, and leave nothing of it, not even a zombie."""
    process.join(max(0.0, seconds))
    if process.is_alive():
        process.kill()
        process.join()


class _Schedule:
    """Which job runs when: of what is ready, evaluations first (a result must not wait), then the longest chain."""

    def __init__(self, jobs: Sequence[Job], view: View, max_failures: int | None) -> None:
        self._view = view
        self._max_failures = max_failures
        self._jobs = {job.id: job for job in jobs}
        self._waiting = {job.id: {n for n in job.needs if n in self._jobs} for job in jobs}
        self._dependents: dict[str, list[str]] = {job.id: [] for job in jobs}
        for name, needs in self._waiting.items():
            for need in needs:
                self._dependents[need].append(name)
        self._chain = self._remaining_chains()
        self._ready: list[tuple[bool, int, int, str]] = []
        self._order = {name: index for index, name in enumerate(self._jobs)}
        for name in [name for name, needs in self._waiting.items() if not needs]:
            self._release(name)
        self._deaths: dict[str, int] = {}
        self._running: dict[Connection, dict[str, Job]] = {}
        self._idle: set[Connection] = set()
        self._outcome = Outcome()
        self._own_failures = 0

    def run(self, pool: _Pool, stopped: Callable[[], bool]) -> Outcome:
        while self._waiting or self._ready or self._running:
            if stopped() and not self._outcome.interrupted:
                self._outcome.interrupted = True
                pool.stop.value = True
                self._view.note("stopping: running stages write a checkpoint (Ctrl-C again: stop at once)")
            self._assign(pool)
            if not self._running and self._closing():
                break
            for pipe in wait(list(pool.pipes), LOOK_SECONDS):
                assert isinstance(pipe, Connection)
                self._receive(pool, pipe)
        left = len(self._waiting) + len(self._ready)
        if left and not self._outcome.interrupted:
            self._view.note(f"stopped after {count(self._own_failures, 'failure')}; {count(left, 'job')} left")
        return self._outcome

    def _release(self, name: str) -> None:
        """Nothing is missing any more: the job may run."""
        del self._waiting[name]
        trains = self._jobs[name].steps > 0
        heapq.heappush(self._ready, (trains, -self._chain[name], self._order[name], name))

    def _assign(self, pool: _Pool) -> None:
        while self._idle and self._ready and not self._closing():
            pipe = self._idle.pop()
            jobs = self._next(len(pool.pipes) - len(self._running))
            try:
                pipe.send([job.work for job in jobs])
            except OSError:  # it has died; its end of file is still to be read
                continue
            self._running[pipe] = {job.id: job for job in jobs}
            if len(jobs) == 1:
                heapq.heappop(self._ready)
            else:
                self._ready = [entry for entry in self._ready if entry[-1] not in self._running[pipe]]
                heapq.heapify(self._ready)
            for job in jobs:
                self._view.started(job)

    def _next(self, free: int) -> list[Job]:
        """The first that is ready, with its share, for one of ``free`` workers, of those that may be packed with it.

        What was there when a worker died may have been the reason, and runs alone.
        """
        first = self._jobs[self._ready[0][-1]]
        if first.pack is None or first.id in self._deaths:
            return [first]
        alike = [job for *_, name in sorted(self._ready) if (job := self._jobs[name]).pack == first.pack]
        alike = [job for job in alike if job.id not in self._deaths]
        return alike[: min(first.work.cell.training.pack or 1, -(-len(alike) // free))]

    def _receive(self, pool: _Pool, pipe: Connection) -> None:
        try:
            kind, name, *rest = pipe.recv()
        except (EOFError, ConnectionResetError):
            self._died(pool, pipe)
            return
        running = self._running.get(pipe, {})
        job = running.get(name)
        if kind == "fatal":
            raise HarnessError(rest[0])
        if kind == "ready":
            self._idle.add(pipe)
        elif kind == "note":
            self._view.note(f"{job.label if job else 'worker'}: {rest[0]}")
        elif job is not None and kind == "progress":
            self._view.progress(job, *rest)
        elif job is not None:
            del running[name]
            if not running:
                del self._running[pipe]
                self._idle.add(pipe)
            if kind == "done":
                self._done(job)
            elif kind == "failed":
                self._own_failures += 1
                self._fail(job, rest[0])

    def _done(self, job: Job) -> None:
        for name in self._dependents[job.id]:
            if name in self._waiting:
                self._waiting[name].discard(job.id)
                if not self._waiting[name]:
                    self._release(name)
        self._view.finished(job)

    def _fail(self, job: Job, failure: Mapping[str, Any]) -> None:
        """Also fails what waits for it; ``cause`` says by whom another cell is blocked."""
        self._outcome.failures[job.id] = failure
        self._view.failed(job, failure)
        for name in self._dependents[job.id]:
            if name in self._waiting:
                del self._waiting[name]
                dependent = self._jobs[name]
                cause = failure.get("cause", f"{job.label} ({failure['message']})")
                message = failure["message"]
                if dependent.work.cell is not job.work.cell:
                    message = f"blocked by {cause}"
                self._fail(dependent, {**failure, "message": message, "cause": cause})

    def _died(self, pool: _Pool, pipe: Connection) -> None:
        self._idle.discard(pipe)
        jobs = self._running.pop(pipe, {})
        code = pool.replace(pipe)
        if not jobs:
            self._deaths[""] = self._deaths.get("", 0) + 1
            if self._deaths[""] > 2 * len(pool.pipes):
                raise HarnessError(f"worker processes end at their start (exit code {code}); see the messages above")
            return
        reason = f"its worker process died with exit code {code}"
        reason += " (killed: perhaps out of memory)" if code == -signal.SIGKILL else ""
        for name, job in jobs.items():
            self._deaths[name] = self._deaths.get(name, 0) + 1
            if self._deaths[name] < DEATHS or self._outcome.interrupted:
                self._view.note(f"{job.label}: {reason}; trying again from its last checkpoint")
                self._waiting[name] = set()
                self._release(name)
            else:
                self._own_failures += 1
                self._fail(job, {"type": "WorkerDied", "message": reason, "traceback": "", "step": None})

    def _closing(self) -> bool:
        """Whether nothing new is to be started."""
        enough = self._max_failures is not None and self._own_failures >= self._max_failures
        return enough or self._outcome.interrupted

    def _remaining_chains(self) -> dict[str, int]:
        """Per job the steps of the longest chain that begins with it."""
        chain: dict[str, int] = {}
        for name in reversed(list(self._jobs)):
            after = max((chain.get(d, 0) for d in self._dependents[name]), default=0)
            chain[name] = self._jobs[name].steps + 1 + after
        return chain
