"""``harness reproduce``: run one cell again from its record alone, and compare."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import plugin_option

if TYPE_CHECKING:
    from rich.console import Console

    from harness.registry.plugins import Registry
    from harness.results.agreement import Agreement
    from harness.results.cell_record import CellRecord
    from harness.results.store import ResultStore
    from harness.stages.graph import PlannedCell

SUITE = "reproduce.yaml"


@click.command(
    short_help="Repeat one run from its record and compare.",
    epilog="""\b
Examples:
  harness reproduce quickstart/digits.skip_mlp.digits.genome.s0
  harness reproduce genome.s0 --output /tmp/again
  harness reproduce main.net.points.mine.s0 --plugin mine.py
""",
)
@click.argument("cell", metavar="RUN")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the new results, which is kept.  [a temporary one, removed if everything is equal]",
)
@plugin_option
def command(cell: str, results: Path, output: Path | None, plugin_files: tuple[Path, ...]) -> None:
    """Repeat RUN in a fresh folder, with what its record says and nothing else, and say what is equal.

    RUN is named as for harness show. Runs whose density it takes, or whose network it starts from, are repeated too.

    On an equal machine with equal software all scores, counts and masks must be equal to the last bit. On another one
    scores must be within 3 standard errors over their examples (5 % where there are none). The exit code is 1 if they
    are not. What the harness itself counts (FLOPs, say) must be equal where the code is the same revision.
    """
    from harness.cli.console import plain_console
    from harness.cli.find import find_cell
    from harness.errors import UserError
    from harness.registry.plugins import load
    from harness.results.rerun import chain, suite_of
    from harness.results.store import ResultStore

    store, registry = ResultStore(results), load(plugin_files)
    suite, name = find_cell(store, cell)
    if not store.file(suite, "cells", name).exists:
        raise UserError(f"{name} has no result yet; harness status shows how far its suite is")
    records = chain(store, suite, name)
    text = json.dumps(suite_of(records, registry), indent=2, ensure_ascii=False)
    place = _place(store, suite)
    folder = _folder(output, f"# Made by harness reproduce from the record of {name}.\n{text}\n")
    try:
        again, planned = _run(records, folder, registry, plugin_files, plain_console(stderr=True), place)
    except UserError:  # nothing has run yet
        if output is None:
            shutil.rmtree(folder)
        raise
    if again is None:
        click.echo(f"stopped; to go on: harness reproduce {cell} --results {results} --output {folder}", err=True)
        sys.exit(130)
    equal = _report(records[0], again, planned, store, ResultStore(folder))
    if output is None and equal:
        shutil.rmtree(folder)
    else:
        click.echo(f"The new results are in {folder}.")
    if not equal:
        sys.exit(1)


def _place(store: ResultStore, suite: str) -> Path | None:
    """The folder of the suite's own file, where that is here: paths in records are relative to it."""
    plan = store.plan(suite)
    return Path(plan.path).parent if plan and plan.path and Path(plan.path).is_file() else None


def _folder(output: Path | None, suite: str) -> Path:
    """The fresh folder, with the suite in it; one where the same suite was begun will do."""
    from harness.errors import UserError
    from harness.storage.atomic_files import write_text

    if output is None:
        output = Path(tempfile.mkdtemp(prefix="harness-reproduce-"))
    path = output / SUITE
    begun = path.is_file() and path.read_text(encoding="utf8") == suite
    if not begun and output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output} is not empty: name another folder with --output, or none for a temporary one")
    write_text(path, suite)
    return output


def _run(
    records: Sequence[CellRecord],
    folder: Path,
    registry: Registry,
    plugins: Sequence[Path],
    console: Console,
    place: Path | None,
) -> tuple[CellRecord | None, PlannedCell]:
    """Run the first of the cells, and what it needs of the others; no record if that was interrupted."""
    from harness.cli.execution import execute, prepare_data
    from harness.errors import HarnessError, UserError
    from harness.executors.local import LocalExecutor
    from harness.executors.planning import make_plan
    from harness.machine import gpus
    from harness.results.rerun import changed, labels
    from harness.results.store import LeftOut, ResultStore
    from harness.stages.graph import compile_graph
    from harness.suites.suite import load_suite

    loaded = load_suite(folder / SUITE, registry, folder=place)
    graph = compile_graph(loaded.cells, registry)
    planned = {tuple(getattr(one.cell, kind) for kind in labels(records[0])): one for one in graph.cells}
    cells = [planned[tuple(labels(record).values())] for record in records]
    for record, cell in zip(records, cells, strict=True):
        if differs := changed(record, cell, registry):
            raise UserError(
                f"{record.cell} cannot be run again as it was: {'; '.join(differs)}. Take what it was made with, or "
                "run its suite for results of what is here now"
            )
    store = ResultStore(folder)
    plan = make_plan(graph, store, lambda cell: cell is cells[0].cell)
    prepare_data(loaded, plan)
    console.print(f"{records[0].cell}: {plan.steps:,} steps, in {folder}", highlight=False, soft_wrap=True)
    if cells[0].id != records[0].cell:
        text = "note: this version of the harness plans it under another hash, so that it may compute something else"
        console.print(text, highlight=False)
    for record in records[1:]:
        console.print(f"  builds on {record.cell}", highlight=False, soft_wrap=True)
    if plan.jobs:
        executor = LocalExecutor(folder.resolve(), 1, gpus(), plugins)
        outcome = execute(executor, console, plan, store, registry, {}, None, beats=False)
        if outcome.interrupted:
            return None, cells[0]
        for failure in outcome.failures.values():
            raise HarnessError(f"{records[0].cell} has failed this time: {failure['message']} (in {folder})")
    found = store.record(cells[0].cell.suite, cells[0].id)
    if isinstance(found, LeftOut):
        raise HarnessError(f"{found.path} {found.reason}")
    return found, cells[0]


