"""``harness data``: which data is on this machine, fetching it, checking it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tabulate import tabulate

from harness.cli import data_option, plugin_option, show_warnings
from harness.errors import HarnessError, UserError
from harness.registry.plugins import Registry, load
from harness.storage.data_directory import data_directory

if TYPE_CHECKING:
    from pydantic import BaseModel

    from harness.core.benchmark import Benchmark
    from harness.suites.named_files import NamedFiles


@click.group(
    name="data",
    short_help="List, fetch and check the data of benchmarks.",
    epilog="""\b
Examples:
  harness data list
  harness data prepare suites/quickstart.yaml
  harness data verify --data /scratch/data""",
)
def command() -> None:
    """List, fetch and check the data of benchmarks.

    NAME is a benchmark, or the path of a suite, which stands for all of its benchmarks. Without NAME:
    every registered benchmark.
    """


names_argument = click.argument("names", nargs=-1, metavar="[NAME]...")


@command.command("list", epilog="\b\nExample:\n  harness data list")
@names_argument
@plugin_option
@data_option
def list_data(names: tuple[str, ...], plugin_files: tuple[Path, ...]) -> None:
    """Show which data is here, with its size: ready, missing, or part of an installed package.

    A size with ~ is about what missing data will take, where that is known. Folders are below the data directory unless
    they begin with a slash.
    """
    rows = []
    for label, benchmark, _ in _benchmarks(names, load(plugin_files)):
        try:
            files = benchmark.files()
            rows.append([label, state_of(files), _size(benchmark, files), str(_folder(files))])
        except HarnessError as error:
            click.echo(f"{label}: {error}", err=True)
            rows.append([label, "cannot be used", "-", "-"])
    click.echo(f"data directory: {data_directory()}\n")
    click.echo(tabulate(rows, headers=["benchmark", "state", "size", "folder"]))


@command.command("prepare", epilog="\b\nExample:\n  harness data prepare suites/quickstart.yaml")
@names_argument
@plugin_option
@data_option
@click.pass_context
def prepare(ctx: click.Context, names: tuple[str, ...], plugin_files: tuple[Path, ...]) -> None:
    """Fetch or build what is missing; does nothing where it is there."""
    failed = False
    for label, benchmark, files in _benchmarks(names, load(plugin_files)):
        try:
            with files.explained() if files else nullcontext():
                benchmark.prepare(download=True)
        except HarnessError as error:
            failed = True
            click.echo(f"{label}: {error}", err=True)
        else:
            click.echo(f"{label}: {state_of(benchmark.files())}{_lacking(benchmark)}")
    ctx.exit(2 if failed else 0)


@command.command("verify", epilog="\b\nExample:\n  harness data verify --data /scratch/data")
@names_argument
@plugin_option
@data_option
@click.pass_context
def verify(ctx: click.Context, names: tuple[str, ...], plugin_files: tuple[Path, ...]) -> None:
    """Check files against their checksums; exit 1 if anything is wrong."""
    sound = True
    for label, benchmark, _ in _benchmarks(names, load(plugin_files)):
        state = "cannot be used"
        try:
            state = state_of(benchmark.files())
            problems = list(benchmark.verify()) if state != "missing" else []
        except HarnessError as error:
            problems = [str(error)]
        for problem in problems:
            click.echo(f"{label}: {problem}")
        if not problems:
            click.echo(f"{label}: {'not here, nothing to check' if state == 'missing' else 'ok'}")
        # What was asked for by name must be there; in a sweep over everything it need not be.
        sound = sound and not problems and not (names and state == "missing")
    ctx.exit(0 if sound else 1)


def _lacking(benchmark: Benchmark[Any]) -> str:
    """What data that are there are not enough for, in words."""
    try:
        empty = bool(benchmark.metrics) and benchmark.examples("test") == 0
    except HarnessError as error:
        return f", but it can only be trained on: {error}"
    return ", but it can only be trained on: it has no test examples" if empty else ""


def _benchmarks(names: Sequence[str], registry: Registry) -> Iterator[tuple[str, Benchmark[Any], NamedFiles | None]]:
    """Label and benchmark for each name, in order, equal ones once; all of them where no name is given.

    Those of a suite come with the files that it names.
    """
    from harness.suites.suite import Suite

    if not names:
        yield from ((label, benchmark, None) for label, benchmark in registered_benchmarks(registry))
    for name in dict.fromkeys(names):
        if name.endswith((".yaml", ".yml")):
            # Not load_suite: expanding into cells needs the very data that is to be fetched.
            suite = Suite(Path(name), registry)
            show_warnings(suite.outdated)
            yield from {id(b): (part.label, b, part.files) for part, b in suite.benchmarks()}.values()
        else:
            cls = registry.get("benchmark", name)
            yield name, cls(_options(name, cls)), None


def registered_benchmarks(registry: Registry) -> Iterator[tuple[str, Benchmark[Any]]]:
    """Every registered benchmark with default options; one that cannot be made is reported and left out."""
    for registered in registry.entries("benchmark"):
        name = registered.entry.name
        try:
            cls = registry.get("benchmark", name)
            yield name, cls(_options(name, cls))
        except HarnessError as error:
            click.echo(f"{name}: left out: {error}", err=True)


def _options(name: str, cls: type[Any]) -> BaseModel:
    from harness.cli.describe import default_options

    try:
        return default_options(cls)
    except UserError as error:
        raise UserError(f"benchmark '{name}' {error}: name a suite file that sets it instead") from error


def state_of(files: Sequence[Path]) -> str:
    """Whether a benchmark's files are here, in words."""
    if not files:
        return "comes with a package"
    return "ready" if all(path.exists() for path in files) else "missing"


def _size(benchmark: Benchmark[Any], files: Sequence[Path]) -> str:
    """What the files take, or are going to take."""
    from harness.formatting import size

    if state_of(files) == "ready":
        return size(sum(_stored(path) for path in files))
    expected = benchmark.disk_bytes() if files else None
    return "-" if expected is None else f"~{size(expected)}"


def _stored(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(
        entry.stat().st_size for folder, _, _ in os.walk(path) for entry in os.scandir(folder) if entry.is_file()
    )


def _folder(files: Sequence[Path]) -> Path | str:
    """Where those are that lie in the data directory, relative to it; else where all are."""
    if not files:
        return "-"
    data = data_directory().absolute()
    inside = [path.absolute().relative_to(data) for path in files if path.absolute().is_relative_to(data)]
    return Path(os.path.commonpath([path.parent for path in inside or files]) or ".")
