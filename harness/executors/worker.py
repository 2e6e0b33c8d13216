"""A worker process: takes jobs from a pipe, one after another, and reports."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from typing import Any

REPORT_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker needs to know before its first job.

    Attributes:
        results: the results folder.
        plugins: single-file plugins to load.
        environment: variables to set before torch is imported (which GPU, say).
        checkpoint_seconds: time between checkpoints.
    """

    results: Path
    plugins: Sequence[Path]
    environment: dict[str, str]
    checkpoint_seconds: float


def main(pipe: Connection, stop: Any, settings: WorkerSettings) -> None:
    """Serve jobs until the pipe closes. Messages out: (kind, job id, ...); see ``local.py``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    os.environ.update(settings.environment)

    from harness.cell_record import describe_failure, evaluated
    from harness.plugins import load
    from harness.results import ResultStore
    from harness.stage_runner import Interrupted, StageRunner
    from harness.stage_store import StageStore
    from harness.stages import Stage
    from harness.substrate import Substrate
    from harness.trainer import StepReport

    registry = load(settings.plugins)
    results = ResultStore(settings.results)
    store = StageStore(results.work)
    substrate = Substrate.detect()
    current: list[str] = [""]
    runner = StageRunner(
        registry,
        store,
        substrate,
        checkpoint_seconds=settings.checkpoint_seconds,
        warn=lambda text: pipe.send(("note", current[0], text)),
        stopping=stop.is_set,
    )
    pipe.send(("ready", "", str(substrate.device)))
    while True:
        try:
            job, work = pipe.recv()
        except EOFError:
            return
        current[0] = job
        last = [0.0]

        def report(seen: StepReport, job: str = job, last: list[float] = last) -> None:
            if monotonic() - last[0] >= REPORT_SECONDS or seen.step == seen.steps:
                last[0] = monotonic()
                pipe.send(("progress", job, seen.step, seen.loss))

        def waiting(job: str = job, told: list[bool] = []) -> None:  # noqa: B006 (one list per job)
            if stop.is_set():
                raise Interrupted
            if not told:
                told.append(True)
                pipe.send(("note", job, "another harness process works on this stage; waiting for it"))

        try:
            if isinstance(work, Stage):
                with store.claim(work.hash, lambda: waiting(told=[])):
                    runner.run(work, report)
            else:
                record = evaluated(work, runner, registry, substrate.device)
                results.write_series(work.cell.suite, work.id, {"cell": work.id, **store.series(work.stages[-1].hash)})
                results.write(record)
            pipe.send(("done", job))
        except Interrupted:
            pipe.send(("stopped", job))
        except Exception as error:
            pipe.send(("failed", job, describe_failure(error)))


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, even by kill -9."""
    if sys.platform == "linux":
        death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(death_signal, signal.SIGKILL)
        if os.getppid() == 1:
            os._exit(1)
