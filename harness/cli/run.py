"""``harness run``: fill a suite's comparison matrix."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import show_warnings

if TYPE_CHECKING:
    from rich.console import Console

    from harness.executors.base import Executor, Outcome
    from harness.executors.job_batches import Batch
    from harness.executors.planning import Plan
    from harness.registry.plugins import Registry
    from harness.results.store import ResultStore
    from harness.results.suite_plan import SuitePlan
    from harness.suites.cell import Cell
    from harness.suites.suite import Suite

EXAMPLES = """\b
Examples:
  harness run suites/quickstart.yaml
  harness run suites/quickstart.yaml --dry-run
  harness run suites/quickstart.yaml --only method=genome,seed=0
  harness run suites/quickstart.yaml --set training.steps=100 --results /tmp/try
  harness run my_suite.yaml --plugin my_method.py --workers 4
  harness run suites/gpt2_small.yaml --executor slurm --slurm partition=gpu --slurm gpus=1 --dry-run
  harness run suites/gpt2_small.yaml --executor slurm --cluster mine --detach
"""


@click.command(epilog=EXAMPLES, short_help="Run a suite: everything that has no result yet.")
@click.argument("suite", type=click.Path(path_type=Path))
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), help="Folder for results.  [results]"
)
@click.option(
    "--workers", type=click.IntRange(1), help="Worker processes.  [one per GPU, else cores / threads of a cell]"
)
@click.option(
    "--only", multiple=True, metavar="SELECTOR", help="Only matching cells: method=genome,seed=0; repeatable."
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the suite; repeatable.")
@click.option("--plugin", "plugins", multiple=True, type=click.Path(path_type=Path), help="Load a single-file plugin.")
@click.option("--dry-run", is_flag=True, help="Show the plan and its cost, run nothing.")
@click.option("--force", is_flag=True, help="Forget the selected cells' results first and run them anew.")
@click.option("--max-failures", type=click.IntRange(1), help="Start nothing new after so many failures.")
@click.option("--checkpoint-minutes", type=click.FloatRange(0), default=5.0, help="Time between checkpoints.  [5]")
@click.option(
    "--executor", type=click.Choice(["local", "slurm"]), default="local", help="Where jobs run: here, or on a cluster."
)
@click.option("--cluster", metavar="NAME", help="Cluster profile: ~/.config/harness/clusters/NAME.yaml.")
@click.option("--slurm", multiple=True, metavar="KEY=VALUE", help="Ask the cluster for: time=8:00:00; repeatable.")
@click.option(
    "--log",
    "loggers",
    multiple=True,
    metavar="LOGGER",
    help="Also log to this program: tensorboard; repeatable.  [$HARNESS_LOG]",
)
@click.option("--detach", is_flag=True, help="With slurm: hand everything in and return.")
def command(
    suite: Path,
    results: Path,
    workers: int | None,
    only: Sequence[str],
    overrides: Sequence[str],
    plugins: Sequence[Path],
    dry_run: bool,
    force: bool,
    max_failures: int | None,
    checkpoint_minutes: float,
    executor: str,
    cluster: str | None,
    slurm: Sequence[str],
    loggers: Sequence[str],
    detach: bool,
) -> None:
    """Run every cell of SUITE that has no result yet, then write and show its leaderboard.

    Finished work is never done again. Stopped by Ctrl-C, kill -9 or a power cut, the same command goes on
    from the last checkpoints. A cell that fails does not stop the others; the exit code is then 1.

    With --executor slurm the work goes to a cluster, as job arrays that wait for each other. Ctrl-C then only stops
    watching; the same command watches again, and hands in what is missing.
    """
    from rich.console import Console

    from harness.executors.local import LocalExecutor
    from harness.executors.planning import forget, make_plan
    from harness.executors.slurm import SlurmExecutor
    from harness.executors.submitter import Submitter
    from harness.machine import gpus
    from harness.registry.plugins import load
    from harness.results.run_log import choose
    from harness.results.store import ResultStore
    from harness.stages.graph import compile_graph
    from harness.suites.slurm_options import resolve
    from harness.suites.suite import load_suite

    console = Console(stderr=True)
    on_cluster = executor == "slurm"
    _check_options(on_cluster, cluster, slurm, detach, workers)
    registry = load(plugins)
    choose(loggers, registry)
    loaded = load_suite(suite, registry, overrides, dry=dry_run)
    show_warnings(loaded.outdated)
    options = resolve(loaded.slurm, cluster, slurm) if on_cluster else None
    graph = compile_graph(loaded.cells, registry)
    store = ResultStore(results)
    plan = make_plan(graph, store, _selection(only, loaded), force)
    count = options.array_parallelism if options else workers or _default_workers(loaded)
    seconds = _show_plan(console, loaded, plan, store, None if options else count)
    if dry_run:
        if loaded.missing:
            click.echo(
                f"not here yet, so that cells will have other names: {', '.join(loaded.missing)}. "
                f"harness data prepare {suite} gets what can be got; for one, the reason is: "
                f"{next(iter(loaded.missing.values()))}",
                err=True,
            )
        if options:
            _show_batches(Submitter(results.resolve(), loaded.name, options, seconds).batches(plan.jobs, {}))
            return
        for job in plan.jobs:
            click.echo(f"{job.id}  {job.steps or '':>8}  {job.label}")
        return
    _check_data(loaded, plan)
    store.write_plan(loaded.name, _suite_plan(loaded, plan, overrides, plugins))
    if force:
        forget(plan, store)
    failures: dict[str, str] = {}
    interrupted = False
    if plan.jobs:
        if options:
            submitter = Submitter(results.resolve(), loaded.name, options, seconds, plugins, checkpoint_minutes * 60)
            runs: Executor = SlurmExecutor(submitter, detach)
        else:
            runs = LocalExecutor(results.resolve(), count, gpus(), plugins, checkpoint_minutes * 60)
        outcome = _execute(runs, console, plan, store, registry, seconds, max_failures, beats=not options)
        cells = {planned.id for planned in plan.selected}
        failures = {name: str(found["message"]) for name, found in outcome.failures.items() if name in cells}
        interrupted = outcome.interrupted
        if outcome.detached and not failures:
            click.echo(f"harness status {loaded.name} --results {results} shows how far it is", err=True)
            return
    _finish(console, store, loaded, interrupted)
    if interrupted:
        click.echo(f"stopped; to go on: {_again()}", err=True)
        sys.exit(130)
    if failures := {name: str(found["message"]) for name, found in plan.diverged.items()} | failures:
        _list_failures(console, store, loaded, failures)
        sys.exit(1)


def _execute(
    executor: Executor,
    console: Console,
    plan: Plan,
    store: ResultStore,
    registry: Registry,
    seconds: Mapping[str, float],
    max_failures: int | None,
    beats: bool,
) -> Outcome:
    """Run the plan's jobs; where nobody else does, this process ``beats`` to tell other terminals what runs."""
    from harness.cli.live import RunView
    from harness.executors.base import Job
    from harness.results.record import failed
    from harness.stages.graph import PlannedCell

    class RecordingView(RunView):
        """Also writes the record of each failed cell at once."""

        def failed(self, job: Job, failure: Mapping[str, Any]) -> None:
            if isinstance(job.work, PlannedCell):
                store.write(failed(job.work, registry, failure))
            super().failed(job, failure)

    told = (store.work, plan.selected[0].cell.suite) if beats else None
    with RecordingView(console, plan.jobs, seconds, told).showing() as view:
        return executor.run(plan.jobs, view, max_failures)


