"""``harness watch``: follow a run from another terminal, or another machine."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.fitting import wide_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from harness.cli.progress_display import Standing
    from harness.executors.cluster_status import Survey
    from harness.executors.completion import Completion
    from harness.results.store import ResultStore

ASK_SECONDS = 30.0
"""Time between two questions to SLURM; what its jobs write is read every time."""
SECONDS, PLAIN_SECONDS = 2.0, 15.0
"""Time between two looks, on a terminal and elsewhere."""
NOTES = 5

EXAMPLES = """\b
Examples:
  harness watch quickstart
  harness watch /scratch/results --interval 10
  harness watch suites/quickstart.yaml --results /tmp/try --once
"""


@click.command(epilog=EXAMPLES, short_help="Follow a run from another terminal or machine.")
@click.argument("what", metavar="SUITE|FOLDER")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--interval", type=click.FloatRange(0.1), help="Seconds between looks.  [2; without a terminal 15]")
@click.option("--once", is_flag=True, help="Show how far it is now, and return.")
@wide_option
def command(what: str, results: Path, interval: float | None, once: bool, wide: bool) -> None:
    """Follow SUITE (a name, or its file), or every suite of a FOLDER of results, while it runs here, on another
    machine that shares the folder, or on SLURM.

    Ends when everything is done or nothing runs any more, with the leaderboard of what is finished; so does Ctrl-C.
    """
    from harness.cli.console import plain_console
    from harness.cli.fitting import terminal_width
    from harness.report.leaderboard import terminal_tables

    store, suites = _find(what, results)
    console = plain_console()
    watched = [SuiteWatch(store, suite) for suite in suites]
    interrupted = False
    try:
        _follow(console, watched, interval or (SECONDS if console.is_terminal else PLAIN_SECONDS), once)
    except KeyboardInterrupt:
        interrupted = True
    for suite in watched:
        if interrupted or once or console.is_terminal:
            _plain(console, suite.standing)
        if suite.done:
            console.print()
            terminal_tables(store, suite.name, console, terminal_width(wide))
    if interrupted:
        sys.exit(130)


def _find(what: str, results: Path) -> tuple[ResultStore, list[str]]:
    """The suites that are meant: a name is looked for before a folder."""
    from harness.cli.find import find_suites
    from harness.errors import UserError
    from harness.results.store import ResultStore

    store, path = ResultStore(results), Path(what)
    known = store.suites()
    if what in known:
        return store, [what]
    if path.is_dir() and (inside := ResultStore(path).suites()):
        return ResultStore(path), inside
    if path.is_dir() and path.name in ResultStore(path.parent).suites():
        return ResultStore(path.parent), [path.name]
    if not known:
        raise UserError(f"no results in {results}: run a suite first, or name the folder with --results")
    return store, find_suites(store, [what])


def _follow(console: Console, watched: Sequence[SuiteWatch], interval: float, once: bool) -> None:
    """Look until nothing is left to see."""
    from contextlib import nullcontext

    from rich.console import Group
    from rich.live import Live

    live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal and not once else None
    said = ""
    with live or nullcontext():
        while True:
            for suite in watched:
                suite.look()
            if once:
                return
            if live is not None:
                for suite in watched:
                    suite.standing.height = console.height // len(watched)
                live.update(Group(*(suite.standing for suite in watched)), refresh=True)
            else:
                text = "\n".join(line for suite in watched for line in suite.standing.lines())
                if text != said:
                    said = text
                    for suite in watched:
                        _plain(console, suite.standing)
            if all(suite.ended for suite in watched):
                return
            time.sleep(interval)


def _plain(console: Console, standing: Standing) -> None:
    from harness.cli.fitting import terminal_width
    from harness.formatting import fitted

    for line in standing.lines((console.encoding or "").lower().startswith("utf")):
        console.print(fitted(line, terminal_width()), soft_wrap=True)


class SuiteWatch:
    """Looks at one suite again and again, and reads no more than what has changed.

    Attributes:
        standing: what the last look found.
        done: number of cells that have a result.
        ended: whether everything is done, or nothing runs any more.
    """

    def __init__(self, store: ResultStore, name: str) -> None:
        from harness.cli.progress_display import Standing

        self.store, self.name = store, name
        self.standing = Standing([])
        self.done = 0
        self.ended = False
        self._states: dict[str, tuple[int, Completion]] = {}
        self._survey: Survey | None = None
        self._asked = 0.0
        self._began: tuple[float, int] | None = None
        self._silent = 0
        self._ran = False

    def look(self) -> None:
        """Bring everything up to date."""
        from harness.cli.progress_display import Bar, Standing
        from harness.executors.completion import Completion
        from harness.executors.run_status import running

        plan = self.store.plan(self.name)
        states = self._cells()
        names = plan.cells if plan else sorted(states)
        left = [name for name in names if name not in states]
        self.done = sum(states.get(name) is Completion.DONE for name in names)
        failed = len(names) - len(left) - self.done
        beats = list(running(self.store.work, self.name))
        cluster = self._cluster(left)
        stages = [row for beat in beats for row in beat["jobs"]]
        stages += [row for _, _, progress in cluster.running for row in progress["jobs"]]
        runs = [
            Bar(
                "this run",
                beat["total"],
                beat["done"],
                beat["failed"],
                beat.get("left"),
                note=f"on {beat['host']}",
                part=beat.get("part"),
            )
            for beat in beats
            if "total" in beat
        ]
        cells = Bar("results", len(names), self.done, failed)
        if left and not runs:
            cells = Bar("results", len(names), self.done, failed, *self._time(len(left), stages))
        live = bool(beats) or any(word in ("running", "requeued", "queued") for word in cluster.cells.values())
        self.standing = Standing([cells, *runs], stages, self._notes(left, cluster, live), self.name)
        # Twice, because a run may begin anew between two looks.
        self._silent = 0 if live else self._silent + 1
        self._ran |= live
        over = not left and not (plan and plan.waiting)  # reported cells follow when trials have chosen
        self.ended = not live and (over or (self._ran and self._silent > 1))

    def _cells(self) -> dict[str, Completion]:
        """How far every cell is that has a record."""
        from harness.errors import HarnessError
        from harness.executors.completion import Completion

        found: dict[str, tuple[int, Completion]] = {}
        with suppress(HarnessError):
            found = dict.fromkeys(self.store.packed(self.name), (0, Completion.DONE))
        for cell, changed in self.store.loose(self.name).items():
            known = self._states.get(cell)
            if known is None or known[0] != changed:
                known = (changed, Completion.of_record(self.store.read(self.name, cell)))
            found[cell] = known
        self._states = found
        return {cell: state for cell, (_, state) in found.items() if state is not Completion.TO_DO}

    def _cluster(self, left: Sequence[str]) -> Survey:
        """What SLURM's jobs do."""
        from harness.executors.cluster_status import survey
        from harness.executors.submissions import Submissions

        if self._survey is None or time.monotonic() - self._asked >= ASK_SECONDS:
            self._survey, self._asked = survey(self.store.work, self.name, left), time.monotonic()
            return self._survey
        jobs = Submissions(self.store.work, self.name)
        self._survey.running = [
            (slurm, state, jobs.progress(slurm) or progress) for slurm, state, progress in self._survey.running
        ]
        missing = set(left)
        self._survey.cells = {cell: word for cell, word in self._survey.cells.items() if cell in missing}
        return self._survey

    def _time(self, left: int, stages: Sequence[dict[str, Any]]) -> tuple[float | None, bool]:
        """Seconds left where no run says so, and whether that is only the least that it may take."""
        now = time.monotonic()
        self._began = self._began or (now, self.done)
        began, before = self._began
        if self.done - before >= 2:
            return (now - began) / (self.done - before) * left, False
        return max((row["left"] for row in stages if row.get("left") is not None), default=None), True

    def _notes(self, left: Sequence[str], cluster: Survey, live: bool) -> list[str]:
        from harness.formatting import count

        notes = []
        if cluster.unknown:
            notes.append(f"SLURM cannot be asked from here: {cluster.unknown}")
        notes += [f"{count(len(jobs), 'SLURM job')} waiting: {why}" for why, jobs in cluster.waiting.items()]
        notes += cluster.problems
        if len(notes) > NOTES:
            notes[NOTES:] = [f"and {len(notes) - NOTES} more: harness status {self.name}"]
        if left and not live:
            notes.append(f"nothing runs now; {count(len(left), 'run')} to do")
        return notes
