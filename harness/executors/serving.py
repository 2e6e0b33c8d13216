"""Jobs from a pipe, one after another, and what there is to report of them."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, nullcontext, suppress
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
from harness.stages.together import run_together
from harness.stages.training_run import Interrupted, Report
from harness.storage.atomic_files import no_room
from harness.storage.leases import Lease, Leases
from harness.training.distributed import Substrate
from harness.training.trainer import StepReport, Trainer

REPORT_SECONDS = 0.2
STOOD_STILL = "this process stood still for so long that another one took over; waiting for it"


def serve(pipe: Connection, stop: Any, settings: WorkerSettings) -> None:
    """Serve jobs until the pipe closes; ``stop`` (a shared bool) asks the running ones to end with a checkpoint.

    In comes a list: one job, or stages that may take their steps together. Messages out, with the name of a job or "":
    ("ready", ""), ("note", name, text), ("progress", name, step, loss, more); and to end a job ("done", name),
    ("stopped", name), ("failed", name, what :func:`harness.results.record.describe_failure` says), or
    ("fatal", name, text) where no other job would do better: a full disk, say.
    """
    name = ""

    def tell(kind: str, *message: Any) -> None:
        with suppress(OSError):  # whoever listened has gone; ``stop`` or the next ``recv`` says so
            pipe.send((kind, name, *message))

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
    held: list[Lease] = []
    runner = StageRunner(
        registry,
        store,
        substrate,
        checkpoint_seconds=settings.checkpoint_seconds,
        warn=lambda text: tell("note", text),
        stopping=lambda: bool(stop.value) or any(lease.lost for lease in held),
    )
    log = RunLog(loggers, settings.results, store, lambda text: tell("note", text))
    reported: dict[str, float] = {}

    def reporting(stage: Stage, live: bool) -> Report:
        """What is told of a stage while it trains; loggers see one at a time, so several of them only at their ends."""

        def report(seen: StepReport) -> None:
            if live:
                log.update(seen.series)
            if monotonic() - reported.get(stage.hash, 0.0) >= REPORT_SECONDS or seen.step == seen.steps:
                reported[stage.hash] = monotonic()
                more = {"lr": seen.lr, "validation": seen.validation, "density": seen.density}
                tell("progress", seen.step, seen.loss, more)

        return report

    waits = False

    def waiting() -> None:
        nonlocal waits
        if stop.value:
            raise Interrupted
        if not waits:
            waits = True
            tell("note", "another harness process works on this stage; waiting for it")

    def legs(stage: Stage, live: bool) -> Generator[Trainer]:
        nonlocal name
        name = stage.hash
        if settings.attempts is not None and store.begin(stage.hash) > settings.attempts:
            raise HarnessError(
                f"begun {settings.attempts} times, and its jobs were lost each time before it got further than "
                f"{store.reached(stage.hash) or 'its beginning'}: look at harness logs, then run the suite again"
            )
        require_as_planned(stage.cell, registry, scored=False)
        with log.training(stage) if live else nullcontext():
            for trainer in runner.legs(stage, reporting(stage, live)):
                yield trainer
                name = stage.hash
        if not live:
            with log.training(stage):
                pass

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
            masks = mask_pictures.packed(found.masks, found.connections, found.history, found.attention)
            record = record.model_copy(update={"masks": results.write_masks(suite, last, masks)})
        results.write(record)
        log.evaluated(planned, record)
        return None

    def work_on(work: Stage | PlannedCell) -> Mapping[str, Any] | None:
        """Hold the work's name while it is done; where several processes share it, the first one holds it for all."""
        if substrate.rank:
            if isinstance(work, Stage):
                runner.run(work, reporting(work, live=True))
            return None
        while True:
            with leases.hold(name, waiting) as lease:
                held[:] = [lease]
                try:
                    if not isinstance(work, Stage):
                        return evaluate(work)
                    for trainer in legs(work, live=True):
                        trainer.advance()
                    return None
                except Interrupted:
                    if stop.value or not lease.lost:
                        raise
                    tell("note", STOOD_STILL)
                finally:
                    held.clear()

    def train(left: dict[str, Stage]) -> None:
        """Several stages, by name, in the order in which every process holds names; what has ended is dropped."""
        nonlocal name

        def ended(which: str, error: BaseException | None) -> None:
            nonlocal name
            name = which
            if not isinstance(error, Interrupted) or stop.value:  # else a lease is lost
                del left[which]
                conclude(error)

        def note(which: str, text: str) -> None:
            nonlocal name
            name = which
            tell("note", text)

        while left:
            with ExitStack() as stack:
                for name in left:
                    held.append(stack.enter_context(leases.hold(name, waiting)))
                run_together({which: legs(stage, live=False) for which, stage in left.items()}, ended, note)
                held.clear()
            if left:
                tell("note", STOOD_STILL)

    def conclude(error: BaseException | None) -> None:
        """Tell how a job has ended."""
        if error is None:
            tell("done")
        elif isinstance(error, Interrupted):
            tell("stopped")
        elif isinstance(error, StorageError):
            tell("fatal", str(error))
        elif isinstance(error, OSError) and (full := no_room(error)) is not None:
            tell("fatal", str(full))  # of a plugin: where a disk is full, no other job would do better
        else:
            tell("failed", describe_failure(error))

    tell("ready")
    while True:
        try:
            works: list[Stage | PlannedCell] = pipe.recv()
        except (EOFError, OSError):
            return
        waits = False
        reported.clear()
        left = {work.hash: work for work in works if isinstance(work, Stage)} if len(works) > 1 else {}
        left = dict(sorted(left.items()))
        try:
            if left:
                train(left)
                continue
            (work,) = works
            name = work.hash if isinstance(work, Stage) else work.id
            failure = work_on(work)
            tell("done") if failure is None else tell("failed", failure)
        except BaseException as error:  # whatever a plugin raises ends this job and no other
            held.clear()
            for which in list(left) or [name]:
                name = which
                conclude(error)