def _check_options(
    on_cluster: bool, cluster: str | None, slurm: Sequence[str], detach: bool, workers: int | None
) -> None:
    """Options that would do nothing are errors."""
    from harness.errors import UserError

    useless = {"--cluster": cluster, "--slurm": slurm, "--detach": detach} if not on_cluster else {"--workers": workers}
    for name, given in useless.items():
        if given:
            raise UserError(
                f"{name} goes with --executor {'local' if on_cluster else 'slurm'}"
                + ("; how many jobs run at once is --slurm array_parallelism=N" if on_cluster else "")
            )


def _show_batches(batches: Sequence[Batch]) -> None:
    """The SLURM jobs that would be handed in, those that ask for the same in one line, and what they add up to."""
    from tabulate import tabulate

    from harness.formatting import duration

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
        longest = max(batch.seconds for batch in some)
        rows.append(
            {
                "jobs": len(some),
                "waiting for others": sum(bool(batch.after) for batch in some),
                "stages and evaluations": sum(len(batch.jobs) for batch in some),
                "partition": request.partition or "(default)",
                "nodes": nodes,
                "GPUs/node": request.gpus_per_node or 0,
                "processes": request.processes,
                "mem": request.mem or "(default)",
                "time limit": duration(60 * request.minutes),
                "longest, expected": duration(longest),
            }
        )
        hours += nodes * sum(batch.seconds for batch in some) / 3600
        limit += nodes * len(some) * request.minutes / 60
    click.echo(tabulate(rows, headers="keys"))
    click.echo(f"node-hours: about {hours:,.2f} expected, {limit:,.0f} asked for if every job ran to its time limit")


