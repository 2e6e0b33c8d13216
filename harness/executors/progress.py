"""How far one running job is, in the form in which runs and SLURM jobs tell others of it."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any

from harness.executors.base import Job
from harness.stages.graph import Stage

POINTS = 32
"""Most points of the loss curve that travel."""


class Progress:
    """What is known of a running job; :meth:`row` is what heartbeats and progress files hold.

    ``began`` is when it did here, on the monotonic clock.

    ROW, all but the first four may be null:
        id, label       of the job
        step, steps     optimizer steps done and in all; ``steps`` is 0 for an evaluation
        phase           [index into the program, kind of the phase]
        loss, lr        training loss and learning rate
        rate, left      steps per second since it was first heard of, and seconds left at that rate
        validation      {metric: value}, the newest of this phase
        density         mean hard density, in [0, 1], for methods that change it while training
        losses          the loss so far, thinned out evenly
    """

    def __init__(self, job: Job) -> None:
        self.step = 0
        self.steps = job.steps
        self._head = {"id": job.id, "label": job.label}
        self._phase: list[Any] | None = None
        if isinstance(job.work, Stage) and job.steps:
            phases = job.work.phases
            self._phase = [job.work.offset + len(phases) - 1, type(phases[-1]).__name__]
        self.began = monotonic()
        self._first: tuple[float, int] | None = None
        self._heard = 0.0
        self._loss: float | None = None
        self._more: Mapping[str, Any] = {}
        self._losses: list[float] = []
        self._every = 1
        self._count = 0

    def seen(self, step: int, loss: float, more: Mapping[str, Any]) -> None:
        """The job has done ``step`` steps; ``more`` may hold lr, validation and density."""
        self._heard = monotonic()
        self._first = self._first or (self._heard, step)
        self.step, self._loss, self._more = step, loss, more
        if self._count % self._every == 0:
            self._losses.append(float(f"{loss:.4g}"))
        self._count += 1
        if len(self._losses) > POINTS:
            self._losses = self._losses[::2]
            self._every *= 2

    @property
    def part(self) -> float:
        """Share of its steps that are done, in [0, 1]."""
        return self.step / max(1, self.steps)

    @property
    def rate(self) -> float | None:
        """Steps per second, or None before the second report. Counted from the first, which may be a restart's."""
        if self._first is None or self.step <= self._first[1] or self._heard <= self._first[0]:
            return None
        return (self.step - self._first[1]) / (self._heard - self._first[0])

    def row(self) -> dict[str, Any]:
        """See the class."""
        rate = self.rate
        return {
            **self._head,
            "step": self.step,
            "steps": self.steps,
            "phase": self._phase,
            "loss": self._loss,
            "lr": self._more.get("lr"),
            "rate": rate,
            "left": (self.steps - self.step) / rate if rate else None,
            "validation": self._more.get("validation") or None,
            "density": self._more.get("density"),
            "losses": list(self._losses),
        }
