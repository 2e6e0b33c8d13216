"""``harness run``: fill a suite's comparison matrix."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import show_warnings
from harness.cli.fitting import terminal_width, wide_option
from harness.cli.not_counted import list_runs
from harness.cli.parameters import Choice

if TYPE_CHECKING:
    from rich.console import Console

    from harness.executors.base import Executor
    from harness.executors.planning import Plan
    from harness.results.store import LeftOut, ResultStore
    from harness.results.suite_plan import SuitePlan
    from harness.results.tuned_method import TunedMethod
    from harness.suites.cell import Cell, Key
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
    "--workers", type=click.IntRange(1), help="Worker processes.  [one per GPU, else cores / threads of a run]"
)
@click.option("--only", multiple=True, metavar="SELECTOR", help="Only matching runs: method=genome,seed=0; repeatable.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the suite; repeatable.")
@click.option("--plugin", "plugins", multiple=True, type=click.Path(path_type=Path), help="Load a single-file plugin.")
@click.option("--dry-run", is_flag=True, help="Show the plan and its cost; run only a few steps, to time them.")
@click.option("--hashes", is_flag=True, help="With --dry-run: list every stage and result by its hash.")
@wide_option
@click.option("--force", is_flag=True, help="Forget the selected runs' results first and run them anew.")
@click.option("--max-failures", type=click.IntRange(1), help="Start nothing new after so many failures.")
@click.option("--checkpoint-minutes", type=click.FloatRange(0), default=5.0, help="Time between checkpoints.  [5]")
@click.option(
    "--executor", type=Choice(["local", "slurm"]), default="local", help="Where to run: here, or on a cluster."
)
@click.option("--cluster", metavar="NAME", help="Cluster profile: ~/.config/harness/clusters/NAME.yaml.")
@click.option("--slurm", multiple=True, metavar="KEY=VALUE", help="Ask the cluster for: time=8:00:00; repeatable.")
@click.option(
    "--log",
    "loggers",
    multiple=True,
    metavar="LOGGER",
    help="Also log to this program: tensorboard, trackio, wandb; repeatable.  [$HARNESS_LOG]",
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
    hashes: bool,
    wide: bool,
    force: bool,
    max_failures: int | None,
    checkpoint_minutes: float,
    executor: str,
    cluster: str | None,
    slurm: Sequence[str],
    loggers: Sequence[str],
    detach: bool,
) -> None:
    """Make every result of SUITE that is not there yet, then write and show its leaderboard.

    Finished work is never done again. Stopped by Ctrl-C, kill -9 or a power cut, the same command goes on
    from the last checkpoints. A run that fails does not stop the others; the exit code is then 1, as where a primary
    score is no finite number.

    Where SUITE tunes settings, the trials run first, then the runs with the settings that they have chosen.

    With --executor slurm the work goes to a cluster, as job arrays that wait for each other. Ctrl-C then only stops
    watching; the same command watches again, and hands in what is missing.
    """
    from harness.extras import require

    require("torch", *(["submitit"] if executor == "slurm" and not dry_run else []), what="harness run")
    if executor == "local":
        from harness.executors.fork_server import workers_context

        workers_context()  # its server imports what workers need while this process imports what it needs
    from importlib import import_module
    from threading import Thread

    from harness.cli.console import plain_console
    from harness.cli.execution import execute, prepare_data
    from harness.cli.plan_summary import cost_of, show_plan, waiting
    from harness.errors import UserError
    from harness.executors import slurm_queue
    from harness.executors.local import LocalExecutor
    from harness.executors.packs import mark_packs
    from harness.executors.planning import forget, make_plan
    from harness.executors.slurm import SlurmExecutor
    from harness.executors.submitter import Submitter
    from harness.executors.tuning import settle
    from harness.machine import gpus
    from harness.registry.plugins import load
    from harness.results.run_log import choose
    from harness.results.store import ResultStore
    from harness.stages.graph import compile_graph
    from harness.suites.slurm_options import resolve
    from harness.suites.suite import load_suite

    console = plain_console(stderr=True)
    on_cluster = executor == "slurm"
    _check_options(on_cluster, cluster, slurm, detach, workers)
    if hashes and not dry_run:
        raise UserError("--hashes goes with --dry-run")
    registry = load(plugins)
    choose(loggers, registry)
    loaded = load_suite(suite, registry, overrides, dry=dry_run)
    show_warnings(loaded.outdated)
    options = resolve(loaded.slurm, cluster, slurm) if on_cluster else None
    store = ResultStore(results)
    count = options.array_parallelism if options else workers or _default_workers(loaded)
    if (other := _another_file(store, loaded)) is not None:
        show_warnings(
            [
                f"{store.root / loaded.name} holds results of {other}, a suite of the same name: they stay there, and "
                f"what {suite} does not ask for is left out of its tables. Give one of the two another name, name: ..."
            ]
        )
    current, tuned = settle(loaded, store)
    if dry_run:
        from harness.cli.dry_run import show_dry_run

        selected = _selection(only, current)
        show_dry_run(console, current, store, selected, force, hashes, terminal_width(wide), count, options)
        return
    if options:
        slurm_queue.check(results.resolve())
    while True:  # once, and where settings are tuned once more with those that the trials have chosen
        plan = make_plan(compile_graph(current.cells, registry), store, _selection(only, current), force)
        mark_packs(plan, current)
        cost = cost_of(loaded, plan, store, here=not options)
        seconds = cost.job_seconds if cost else {}
        show_plan(console, current, plan, store, cost, count, options)
        prepare_data(loaded, plan)
        store.keep_work_out_of_git()
        store.write_plan(loaded.name, _suite_plan(current, plan, tuned, overrides, plugins))
        if force:
            forget(plan, store)
        interrupted, failures = False, _failures(plan, plan.diverged)
        if plan.jobs:
            # Half a second of imports, while workers run.
            Thread(target=import_module, args=["harness.report.leaderboard"]).start()
            if options:
                submitter = Submitter(
                    results.resolve(), loaded.name, options, seconds, plugins, checkpoint_minutes * 60
                )
                runs: Executor = SlurmExecutor(submitter, detach)
            else:
                runs = LocalExecutor(results.resolve(), count, gpus(), plugins, checkpoint_minutes * 60)
            outcome = execute(runs, console, plan, store, registry, seconds, max_failures, beats=not options)
            failures |= _failures(plan, outcome.failures)
            interrupted = outcome.interrupted
            if outcome.detached:
                _say_how_to_go_on(console, store, loaded, outcome.left, waiting(current) if current.pending else "")
                if failures:
                    list_runs(console, failures, "no result", store.root / loaded.name / "cells")
                sys.exit(1 if failures or outcome.left else 0)
        settled, tuned = settle(loaded, store)
        enough = max_failures is not None and len(failures) >= max_failures
        if interrupted or enough or settled.choices == current.choices:
            break
        current, force = settled, False
    left = _finish(console, store, loaded, None if interrupted else plain_console(), terminal_width(wide))
    if interrupted:
        click.echo(f"stopped; to go on: {_again()}", err=True)
        sys.exit(130)
    if current.pending and not only:
        click.echo(waiting(current), err=True)
    cells = {planned.id for planned in plan.selected}
    unscored = {item.cell: item.reason for item in left if item.unscored and item.cell in cells}
    if unscored:
        list_runs(console, unscored, "no primary score")
    if failures:
        list_runs(console, failures, "no result", store.root / loaded.name / "cells")
    if failures or unscored:
        sys.exit(1)


def _say_how_to_go_on(console: Console, store: ResultStore, suite: Suite, left: int, waiting: str) -> None:
    """After all, or all but so many jobs as are ``left``, have been handed in to a cluster."""
    from harness.formatting import count

    lines = [f"harness status {suite.name} --results {store.root} shows how far it is"]
    if left:
        lines.append(f"not handed in: {count(left, 'job')}; run the same command again later")
    if waiting:
        lines.append(f"{waiting}: run the same command again then")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _failures(plan: Plan, found: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Of selected cells, what failed by name; a trial that diverged is a result, the worst one."""
    trials = {planned.id for planned in plan.selected if planned.cell.trial}
    cells = {planned.id for planned in plan.selected}
    return {
        name: str(failure["message"])
        for name, failure in found.items()
        if name in cells and not (name in trials and failure["type"] == "Diverged")
    }


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


