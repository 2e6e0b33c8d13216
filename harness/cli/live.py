"""What a run looks like while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console
from rich.live import Live

from harness.cli.progress_display import Bar, Standing
from harness.executors.base import Job
from harness.executors.progress import Progress
from harness.executors.run_status import Heartbeat
from harness.formatting import duration, printable
from harness.stages.graph import PlannedCell

SHOWN = 600
"""Characters of a message that are shown while a run goes on; the record has more."""
PLAIN_SECONDS = 15.0
EVALUATION_SECONDS = 0.3
"""What an evaluation counts as when time left is estimated."""

RESUMED = 3.0
"""How many times as far as expected a training is when it is first heard of, if it goes on from a checkpoint."""


class RunView:
    """Progress over a whole run: a live display on a terminal, a line now and then elsewhere.

    Args:
        console: on stderr.
        jobs: everything that will run; what is told of them are the results, those without steps.
        seconds: job -> about how long it takes, for the time left; only the proportions matter.
        beats: (folder of work, suite) to tell other terminals what runs; None where somebody else does.
    """

    def __init__(
        self,
        console: Console,
        jobs: Sequence[Job],
        seconds: Mapping[str, float],
        beats: tuple[Path, str] | None,
    ) -> None:
        self._console = console
        self._beats = beats
        self._weights = {job.id: seconds.get(job.id, EVALUATION_SECONDS) for job in jobs}
        self._total = sum(self._weights.values())
        self._done_weight = 0.0
        self._given = 0.0
        self._results = sum(isinstance(job.work, PlannedCell) for job in jobs)
        self._done = 0
        self._failed = 0
        self._began: float | None = None
        self._told = monotonic()
        self._running: dict[str, Progress] = {}

    @contextmanager
    def showing(self) -> Iterator[RunView]:
        """Show while the block runs."""
        heartbeat = Heartbeat(*self._beats, self._content) if self._beats else None
        live = Live(console=self._console, refresh_per_second=5, transient=True, get_renderable=self.standing)
        try:
            with live if self._console.is_terminal else nullcontext():
                yield self
        finally:
            if heartbeat is not None:
                heartbeat.close()

    def standing(self) -> Standing:
        """How far the run is."""
        bar = Bar("results", self._results, self._done, self._failed, self._left(), part=self._part())
        return Standing([bar], [progress.row() for progress in list(self._running.values())])

    def started(self, job: Job) -> None:
        """See :class:`harness.executors.base.View`."""
        self._running[job.id] = Progress(job)

    def progress(self, job: Job, step: int, loss: float, more: Mapping[str, Any]) -> None:
        """See :class:`harness.executors.base.View`."""
        now = monotonic()
        self._began = self._began or now
        progress = self._running.setdefault(job.id, Progress(job))
        first = progress.step == 0
        progress.seen(step, loss, more)
        ahead = self._weights[job.id] * progress.part
        if first and ahead > RESUMED * (now - progress.began) + PLAIN_SECONDS:
            self._given += ahead
        self._tell()

    def finished(self, job: Job) -> None:
        """See :class:`harness.executors.base.View`."""
        self._done += isinstance(job.work, PlannedCell)
        self._end(job)

    def failed(self, job: Job, failure: Mapping[str, Any]) -> None:
        """See :class:`harness.executors.base.View`."""
        self._failed += isinstance(job.work, PlannedCell)
        self._end(job)
        if "cause" not in failure:
            self._console.print(
                f"failed: {job.label}: {printable(str(failure['message']), SHOWN)}", style="red", highlight=False
            )

    def note(self, text: str) -> None:
        """See :class:`harness.executors.base.View`."""
        self._console.print(f"note: {printable(text, SHOWN)}", highlight=False)

    def _end(self, job: Job) -> None:
        self._running.pop(job.id, None)
        self._done_weight += self._weights[job.id]
        self._tell()

    def _left(self) -> float | None:
        """Seconds left for the whole run, from the average speed so far; what others did before is no speed of this."""
        part = self._part()
        own = part - self._given / self._total if self._total else part
        if own < 0.01 or self._began is None:
            return None
        return (monotonic() - self._began) / own * max(0.0, 1 - part)

    def _part(self) -> float:
        """Fraction of the work that is done, by its expected time, in [0, 1]."""
        running = list(self._running.items())
        done = self._done_weight + sum(self._weights[name] * progress.part for name, progress in running)
        return min(1.0, done / self._total) if self._total else 1.0

    def _content(self) -> dict[str, Any]:
        """What the heartbeat says."""
        return {
            "total": self._results,
            "done": self._done,
            "failed": self._failed,
            "left": self._left(),
            "part": self._part(),
            "jobs": [progress.row() for progress in list(self._running.values())],
        }

    def _tell(self) -> None:
        """A line now and then, where there is no terminal."""
        if self._console.is_terminal or monotonic() - self._told < PLAIN_SECONDS:
            return
        self._told = monotonic()
        running = "; ".join(
            f"{row['label']} {row['step']}/{row['steps']} loss {row['loss']:.4f}"
            for row in (progress.row() for progress in self._running.values())
            if row["loss"] is not None
        )
        left = self._left()
        end = f", about {duration(left)} left" if left is not None else ""
        failed = f", {self._failed} failed" if self._failed else ""
        self._console.print(
            f"{self._done + self._failed}/{self._results} results{failed}{end}: {running}",
            highlight=False,
            soft_wrap=True,
        )