def _report(was: CellRecord, now: CellRecord, planned: PlannedCell, store: ResultStore, new: ResultStore) -> bool:
    """Print what is equal and what is not; whether everything is that must be."""
    from harness.cli.console import plain_console
    from harness.cli.fitting import terminal_width
    from harness.formatting import fitted
    from harness.report.tables import Column, Table, print_table
    from harness.results.agreement import ERRORS, SHARE, agreements, environments, exact, failing, other_machine

    found = [*agreements(was, now), *_files(was, now, store, new)]
    differences = environments(was, now)
    wrong = failing(found, was, now, differences)
    known = [one for one in found if one.was is not None]
    shown = [one for one in known if one.tolerance is not None or not one.equal]
    equal = [one.name for one in known if one not in shown]
    rows = [[one.name, _text(one.was), _text(one.now), _difference(one)] for one in shown]
    columns = [Column(""), *(Column(name, right=True) for name in ("record", "again", "difference"))]
    console = plain_console()
    print_table(Table(was.cell, columns, rows), console, terminal_width())

    def say(text: str) -> None:
        click.echo(fitted(text, terminal_width()))

    if equal:
        say(f"equal: {', '.join(equal)}")
    if unknown := [one.name for one in found if one.was is None and one.now is not None]:
        say(f"not in the record: {', '.join(unknown)}")
    for name, (then, today) in differences.items():
        say(f"otherwise: {name} was {then}, is {today}")
    names = ", ".join(one.name for one in wrong)
    if all(one.equal for one in known):
        say("Reproduced: everything that the record knows is equal, to the last bit.")
    elif exact(now, differences) and not wrong:
        say("Reproduced: all results are equal to the last bit; what differs is time, or how another revision counts.")
    elif exact(now, differences):
        say(f"Not reproduced: on an equal machine these must be equal: {names}.")
    else:
        machine = ", ".join(other_machine(differences))
        why = f"not known to be an equal machine ({machine})" if machine else "this device does not repeat its sums"
        within = f"{ERRORS:g} standard errors of the record ({SHARE:.0%} where there are none): {why}"
        say(f"Not reproduced: {names} not within {within}." if wrong else f"Reproduced: all scores within {within}.")
    return not wrong


def _files(was: CellRecord, now: CellRecord, store: ResultStore, new: ResultStore) -> Iterator[Agreement]:
    """Hashes, and the files beside the records."""
    from harness.results.agreement import Agreement

    yield Agreement("masks", _masks(store, was), _masks(new, now))
    yield Agreement("curves", store.series(was.suite, was.cell), new.series(now.suite, now.cell), "account")
    old, again = (one.samples.sha256 if one.samples else None for one in (was, now))
    yield Agreement("samples", old, again, "account")
    yield Agreement("stage hashes", was.stages or None, now.stages, "account")
    yield Agreement("hash of the run", was.cell, now.cell, "account")


def _masks(store: ResultStore, record: CellRecord) -> str | None:
    """Digest of all bits that are kept of a cell's masks; None if there are none."""
    from harness.results import mask_pictures

    if not record.stages:
        return None
    digest = hashlib.sha256()
    try:
        masks = mask_pictures.read(store.file(record.suite, "masks", record.stages[-1]).read())
    except FileNotFoundError:
        return None
    for name, mask in masks.items():
        digest.update(f"{name} {mask.shape} {mask.kept} ".encode() + mask.bits.tobytes())
    return digest.hexdigest()


def _text(value: Any) -> str:
    """Numbers to ten digits, anything else as a digest."""
    from pydantic_core import to_jsonable_python

    if value is None:
        return "none"
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:.10g}"
    return hashlib.sha256(json.dumps(to_jsonable_python(value)).encode()).hexdigest()[:12]


def _difference(one: Agreement) -> str:
    if one.equal:
        return "equal"
    numbers = all(isinstance(value, int | float) for value in (one.was, one.now))
    return f"{one.now - one.was:+.3g}" if numbers else "not equal"
