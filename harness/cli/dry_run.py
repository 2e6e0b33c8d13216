"""What ``harness run --dry-run`` shows: the plan as a table that fits into a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from harness.cli.console import plain_console
from harness.cli.execution import lacking
from harness.cli.plan_summary import cost_of, show_plan
from harness.executors.job_batches import Batch
from harness.executors.packs import mark_packs
from harness.executors.plan_rows import PlanRow, plan_rows
from harness.executors.planning import Plan, make_plan
from harness.executors.submitter import Submitter
from harness.formatting import duration
from harness.report.tables import NONE, Column, Table, print_table, print_tables, shortened
from harness.stages.graph import compile_graph

if TYPE_CHECKING:
    from harness.results.store import ResultStore
    from harness.suites.cell import Cell, Key
    from harness.suites.slurm_options import SlurmOptions
    from harness.suites.suite import Suite

_NAME = 16
"""Characters of a name in the column of densities that are shown on a terminal."""


def show_dry_run(
    console: Console,
    suite: Suite,
    store: ResultStore,
    selected: Callable[[Cell | Key], bool],
    force: bool,
    hashes: bool,
    width: int | None,
    workers: int,
    options: SlurmOptions | None,
) -> None:
    """The plan, with the cells whose settings are not chosen yet as they are by default."""
    graph = compile_graph([*suite.cells, *suite.pending], suite.registry)
    plan = make_plan(graph, store, selected, force)
    mark_packs(plan, suite)
    cost = cost_of(suite, plan, store, here=not options, timed=True)
    seconds = cost.job_seconds if cost else {}
    if suite.missing:
        click.echo(
            f"not here yet, so that runs will have other names: {', '.join(suite.missing)}. "
            f"harness data prepare {suite.path} gets what can be got; for one, the reason is: "
            f"{next(iter(suite.missing.values()))}",
            err=True,
        )
    if not hashes:
        show_rows(plain_console(), plan, seconds, width)
    unplanned = sum(map(selected, suite.unplanned))
    show_plan(console, suite, plan, store, cost, workers, options, unplanned)
    needed = (
        f"{part.label} ({_files(paths)})" for part, paths in lacking(suite, plan) if part.label not in suite.missing
    )
    if told := list(dict.fromkeys(needed)):  # experiments may share a benchmark
        click.echo(
            f"not here yet: {'; '.join(told)}. harness data prepare {suite.path} gets or builds what can be got",
            err=True,
        )
    if options:
        batches = Submitter(store.root.resolve(), suite.name, options, seconds).batches(plan.jobs, {})
        _show_batches(plain_console(), batches, width)
    for job in plan.jobs if hashes else ():
        click.echo(f"{job.id}  {job.steps or '':>8}  {job.label}")


def _files(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{paths[0].name}{more} in {paths[0].parent}"


def show_rows(console: Console, plan: Plan, seconds: Mapping[str, float], width: int | None) -> None:
    """One table for each network of an experiment: methods at densities; ``seconds`` as in :func:`plan_rows`."""
    rows = groupby(plan_rows(plan, seconds), key=lambda row: (row.experiment, row.trials > 0, row.architecture))
    print_tables((_table(list(some), width) for _, some in rows), console, width)
    if plan.selected:
        console.print("shared: stages of training that other rows need too, of all of a row's")
        console.print("time: of one worker, for what is to run; what rows share counts in the first\n")


def _table(rows: Sequence[PlanRow], width: int | None) -> Table:
    """What is the same in all rows stands in the title."""
    benchmarks = list(dict.fromkeys(name for row in rows for name in row.benchmarks))
    first = rows[0]
    on = benchmarks[0] if len(benchmarks) == 1 else f"{len(benchmarks)} benchmarks"
    tuning = f", {first.trials} trials" if first.trials else ""
    title = f"{first.experiment}{tuning}: {first.architecture} on {on}"
    if first.trained_on not in benchmarks or len(benchmarks) > 1:
        trained = list(dict.fromkeys(row.trained_on for row in rows))
        title += f", trained on {trained[0]}" if len(trained) == 1 else ""
    columns = [
        (Column("method", names=True), [row.method for row in rows]),
        (Column("density", right=True), [_density(row, width) for row in rows]),
        (Column("seeds", 2, right=True), [str(row.seeds) for row in rows]),
        (Column("steps", right=True), [_steps(*row.steps) for row in rows]),
        (Column("shared", 3, right=True), [f"{row.shared} of {row.stages}" for row in rows]),
        (Column("finished", right=True), [f"{row.finished} of {row.cells}" for row in rows]),
        (Column("time", 1, right=True), [_time(row.seconds) for row in rows]),
    ]
    cells = [list(row) for row in zip(*(texts for _, texts in columns), strict=True)]
    return Table(title, [column for column, _ in columns], cells)


def _density(row: PlanRow, width: int | None) -> str:
    """``0.1``, ``0.005 to 0.2 (5)``, ``as METHOD`` where only a match tells, or a dash."""
    found = row.densities
    if len(found) > 1:
        return f"{min(found):g} to {max(found):g} ({len(found)})"
    if found:
        return f"{found[0]:g}"
    return f"as {shortened(row.as_method, len(row.as_method) if width is None else _NAME)}" if row.as_method else NONE


def _time(seconds: float) -> str:
    """As :func:`duration` has it, in at most ten characters."""
    if seconds > 999 * 86400:
        return f"{seconds / 86400 / 365.25:,.0f} years"
    return duration(seconds) if seconds else NONE


def _steps(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _show_batches(console: Console, batches: Sequence[Batch], width: int | None) -> None:
    """The SLURM jobs that would be handed in, those that ask for the same in one line, and what they add up to."""
    groups: dict[str, list[Batch]] = {}
    if not batches:
        return
    for batch in batches:
        groups.setdefault(batch.request.model_dump_json(), []).append(batch)
    rows = []
    hours = limit = 0.0
    for some in groups.values():
        request = some[0].request
        nodes = request.nodes or 1
        row = [
            f"{len(some)}",
            f"{sum(bool(batch.after) for batch in some)}",
            f"{sum(len(batch.jobs) for batch in some)}",
            request.partition or "(default)",
            f"{nodes}",
            f"{request.gpus_per_node or 0}",
            f"{request.processes}",
            str(request.mem or "(default)"),
            duration(60 * request.minutes),
            _time(max(batch.seconds for batch in some)),
        ]
        rows.append(row)
        hours += nodes * sum(batch.seconds for batch in some) / 3600
        limit += nodes * len(some) * request.minutes / 60
    names = {"jobs": 0, "waiting": 0, "stages": 0, "partition": 0, "nodes": 3, "GPUs": 0, "processes": 2, "mem": 4}
    columns = [Column(name, drop, name not in ("partition", "mem")) for name, drop in names.items()]
    columns += [Column("time limit", 0, True), Column("expected", 1, True)]
    notes = [
        "waiting: jobs that wait for others; stages: with evaluations; GPUs: of a node",
        "expected: about how long the longest job takes",
        f"node-hours: about {hours:,.2f} expected, {limit:,.0f} asked for as time limits",
    ]
    print_table(Table("SLURM jobs", columns, rows, notes), console, width)
