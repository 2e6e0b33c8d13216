"""Seconds per optimizer step, as finished work of this kind of machine took them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from harness.executors.step_kind import StepKind, StepKinds
from harness.stages.store import StageStore

if TYPE_CHECKING:
    from harness.results.store import ResultStore
    from harness.stages.graph import PlannedCell, Stage

ENOUGH = 3
"""Records of a kind of step that are read where no stage of that kind is kept any more."""


class Pace:
    """What is known of the time of steps: medians over stages, and over records where their stages are gone.

    Seconds are of whole trainings, their checks included.

    Args:
        kinds: of steps.
        results: where stages and records lie.
        processor: name of this machine's device; what another one did tells nothing. None counts what any did.
    """

    def __init__(self, kinds: StepKinds, results: ResultStore, processor: str | None) -> None:
        self._kinds = kinds
        self._results = results
        self._processor = processor
        self._found: dict[StepKind, list[float]] = {}

    def learn(self, stages: Iterable[Stage], cells: Iterable[PlannedCell]) -> None:
        """Look at the stages that are finished, then at records of finished cells."""
        store = StageStore(self._results.work)
        for stage in stages:
            manifest = store.manifest(stage.hash)
            if manifest and manifest.get("seconds_per_step") and self._here(manifest.get("trained_by") or ()):
                self._found.setdefault(self._kinds.of(stage), []).append(manifest["seconds_per_step"])
        read: dict[StepKind, int] = {}
        for planned in cells:
            kinds = {self._kinds.of(stage) for stage in planned.stages if stage.steps}
            if len(kinds) != 1 or not (kinds - self._found.keys() or kinds & read.keys()):
                continue
            kind = kinds.pop()
            read[kind] = read.get(kind, 0) + 1
            record = self._results.read(planned.cell.suite, planned.id) if read[kind] <= ENOUGH else None
            spent = record.spent if record is not None else None
            if record is None or spent is None or not (spent.seconds and spent.steps):
                continue
            if self._here([one.model_dump() for one in record.trained_by or ()]):
                self._found.setdefault(kind, []).append(spent.seconds / spent.steps)

    def of(self, kind: StepKind) -> float | None:
        """Seconds of a step of this kind; None where none has been taken here."""
        return median(self._found[kind]) if kind in self._found else None

    def of_network(self, kind: StepKind) -> float | None:
        """Seconds of a step of this network with whatever method; None where none has been taken here."""
        known = [seconds for other, found in self._found.items() if other.network == kind.network for seconds in found]
        return median(known) if known else None

    def _here(self, environments: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the last of them, in which a training ended, is this kind of machine, as far as it says."""
        name = environments[-1].get("device_name") if environments else None
        return name is None or self._processor in (None, name)
