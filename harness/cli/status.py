"""``harness status``: how far each suite has come."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from harness.executors.cluster_status import Survey
    from harness.results.store import ResultStore

STATES = ("done", "failed", "diverged", "blocked", "cancelled", "lost", "running", "requeued", "queued", "to do")
RUNNING = 20
"""Most running SLURM jobs that are listed one by one."""

EXAMPLES = """\b
Examples:
  harness status
  harness status quickstart
  harness status suites/quickstart.yaml --results /tmp/try
"""


@click.command(epilog=EXAMPLES, short_help="Show which runs of a suite are done, running, failed or to do.")
@click.argument("suites", nargs=-1, metavar="[SUITE]...")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def command(suites: tuple[str, ...], results: Path) -> None:
    """Show which runs of each SUITE (a name, or its file) are done, failed or to do, and what runs now.

    Without SUITE, of all suites; one line for those that are finished.
    """
    from harness.cli.console import plain_console
    from harness.cli.find import find_suites
    from harness.errors import UserError
    from harness.results.store import ResultStore

    store = ResultStore(results)
    if not (known := store.suites()):
        raise UserError(f"no results in {results}: run a suite first, or name the folder with --results")
    for name in find_suites(store, suites) or known:
        _show(plain_console(), store, name, whole=bool(suites))


def _show(console: Console, store: ResultStore, suite: str, whole: bool) -> None:
    from harness.cli.fitting import terminal_width
    from harness.cli.progress_display import stage_line
    from harness.executors.cluster_status import survey
    from harness.executors.completion import Completion, recorded_failure
    from harness.executors.run_status import running
    from harness.formatting import duration, fitted
    from harness.report.tables import Column, Table, print_table
    from harness.results.store import LeftOut

    planned = store.plan_or_why(suite)
    plan = None if isinstance(planned, LeftOut) else planned
    names = plan.cells if plan else store.names(suite)
    rows = {cell: _row(cell) for cell in names}
    for method in plan.tuning if plan else ():
        row = f"{method.experiment} trials {method.architecture} {method.trained_on} {method.method}"
        rows |= {cell: row for trial in method.trials for cell in trial.cells}
    counts: dict[str, Counter[str]] = {}
    failures: list[str] = []
    unfinished: list[str] = []
    for name in names:
        found = store.record(suite, name)
        record = None if isinstance(found, LeftOut) else found
        if isinstance(found, LeftOut) and found.path.exists():
            failures.append(f"{found.path}: {found.reason}: to be run again, or take it from another copy")
        state = Completion.of_record(record)
        counts.setdefault(rows[name], Counter())[state.value] += 1
        if record is None:
            unfinished.append(name)
        elif state is not Completion.DONE:
            failures.append(f"{name}: {state}: {str(recorded_failure(record)['message']).splitlines()[0]}")
    cluster = survey(store.work, suite, unfinished)
    for name, word in cluster.cells.items():
        counts[rows[name]].subtract([Completion.TO_DO.value])
        counts[rows[name]][word] += 1
    total = sum(counts.values(), Counter())
    states = [state for state in STATES if total[state]]
    title = f"{suite}: " + ", ".join(f"{total[state]} {state}" for state in states)
    if plan and plan.waiting:
        title += f"; {plan.waiting} more when trials have chosen their settings"
    shown = counts if whole or set(states) != {"done"} or (plan and plan.waiting) else {}
    columns = [Column("cells", names=True), *(Column(state, right=True) for state in states)]
    lines = [[row, *(str(count[state] or "") for state in states)] for row, count in shown.items()]
    print_table(Table(title, columns if lines else [], lines), console, terminal_width())
    if isinstance(planned, LeftOut):
        console.print(f"{planned.path} {planned.reason}", highlight=False, soft_wrap=True)
    for beat in running(store.work, suite):
        left = f", {duration(beat['left'])} left" if beat.get("left") is not None else ""
        console.print(f"running on {beat['host']}, process {beat['pid']}{left}")
        for job in beat["jobs"]:
            console.print(f"  {stage_line(job)}", soft_wrap=True)
    _show_cluster(console, cluster)
    for failure in failures:
        console.print(fitted(failure, terminal_width()), soft_wrap=True)


def _show_cluster(console: Console, cluster: Survey) -> None:
    """The SLURM jobs behind what is not finished."""
    from harness.cli.progress_display import stage_line
    from harness.formatting import count

    if cluster.unknown:
        console.print(f"SLURM cannot be asked from here: {cluster.unknown}", soft_wrap=True)
    for reason, jobs in cluster.waiting.items():
        few = ", ".join(jobs[:5]) + (" ..." if len(jobs) > 5 else "")
        console.print(f"{count(len(jobs), 'SLURM job')} waiting: {reason} ({few})", soft_wrap=True)
    for slurm, state, progress in cluster.running[:RUNNING]:
        again = f", begun again {progress['restarts']} times" if progress["restarts"] else ""
        said = "" if state.name == "RUNNING" else f", {state.name.lower()}"
        console.print(f"SLURM job {slurm} on {progress['host'] or 'its way'}{said}{again}")
        for job in progress["jobs"]:
            console.print(f"  {stage_line(job)}", soft_wrap=True)
    if len(cluster.running) > RUNNING:
        console.print(f"and {len(cluster.running) - RUNNING} more SLURM jobs run")
    for problem in cluster.problems:
        console.print(problem, style="red", soft_wrap=True)


def _row(cell: str) -> str:
    """A cell's name without density, seed and hash."""
    return " ".join(cell.split(".")[:4])
