"""Is it done? The one answer for planning, workers, clusters and whoever watches them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from harness.results.cell_record import CellRecord
from harness.results.store import ResultStore

if TYPE_CHECKING:
    from harness.stages.graph import PlannedCell, Stage
    from harness.stages.store import StageStore


class Completion(StrEnum):
    """How far a stage or a cell is, whatever may run of it now; the value is the word for people.

    ``DIVERGED`` would only happen again: it counts as a failure, and only ``--force`` runs it again. ``FAILED`` is
    tried again by the next run.
    """

    TO_DO = "to do"
    DONE = "done"
    DIVERGED = "diverged"
    FAILED = "failed"

    @property
    def settled(self) -> bool:
        """Whether there is nothing to run, unless by force."""
        return self in (Completion.DONE, Completion.DIVERGED)

    @classmethod
    def of_record(cls, record: CellRecord | None) -> Completion:
        """Of the cell whose record this is, None if it has none that can be read."""
        if record is None:
            return cls.TO_DO
        return cls(record.status)

    @classmethod
    def of(cls, work: Stage | PlannedCell, results: ResultStore, stages: StageStore) -> Completion:
        """Of a stage, which is done or to do, or of a cell."""
        from harness.stages.graph import Stage  # late: it takes torch, which who reads results may not have

        if isinstance(work, Stage):
            return cls.TO_DO if stages.manifest(work.hash) is None else cls.DONE
        return cls.of_record(results.read(work.cell.suite, work.id))


def recorded_failure(record: CellRecord) -> Mapping[str, Any]:
    """What the record of a cell that failed or diverged says about it."""
    if record.failure is None:
        return {"type": "Unknown", "message": record.status, "traceback": "", "step": None}
    told = record.failure.model_dump()
    if told["cause"] is None:  # who has one follows from another failure
        del told["cause"]
    return told | {"message": told["message"] or record.status}