def _finish(
    console: Console, store: ResultStore, suite: Suite, tables: Console | None, width: int | None
) -> list[LeftOut]:
    """Write the leaderboards and show the suite's tables, None for not; what of it is not counted."""
    from harness.report.leaderboard import terminal_tables, write_leaderboards

    left: list[LeftOut] = []
    paths = write_leaderboards(store, [suite.name], left.extend)
    if tables is not None:
        terminal_tables(store, suite.name, tables, width)
    for path in paths:
        console.print(f"written: {path}", highlight=False, soft_wrap=True)
    return left


def _another_file(store: ResultStore, suite: Suite) -> Path | None:
    """The file of another suite that has the same name and was run into the same folder; None if there is none."""
    plan = store.plan(suite.name)
    before = Path(plan.path) if plan and plan.path else None
    return before if before is not None and before.is_file() and not before.samefile(suite.path) else None


def _suite_plan(
    suite: Suite, plan: Plan, tuned: Sequence[TunedMethod], overrides: Sequence[str], plugins: Sequence[Path]
) -> SuitePlan:
    from harness.results.suite_plan import MaskPairs, SuitePlan
    from harness.suites.mask_pairs import told

    names = {planned.cell.key: planned.id for planned in plan.graph.cells}
    agreements = [
        MaskPairs(
            first=told(first),
            second=told(second),
            cells=[(names[a.key], names[b.key]) for a, b in pairs if a.key in names and b.key in names],
        )
        for first, second, pairs in suite.agreements_asked
    ]
    options = [*(f"--set={text}" for text in overrides), *(f"--plugin={path}" for path in plugins)]
    return SuitePlan(
        suite=suite.name,
        description=suite.description,
        path=str(suite.path),
        options=options,
        baselines={name: experiment.baseline for name, experiment in suite.reported.items()},
        comparisons=suite.comparisons,
        agreements=agreements,
        networks=suite.networks_asked,
        cells=[planned.id for planned in plan.graph.cells],
        tuning=list(tuned),
        waiting=len(suite.pending),
    )


