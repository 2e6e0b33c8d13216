"""What a run looks like while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from time import monotonic
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from harness.executors.base import Job
from harness.heartbeat import Heartbeat
from harness.wording import duration

PLAIN_SECONDS = 15.0
EVALUATION_SECONDS = 0.3
"""What an evaluation counts as when time left is estimated."""


class _Left(ProgressColumn):
    """Time left, from the view's own estimate."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        return Text(f"{duration(left)} left" if left is not None else "", style="cyan")


class RunView:
    """Progress over a whole run: a live display on a terminal, a line now and then elsewhere.

    Args:
        console: on stderr.
        jobs: everything that will run.
        seconds: stage hash -> about how long it takes, for the time left; only the proportions matter.
        heartbeat: tells other terminals what runs, or None.
    """

    def __init__(
        self, console: Console, jobs: Sequence[Job], seconds: Mapping[str, float], heartbeat: Heartbeat | None
    ) -> None:
        self._console = console
        self._live = console.is_terminal
        self._heartbeat = heartbeat
        self._weights = {job.id: seconds.get(job.id, EVALUATION_SECONDS) for job in jobs}
        self._total = sum(self._weights.values())
        self._jobs = len(jobs)
        self._done_weight = 0.0
        self._done = 0
        self._failed = 0
        self._began: float | None = None
        self._told = monotonic()
        self._running: dict[str, tuple[Job, float, int, float]] = {}
        self._tasks: dict[str, TaskID] = {}
        self._overall = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Left(),
            TextColumn("{task.fields[failed]}", style="red"),
            console=console,
            expand=True,
        )
        self._stages = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            _Left(),
            console=console,
        )
        self._all = self._overall.add_task("jobs", total=self._jobs, left=None, failed="")

    @contextmanager
    def showing(self) -> Iterator[RunView]:
        """Show while the block runs."""
        table = Table.grid(expand=True)
        table.add_row(self._overall)
        table.add_row(self._stages)
        live = Live(table, console=self._console, refresh_per_second=5, transient=True) if self._live else nullcontext()
        try:
            with live:
                yield self
        finally:
            if self._heartbeat is not None:
                self._heartbeat.close()

    def started(self, job: Job) -> None:
        """See :class:`harness.executors.base.View`."""
        self._running[job.id] = (job, monotonic(), 0, 0.0)
        if job.id in self._tasks:  # its worker died, and it is tried again
            self._stages.remove_task(self._tasks.pop(job.id))
        if self._live and job.steps:
            self._tasks[job.id] = self._stages.add_task(job.label, total=job.steps, loss="-", left=None)

    def progress(self, job: Job, step: int, loss: float) -> None:
        """See :class:`harness.executors.base.View`."""
        self._began = self._began or monotonic()
        _, began, _, _ = self._running.get(job.id, (job, monotonic(), 0, 0.0))
        self._running[job.id] = (job, began, step, loss)
        if job.id in self._tasks:
            left = (monotonic() - began) / max(1, step) * (job.steps - step)
            self._stages.update(self._tasks[job.id], completed=step, loss=f"{loss:.4f}", left=left)
        self._tell()

    def finished(self, job: Job) -> None:
        """See :class:`harness.executors.base.View`."""
        self._end(job)

    def failed(self, job: Job, failure: Mapping[str, Any]) -> None:
        """See :class:`harness.executors.base.View`."""
        self._failed += 1
        self._end(job)
        if "cause" not in failure:
            self._console.print(
                f"failed: {job.label}: {failure['message']}", style="red", markup=False, highlight=False
            )

    def note(self, text: str) -> None:
        """See :class:`harness.executors.base.View`."""
        self._console.print(f"note: {text}", markup=False, highlight=False)

    def _end(self, job: Job) -> None:
        self._running.pop(job.id, None)
        self._done += 1
        self._done_weight += self._weights[job.id]
        if job.id in self._tasks:
            self._stages.remove_task(self._tasks.pop(job.id))
        self._tell()

    def _left(self) -> float | None:
        """Seconds left for the whole run, from the average speed so far."""
        part = sum(self._weights[job.id] * step / max(1, job.steps) for job, _, step, _ in self._running.values())
        done = self._done_weight + part
        if done < 0.01 * self._total or self._began is None:
            return None
        return (monotonic() - self._began) / done * max(0.0, self._total - done)

    def _tell(self) -> None:
        left = self._left()
        if self._heartbeat is not None:
            self._heartbeat.beat(
                left,
                [
                    {"label": job.label, "step": step, "steps": job.steps, "loss": loss}
                    for job, _, step, loss in self._running.values()
                    if job.steps
                ],
            )
        if self._live:
            text = f"{self._failed} failed" if self._failed else ""
            self._overall.update(self._all, completed=self._done, left=left, failed=text)
        elif monotonic() - self._told >= PLAIN_SECONDS:
            self._told = monotonic()
            running = "; ".join(
                f"{job.label} {step}/{job.steps} loss {loss:.4f}"
                for job, _, step, loss in self._running.values()
                if job.steps
            )
            end = f", about {duration(left)} left" if left is not None else ""
            failed = f", {self._failed} failed" if self._failed else ""
            self._console.print(
                f"{self._done}/{self._jobs} jobs{failed}{end}: {running}", markup=False, highlight=False, soft_wrap=True
            )
