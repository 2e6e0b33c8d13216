"""Jobs from a pipe, one after another, and what there is to report of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

from harness.errors import HarnessError, StorageError
from harness.executors.as_planned import require_as_planned
from harness.executors.completion import Completion, recorded_failure
from harness.executors.worker_settings import WorkerSettings
from harness.registry.plugins import load
from harness.results import mask_pictures
from harness.results.record import describe_failure, evaluated
from harness.results.run_log import RunLog, chosen
from harness.results.store import ResultStore
from harness.stages.graph import PlannedCell, Stage
from harness.stages.runner import StageRunner
from harness.stages.series import Series
from harness.stages.store import StageStore
from harness.stages.training_run import Interrupted
from harness.storage.atomic_files import no_room
from harness.storage.leases import Lease, Leases
from harness.training.distributed import Substrate
from harness.training.trainer import StepReport

REPORT_SECONDS = 0.2


def serve(pipe: Connection, stop: Any, settings: WorkerSettings) -> None:
    """Serve jobs until the pipe closes; ``stop`` (a shared bool) asks the running one to end with a checkpoint.

    Messages out: ("ready",), ("note", text), ("progress", step, loss, more); and to end a job ("done",), ("stopped",),
    ("failed", what :func:`harness.results.record.describe_failure` says), or ("fatal", text) where no other job would
    do better: a full disk, say.
    """

    def tell(*message: Any) -> None:
        with suppress(OSError):  # whoever listened has gone; ``stop`` or the next ``recv`` says so
            pipe.send(message)

    try:
        registry = load(settings.plugins)
        substrate = Substrate.detect()
        substrate.start()
        loggers = chosen(registry) if substrate.rank == 0 else []
    except HarnessError as error:
        tell("fatal", str(error))
        return
    results = ResultStore(settings.results)
    store = StageStore(results.work)
    leases = Leases(results.work / "leases")
    held: Lease | None = None
    runner = StageRunner(
        registry,
        store,
        substrate,
        checkpoint_seconds=settings.checkpoint_seconds,
        warn=lambda text: tell("note", text),
        stopping=lambda: bool(stop.value) or (held is not None and held.lost),
    )
    log = RunLog(loggers, settings.results, store, lambda text: tell("note", text))
    reported = 0.0

    def report(seen: StepReport) -> None:
        nonlocal reported
        log.update(seen.series)
        if monotonic() - reported >= REPORT_SECONDS or seen.step == seen.steps:
            reported = monotonic()
            more = {"lr": seen.lr, "validation": seen.validation, "density": seen.density}
            tell("progress", seen.step, seen.loss, more)

    waits = False

    def waiting() -> None:
        nonlocal waits
        if stop.value:
            raise Interrupted
        if not waits:
            waits = True
            tell("note", "another harness process works on this stage; waiting for it")

    def train(stage: Stage) -> None:
        if settings.attempts is not None and store.begin(stage.hash) > settings.attempts:
            raise HarnessError(
                f"begun {settings.attempts} times, and its jobs were lost each time before it got further than "
                f"{store.reached(stage.hash) or 'its beginning'}: look at harness logs, then run the suite again"
            )
        require_as_planned(stage.cell, registry, scored=False)
        with log.training(stage):
            runner.run(stage, report)

    def evaluate(planned: PlannedCell) -> Mapping[str, Any] | None:
        """Evaluate and record; the failure that is on record already, if somebody else was here while we waited."""
        known = results.read(planned.cell.suite, planned.id)
        completion = Completion.of_record(known)
        if known is not None and completion.settled:
            return recorded_failure(known) if completion is Completion.DIVERGED else None
        require_as_planned(planned.cell, registry, scored=True)
        suite, last = planned.cell.suite, planned.stages[-1].hash
        found = evaluated(planned, runner, registry, substrate.device)
        record = found.record
        told = planned.cell.trial is None  # of a trial nothing is asked but its validation score
        if told:
            files = {
                "samples": results.write_samples(suite, planned.id, found.samples),
                "examples": results.write_examples(suite, planned.id, found.examples),
            }
            record = record.model_copy(update=files)
        series = {"cell": planned.id, **store.series(last)}
        results.write_series(suite, planned.id, Series.model_validate(series, strict=False))
        if found.masks is not None and told:
            path = results.file(suite, "masks", last).path
            mask_pictures.write(path, found.masks, found.connections, found.history, found.attention)
        results.write(record)
        log.evaluated(planned, record)
        return None

    def work_on(work: Stage | PlannedCell) -> Mapping[str, Any] | None:
        """Hold the work's name while it is done; where several processes share it, the first one holds it for all."""
        nonlocal held
        if substrate.rank:
            if isinstance(work, Stage):
                runner.run(work, report)
            return None
        while True:
            with leases.hold(work.hash if isinstance(work, Stage) else work.id, waiting) as held:
                try:
                    if not isinstance(work, Stage):
                        return evaluate(work)
                    train(work)
                    return None
                except Interrupted:
                    if stop.value or not held.lost:
                        raise
                    tell("note", "this process stood still for so long that another one took over; waiting for it")

    tell("ready")
    while True:
        try:
            work = pipe.recv()
        except (EOFError, OSError):
            return
        waits, reported = False, 0.0
        try:
            failure = work_on(work)
            tell("done") if failure is None else tell("failed", failure)
        except Interrupted:
            tell("stopped")
        except StorageError as error:
            tell("fatal", str(error))
        except OSError as error:  # of a plugin: where a disk is full, no other job would do better
            full = no_room(error)
            tell("failed", describe_failure(error)) if full is None else tell("fatal", str(full))
        except BaseException as error:  # whatever a plugin raises ends this job and no other
            tell("failed", describe_failure(error))
