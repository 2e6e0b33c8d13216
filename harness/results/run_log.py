"""What a worker tells loggers: the curves of stages while they train, the scores of cells."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.core.logger import Logged, Logger
from harness.formatting import printable
from harness.results.record_parts import TrainingCost

if TYPE_CHECKING:
    from harness.core.phases import Phase
    from harness.registry.plugins import Registry
    from harness.results.cell_record import CellRecord
    from harness.stages.graph import PlannedCell, Stage
    from harness.stages.store import StageStore
    from harness.suites.cell import Cell

VARIABLE = "HARNESS_LOG"
"""Names of loggers, separated by commas: how workers and SLURM jobs learn of them."""


def choose(names: Sequence[str], registry: Registry) -> None:
    """Check the loggers of these names (none: those of ``$HARNESS_LOG``) and tell the workers to come.

    Raises:
        UserError: if a logger is unknown, or cannot work on this machine.
    """
    if names:
        os.environ[VARIABLE] = ",".join(names)
    for logger in chosen(registry):
        logger.check()


def chosen(registry: Registry) -> list[Logger]:
    """The loggers of ``$HARNESS_LOG``.

    Raises:
        UserError: if one is unknown.
    """
    names = dict.fromkeys(name.strip() for name in os.environ.get(VARIABLE, "").split(","))
    return [registry.get("logger", name)() for name in names if name]


class RunLog:
    """Logs what a worker does; where there are no loggers, every call returns at once.

    The numbers are those of the results' series and record, no more and no fewer, so that whatever was not logged
    when it happened is made up for from the checkpoint.

    Args:
        loggers: where to.
        results: the results folder.
        store: where the curves of finished stages are.
        warn: called with one line where a logger fails.
    """

    def __init__(
        self, loggers: Sequence[Logger], results: Path, store: StageStore, warn: Callable[[str], None]
    ) -> None:
        self._loggers = loggers
        self._results = results
        self._store = store
        self._warn = warn
        self._open: list[Logger] = []
        self._stage: Stage | None = None
        self._before = 0
        self._seen: dict[str, int] | None = None

    @contextmanager
    def training(self, stage: Stage) -> Iterator[None]:
        """Around a stage: the first :meth:`update` opens a run, the end closes it."""
        if not self._loggers:
            yield
            return
        self._stage, self._seen = stage, None
        try:
            yield
            self.update(self._store.series(stage.hash))
        finally:
            self._close()

    def update(self, series: Mapping[str, Any]) -> None:
        """Log what is new in the curves of the stage."""
        if self._stage is None:
            return
        if self._seen is None:
            self._seen = self._begin(self._stage, series)
        rows: list[tuple[int, int, dict[str, float]]] = []
        for curve, values in CURVES.items():
            new = series.get(curve, [])[self._seen[curve] :]
            rows += [(row[0], row[1], values(row)) for row in new]
            self._seen[curve] += len(new)
        for phase, step, found in sorted(rows, key=lambda row: row[:2]):
            if found:
                self._scalars(self._before + step, {**found, "progress/phase": phase, "progress/phase_step": step})

    def evaluated(self, planned: PlannedCell, record: CellRecord) -> None:
        """Log the scores of a cell, as a run of its own at the program's last step."""
        if not self._loggers:
            return
        phases = [phase for stage in planned.stages for phase in stage.phases]
        config = {**_config(planned.cell, phases), "stages": [stage.hash for stage in planned.stages]}
        self._start("cell", planned.cell, planned.id, planned.id, config, planned.steps)
        self._scalars(planned.steps, _scores(record))
        self._close()

    def _begin(self, stage: Stage, series: Mapping[str, Any]) -> dict[str, int]:
        """Open a run; per curve the number of rows that belong to what was before."""
        before, parent = 0, stage.parent
        while parent is not None:
            before, parent = before + parent.steps, parent.parent
        self._before = before
        cell = stage.cell
        parts = [cell.experiment, cell.architecture, cell.training_part.label, cell.method]
        parts += [f"d{cell.density:g}"] if cell.density is not None else []
        parts += [f"s{cell.seed}", *([f"phase{stage.offset}"] if stage.parent else []), stage.hash[:10]]
        config = {**_config(cell, stage.phases), "stage": stage.hash}
        self._start("stage", cell, ".".join(parts), stage.hash, config, before)
        return {curve: sum(row[0] < stage.offset for row in series.get(curve, [])) for curve in CURVES}

    def _start(
        self, kind: Literal["stage", "cell"], cell: Cell, name: str, identity: str, config: dict[str, Any], first: int
    ) -> None:
        run = Logged(kind, cell.suite, name, identity, self._results / cell.suite, config, first)
        self._open = list(self._loggers)
        self._each(lambda logger: logger.start(run))

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._each(lambda logger: logger.scalars(step, values))

    def _close(self) -> None:
        self._each(lambda logger: logger.finish())
        self._stage, self._open = None, []

    def _each(self, call: Callable[[Logger], None]) -> None:
        """Call every logger that has not failed yet in this run."""
        for logger in list(self._open):
            try:
                call(logger)
            except BaseException as error:  # whatever it raises ends no training
                self._open.remove(logger)
                what = printable(f"{type(error).__name__}: {error}", 300).splitlines()[0]
                self._warn(f"{type(logger).__name__} fails and is left out until the next stage or cell: {what}")


def _loss(row: Sequence[Any]) -> dict[str, float]:
    return {"train/loss": row[2], "train/lr": row[3]}


def _densities(row: Sequence[Any]) -> dict[str, float]:
    hard = {f"density/{name}": pair[0] for name, pair in row[2].items()}
    return {**hard, **{f"soft_density/{name}": pair[1] for name, pair in row[2].items() if pair[1] is not None}}


def _evaluations(row: Sequence[Any]) -> dict[str, float]:
    return {f"{row[2]}/{name}": value for name, value in row[3].items()}


CURVES = {"loss": _loss, "densities": _densities, "evaluations": _evaluations}
"""Curve of the series -> what is logged of one of its rows."""


def _scores(record: CellRecord) -> dict[str, float]:
    """Numbers of a record."""
    density, spent = record.density, record.spent or TrainingCost()
    values = {
        **{f"final/test/{name}": metric.value for name, metric in record.metrics.items()},
        **{f"final/validation/{name}": metric.value for name, metric in record.validation.items()},
        **{f"final/density/{name}": getattr(density, name) for name in ("mask", "nonzero", "total", "soft")},
        **{f"final/spent/{name}": getattr(spent, name) for name in ("seconds", "peak_memory_bytes")},
        "final/spent/training_flops": spent.flops and spent.flops.training,
    }
    return {name: float(value) for name, value in values.items() if value is not None}


def _config(cell: Cell, phases: Iterable[Phase]) -> dict[str, Any]:
    """A resolved cell as data."""
    return {
        "suite": cell.suite,
        "experiment": cell.experiment,
        "architecture": cell.architecture_part.record(),
        "method": cell.method_part.record(),
        "benchmark": cell.benchmark_part.record(),
        "trained_on": cell.training_part.record(),
        "density": cell.density,
        "scope": cell.scope_name,
        "seed": cell.seed,
        "training": cell.training.model_dump(mode="json"),
        "evaluation": cell.evaluation.model_dump(mode="json"),
        "phases": [{"type": type(phase).__name__, **asdict(phase)} for phase in phases],
    }