def _selection(only: Sequence[str], suite: Suite) -> Callable[[Cell | Key], bool]:
    """Whether a cell matches any of the selectors, or must run before one that does; all cells if there are none."""
    from harness.errors import UserError, unknown_name
    from harness.executors.tuning import with_trials
    from harness.suites.cell import Key
    from harness.suites.schema import Selector

    try:
        given = [Selector.parse(text) for text in only]
    except ValueError as error:
        raise UserError(f"--only: {error}") from error
    cells = [*suite.cells, *suite.pending, *suite.unplanned]
    selectors = [
        one.model_copy(update={"method": [row for label in one.values("method") for row in suite.rows_of(label)]})
        for one in given
    ]
    for text, selector in zip(only, selectors, strict=True):
        for key in Key._fields:
            known = {str(getattr(cell, key)) for cell in cells}
            for value in selector.values(key):
                if str(value) not in known:
                    raise UserError(f"--only {text}: {unknown_name(key, str(value), known)}")
        if not any(selector.matches(cell) for cell in cells):
            raise UserError(f"--only {text} matches no run of {suite.name}: each of its parts does, but not together")
    return with_trials(suite, lambda cell: not selectors or any(s.matches(cell) for s in selectors))


def _default_workers(suite: Suite) -> int:
    from harness.machine import cores, gpus

    threads = max(cell.training.threads for cell in suite.cells)
    return gpus() or max(1, cores() // threads)


def _again() -> str:
    """The command that goes on: this one, without what would begin anew."""
    import shlex

    return shlex.join(["harness", *(word for word in sys.argv[1:] if word != "--force")])
