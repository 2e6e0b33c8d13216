"""Runs jobs in worker processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from harness.executors.base import Executor, Job, Outcome, View
from harness.executors.worker import WorkerSettings, main

DEATHS = 2
"""A job whose worker died this many times is given up."""


class LocalExecutor(Executor):
    """A pool of worker processes that each run one job at a time.

    Args:
        results: the results folder.
        workers: number of processes; with GPUs, worker i uses GPU i modulo their number.
        gpus: number of visible GPUs, 0 for CPU workers.
        plugins: single-file plugins for the workers to load.
        checkpoint_seconds: time between checkpoints of a running stage.
    """

    def __init__(
        self, results: Path, workers: int, gpus: int = 0, plugins: Sequence[Path] = (), checkpoint_seconds: float = 300
    ) -> None:
        self._results = results
        self._workers = workers
        self._gpus = gpus
        self._plugins = tuple(plugins)
        self._checkpoint_seconds = checkpoint_seconds

    def run(self, jobs: Sequence[Job], view: View, max_failures: int | None = None) -> Outcome:
        """Run all jobs. On Ctrl-C the running stages write a checkpoint, then the call returns."""
        pool = _Pool(self, min(self._workers, len(jobs)))
        try:
            return _Schedule(jobs, view, max_failures).run(pool)
        finally:
            pool.close()

    def settings(self, index: int) -> WorkerSettings:
        """Settings of worker ``index``."""
        environment = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = visible_gpu(index % self._gpus)
        return WorkerSettings(self._results, self._plugins, environment, self._checkpoint_seconds)


def visible_gpu(index: int) -> str:
    """Name of the ``index``-th visible GPU, respecting ``CUDA_VISIBLE_DEVICES`` if it is set."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return listed.split(",")[index] if listed else str(index)


class _Pool:
    """The worker processes; a dead one is replaced."""

    def __init__(self, executor: LocalExecutor, size: int) -> None:
        self._executor = executor
        self._context = multiprocessing.get_context("spawn")
        self.stop = self._context.Event()
        self.pipes: dict[Connection, tuple[int, Any]] = {}
        for index in range(size):
            self.start(index)

    def start(self, index: int) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=main, args=(theirs, self.stop, self._executor.settings(index)), daemon=True, name=f"worker-{index}"
        )
        process.start()
        theirs.close()
        self.pipes[ours] = (index, process)
        return ours

    def replace(self, pipe: Connection) -> Connection:
        index, process = self.pipes.pop(pipe)
        pipe.close()
        process.join(5)
        return self.start(index)

    def exit_code(self, pipe: Connection) -> int | None:
        process = self.pipes[pipe][1]
        process.join(5)
        code: int | None = process.exitcode
        return code

    def close(self) -> None:
        self.stop.set()
        for pipe, (_, process) in self.pipes.items():
            pipe.close()
            process.join(20)
            if process.is_alive():
                process.kill()


class _Schedule:
    """Which job runs when: what is ready, longest remaining chain first."""

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
        self._deaths: dict[str, int] = {}
        self._running: dict[Connection, Job] = {}
        self._outcome = Outcome()
        self._own_failures = 0

    def run(self, pool: _Pool) -> Outcome:
        idle: list[Connection] = []
        try:
            while self._waiting or self._running:
                self._assign(idle)
                if not self._running and (pool.stop.is_set() or self._enough_failures()):
                    break
                for pipe in wait(list(pool.pipes)):
                    assert isinstance(pipe, Connection)
                    self._receive(pool, pipe, idle)
        except KeyboardInterrupt:
            self._outcome.interrupted = True
            pool.stop.set()
            self._view.note("stopping: running stages write a checkpoint")
            self._drain(pool)
        return self._outcome

    def _assign(self, idle: list[Connection]) -> None:
        while idle and not self._enough_failures():
            ready = [name for name, needs in self._waiting.items() if not needs]
            if not ready:
                return
            job = self._jobs[max(ready, key=lambda name: self._chain[name])]
            del self._waiting[job.id]
            pipe = idle.pop()
            pipe.send((job.id, job.work))
            self._running[pipe] = job
            self._view.started(job)

    def _receive(self, pool: _Pool, pipe: Connection, idle: list[Connection]) -> None:
        try:
            kind, _, *rest = pipe.recv()
        except (EOFError, ConnectionResetError):
            self._died(pool, pipe)
            return
        job = self._running.get(pipe)
        if kind == "ready":
            idle.append(pipe)
        elif kind == "note":
            self._view.note(f"{job.label if job else 'worker'}: {rest[0]}")
        elif job is not None and kind == "progress":
            self._view.progress(job, *rest)
        elif job is not None:
            del self._running[pipe]
            idle.append(pipe)
            if kind == "done":
                self._done(job)
            elif kind == "failed":
                self._own_failures += 1
                self._fail(job, rest[0])

    def _done(self, job: Job) -> None:
        for name in self._dependents[job.id]:
            if name in self._waiting:
                self._waiting[name].discard(job.id)
        self._view.finished(job)

    def _fail(self, job: Job, failure: Mapping[str, Any]) -> None:
        self._outcome.failures[job.id] = failure
        self._view.failed(job, failure)
        for name in self._dependents[job.id]:
            if name in self._waiting:
                del self._waiting[name]
                cause = failure.get("cause", f"{job.label} ({failure['message']})")
                blocked = {**failure, "type": failure["type"], "message": f"blocked by {cause}", "cause": cause}
                if not isinstance(self._jobs[name].work, type(job.work)):
                    blocked["message"] = failure["message"]
                self._fail(self._jobs[name], blocked)

    def _died(self, pool: _Pool, pipe: Connection) -> None:
        code = pool.exit_code(pipe)
        job = self._running.pop(pipe, None)
        pool.replace(pipe)
        if job is None:
            self._deaths[""] = self._deaths.get("", 0) + 1
            if self._deaths[""] > 2 * len(pool.pipes):
                raise RuntimeError(f"worker processes die at start (exit code {code}); see the messages above")
            return
        self._deaths[job.id] = self._deaths.get(job.id, 0) + 1
        reason = f"its worker process died with exit code {code}" + (
            " (killed: perhaps out of memory)" if code == -9 else ""
        )
        if self._deaths[job.id] < DEATHS:
            self._view.note(f"{job.label}: {reason}; trying again from its last checkpoint")
            self._waiting[job.id] = set()
        else:
            self._own_failures += 1
            self._fail(job, {"type": "WorkerDied", "message": reason, "traceback": "", "step": None})

    def _drain(self, pool: _Pool) -> None:
        """After Ctrl-C: wait until every running job has stopped."""
        while self._running:
            for pipe in wait(list(self._running), timeout=60):
                assert isinstance(pipe, Connection)
                try:
                    kind, *_ = pipe.recv()
                except (EOFError, ConnectionResetError):
                    kind = "stopped"
                if kind in ("done", "failed", "stopped"):
                    del self._running[pipe]

    def _enough_failures(self) -> bool:
        return self._max_failures is not None and self._own_failures >= self._max_failures

    def _remaining_chains(self) -> dict[str, int]:
        """Per job the steps of the longest chain that begins with it."""
        chain: dict[str, int] = {}
        for name in reversed(list(self._jobs)):
            after = max((chain.get(d, 0) for d in self._dependents[name]), default=0)
            chain[name] = self._jobs[name].steps + 1 + after
        return chain
