"""A worker process: takes jobs from a pipe, one after another, and reports."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from typing import Any

from harness.memory import keep_freed_memory

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
    """Serve jobs until the pipe closes; ``stop`` (a shared bool) asks the running one to end with a checkpoint.

    Messages out: ("ready",), ("note", text), ("progress", step, loss); and to end a job ("done",), ("stopped",),
    ("failed", what :func:`harness.cell_record.describe_failure` says), or ("fatal", text) where no other job would
    do better: a full disk, say.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    keep_freed_memory()
    os.environ.update(settings.environment)

    from harness.cell_record import describe_failure, evaluated
    from harness.errors import HarnessError, StorageError
    from harness.plugins import load
    from harness.results import ResultStore
    from harness.stage_runner import StageRunner
    from harness.stage_store import StageStore
    from harness.stages import Stage
    from harness.substrate import Substrate
    from harness.trainer import StepReport
    from harness.training_run import Interrupted

    def tell(*message: Any) -> None:
        with suppress(OSError):  # whoever listened has gone; ``stop`` or the next ``recv`` says so
            pipe.send(message)

    try:
        registry = load(settings.plugins)
        substrate = Substrate.detect()
    except HarnessError as error:
        tell("fatal", str(error))
        return
    results = ResultStore(settings.results)
    store = StageStore(results.work)
    runner = StageRunner(
        registry,
        store,
        substrate,
        checkpoint_seconds=settings.checkpoint_seconds,
        warn=lambda text: tell("note", text),
        stopping=lambda: bool(stop.value),
    )
    reported = 0.0

    def report(seen: StepReport) -> None:
        nonlocal reported
        if monotonic() - reported >= REPORT_SECONDS or seen.step == seen.steps:
            reported = monotonic()
            tell("progress", seen.step, seen.loss)

    waits = False

    def waiting() -> None:
        nonlocal waits
        if stop.value:
            raise Interrupted
        if not waits:
            waits = True
            tell("note", "another harness process works on this stage; waiting for it")

    tell("ready")
    while True:
        try:
            work = pipe.recv()
        except (EOFError, OSError):
            return
        waits, reported = False, 0.0
        try:
            if isinstance(work, Stage):
                with store.claim(work.hash, waiting):
                    runner.run(work, report)
            else:
                record, samples = evaluated(work, runner, registry, substrate.device)
                record["samples"] = results.write_samples(work.cell.suite, work.id, samples)
                results.write_series(work.cell.suite, work.id, {"cell": work.id, **store.series(work.stages[-1].hash)})
                results.write(record)
            tell("done")
        except Interrupted:
            tell("stopped")
        except StorageError as error:
            tell("fatal", str(error))
        except Exception as error:
            tell("failed", describe_failure(error))


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, even by kill -9."""
    if sys.platform == "linux":
        death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(death_signal, signal.SIGKILL)
        parent = parent_process()
        if parent is not None and os.getppid() != parent.pid:  # it died before we asked
            os._exit(1)