def _check_data(suite: Suite, plan: Plan) -> None:
    """Data that is missing ends a run before it begins; what can be built from what is there is built once, here."""
    cells = [job.work.cell for job in plan.jobs]
    for benchmark in {suite.benchmark(part) for cell in cells for part in (cell.training_part, cell.benchmark_part)}:
        if not all(path.exists() for path in benchmark.files()):
            benchmark.prepare(download=False)


def _show_plan(
    console: Console, suite: Suite, plan: Plan, store: ResultStore, workers: int | None
) -> Mapping[str, float]:
    """Say what will run; about how many seconds each stage takes. ``workers`` is None on a cluster."""
    from harness.executors.planning import REFERENCE, estimate, summary
    from harness.formatting import count, duration
    from harness.stages.store import StageStore

    text = "; ".join(summary(plan.graph, plan))
    console.print(f"[bold]{suite.name}[/bold]: {text}", highlight=False, soft_wrap=True)
    if plan.damaged:
        console.print(
            f"{count(len(plan.damaged), 'stage')} to be run again, damaged or of an older version: "
            f"{', '.join(map(str, plan.damaged[:3]))}{' ...' if len(plan.damaged) > 3 else ''}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if not plan.steps:
        return {}
    cost = estimate(plan, suite, StageStore(store.work))
    name, _, efficiency = REFERENCE
    hours = f", {cost.gpu_hours:,.0f} GPU-hours on {name} at {efficiency:.0%}" if cost.gpu_hours >= 1 else ""
    console.print(
        f"about {cost.tokens:.2e} training tokens or examples, {cost.flops:.1e} FLOPs{hours}; "
        + (f"{duration(cost.seconds / workers)} on {workers} workers here (from {cost.basis}); " if workers else "")
        + f"{cost.disk_bytes / 1e6:,.0f} MB of stages in {store.work}",
        highlight=False,
        soft_wrap=True,
    )
    return cost.stage_seconds


def _finish(console: Console, store: ResultStore, suite: Suite, interrupted: bool) -> None:
    """Write the leaderboards and show the suite's tables."""
    from rich.console import Console as Output

    from harness.report.leaderboard import terminal_tables, write_leaderboards

    paths = write_leaderboards(store, [suite.name])
    if not interrupted:
        terminal_tables(store, suite.name, Output())
    console.print("written: " + ", ".join(str(path) for path in paths), highlight=False, soft_wrap=True)


def _list_failures(console: Console, store: ResultStore, suite: Suite, failures: Mapping[str, str]) -> None:
    console.print(f"\n{len(failures)} cells have no result:", style="red", highlight=False)
    for name, message in failures.items():
        console.print(f"  {name}: {message.splitlines()[0]}", markup=False, highlight=False, soft_wrap=True)
        if (path := store.file(suite.name, "cells", name).path).is_file():
            console.print(f"    traceback: {path}", markup=False, highlight=False, soft_wrap=True)


def _suite_plan(suite: Suite, plan: Plan, overrides: Sequence[str], plugins: Sequence[Path]) -> SuitePlan:
    from harness.results.suite_plan import SuitePlan

    options = [*(f"--set={text}" for text in overrides), *(f"--plugin={path}" for path in plugins)]
    return SuitePlan(
        suite=suite.name,
        description=suite.description,
        path=str(suite.path),
        options=options,
        baselines={name: experiment.baseline for name, experiment in suite.experiments.items()},
        comparisons=suite.comparisons,
        cells=[planned.id for planned in plan.graph.cells],
    )


def _selection(only: Sequence[str], suite: Suite) -> Callable[[Cell], bool]:
    """Whether a cell matches any of the selectors; all cells if there are none."""
    from harness.errors import UserError, unknown_name
    from harness.suites.cell import Key
    from harness.suites.schema import Selector

    try:
        selectors = [Selector.parse(text) for text in only]
    except ValueError as error:
        raise UserError(f"--only: {error}") from error
    for text, selector in zip(only, selectors, strict=True):
        for key in Key._fields:
            known = {str(getattr(cell, key)) for cell in suite.cells}
            for value in selector.values(key):
                if str(value) not in known:
                    raise UserError(f"--only {text}: {unknown_name(key, str(value), known)}")
        if not any(selector.matches(cell) for cell in suite.cells):
            raise UserError(f"--only {text} matches no cell of {suite.name}: each of its parts does, but not together")
    return lambda cell: not selectors or any(s.matches(cell) for s in selectors)


def _default_workers(suite: Suite) -> int:
    from harness.machine import cores, gpus

    threads = max(cell.training.threads for cell in suite.cells)
    return gpus() or max(1, cores() // threads)


def _again() -> str:
    """The command that goes on: this one, without what would begin anew."""
    import shlex

    return shlex.join(["harness", *(word for word in sys.argv[1:] if word != "--force")])
