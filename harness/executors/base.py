"""What every executor does, and the words in which it reports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from harness.stages.graph import PlannedCell, Stage


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One unit of work: a stage to train, or a cell to evaluate and record.

    Attributes:
        id: stage hash or cell id.
        work: the stage or the cell.
        needs: ids of the jobs that must be done first; finished ones are not listed.
        pack: equal for stages that may take their steps together; None for what runs alone.
    """

    id: str
    work: Stage | PlannedCell
    needs: tuple[str, ...]
    pack: str | None = None

    @property
    def label(self) -> str:
        """For people: architecture, method, density, seed, and which part of the program."""
        cell = self.work.cell
        density = f" {cell.density:g}" if cell.density is not None else ""
        text = f"{cell.architecture} {cell.method}{density} seed {cell.seed}"
        if isinstance(self.work, PlannedCell):
            return f"{text}: evaluate"
        return text if self.work.parent is None else f"{text}: stage {len(self.work.chain())}"

    @property
    def steps(self) -> int:
        """Optimizer steps; 0 for an evaluation."""
        return self.work.steps if isinstance(self.work, Stage) else 0


class View(Protocol):
    """Shows a run to its user; every call is cheap."""

    def started(self, job: Job) -> None:
        """A job has begun."""

    def progress(self, job: Job, step: int, loss: float, more: Mapping[str, Any]) -> None:
        """A job has done ``step`` of its steps since its beginning.

        ``more`` may hold lr, validation and density as :class:`harness.executors.progress.Progress` has them.
        """

    def finished(self, job: Job) -> None:
        """A job is done."""

    def failed(self, job: Job, failure: Mapping[str, Any]) -> None:
        """A job has failed, or cannot run because one that it needs has."""

    def note(self, text: str) -> None:
        """One line that the user should see."""


@dataclass(slots=True)
class Outcome:
    """How a run ended: failures by job id, whether it was stopped before its end, or goes on without us.

    ``left`` jobs go on without us nowhere: they could not be handed in.
    """

    failures: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    interrupted: bool = False
    detached: bool = False
    left: int = 0


class Executor(ABC):
    """Runs jobs in an order that respects what they need; one that fails does not stop the others."""

    @abstractmethod
    def run(self, jobs: Sequence[Job], view: View, max_failures: int | None = None) -> Outcome:
        """Run all jobs; stop starting new ones after ``max_failures`` failures."""
