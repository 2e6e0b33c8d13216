"""``harness verify``: whether everything in a results folder agrees with everything else."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.fitting import terminal_width, wide_option

if TYPE_CHECKING:
    from harness.report.recomputed import Recomputed
    from harness.report.tables import Table
    from harness.results.integrity import Integrity

_SHOWN = 20
"""Result files that are named."""


@click.command(
    short_help="Recompute every table from the results and compare.",
    epilog="\b\nExamples:\n  harness verify\n  harness verify --results /tmp/try",
)
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--claims", type=click.Path(path_type=Path), default=Path("claims"), show_default=True)
@click.option("--suites", type=click.Path(path_type=Path), default=Path("suites"), show_default=True)
@wide_option
def command(results: Path, claims: Path, suites: Path, wide: bool) -> None:
    """Read every result file, make all leaderboards, figures and claims again elsewhere, and compare them byte for byte
    with those that stand in the results folder.

    Archives must have their checksums, records be valid, masks and samples be those that the records count. Nothing is
    changed. The exit code is 1 where anything differs.
    """
    from tempfile import TemporaryDirectory

    from harness.cli.console import plain_console
    from harness.errors import UserError
    from harness.report.recomputed import recomputed
    from harness.report.tables import print_table
    from harness.results.integrity import integrity
    from harness.results.store import ResultStore

    store = ResultStore(results)
    if not store.suites():
        raise UserError(f"no results in {results}: run a suite first, or name the folder with --results")
    files = {suite: integrity(store, suite) for suite in store.suites()}
    with TemporaryDirectory(prefix="harness-verify-") as folder:
        pages = recomputed(store, claims, suites, Path(folder))
    console = plain_console()
    print_table(_table(files, pages), console, terminal_width(wide))
    damaged = [f"{suite}: {problem}" for suite, found in files.items() for problem in found.problems]
    for problem in damaged[:_SHOWN]:
        click.echo(problem)
    differences = {name: lines for found in pages.values() for name, lines in found.differences.items()}
    if differences:
        click.echo("pages that differ (- as it stands, + as the results give it):")
    for name, lines in differences.items():
        click.echo("\n    ".join([f"  {name}", *lines]))
    if damaged:
        more = f"{len(damaged) - _SHOWN:,} more are wrong; " if len(damaged) > _SHOWN else ""
        click.echo(f"result files: {more}take those from version control or another copy, or make those results again")
    if differences:
        click.echo(f"pages: {_repair(results)} writes them again")
    if damaged or differences:
        sys.exit(1)
    click.echo("Everything agrees: these results give every page, byte for byte.")


def _table(files: Mapping[str, Integrity], pages: Mapping[str, Recomputed]) -> Table:
    from harness.formatting import count
    from harness.report.tables import NONE, Column, Table

    names = ("records", "curves", "masks", "samples", "wrong")
    rows = [
        [suite, *(f"{n:,}" for n in (f.records, f.curves, f.masks, f.samples, len(f.problems))), _pages(pages[suite])]
        for suite, f in files.items()
    ]
    rows.append(["all suites", *(NONE for _ in names), _pages(pages[""])])
    columns = [Column("suite", names=True), *(Column(name, 1, right=True) for name in names), Column("pages")]
    notes = [f"{suite}: {count(f.missing, 'planned run')} without a record." for suite, f in files.items() if f.missing]
    notes += [f"{suite}: samples of {count(f.absent, 'run')} are not here." for suite, f in files.items() if f.absent]
    return Table("Result files that were read, and pages that were made again from them", columns, rows, notes)


def _pages(found: Recomputed) -> str:
    return f"{len(found.equal):,} equal" + (f", {len(found.differences):,} not" if found.differences else "")


def _repair(results: Path) -> str:
    """The commands that write all pages."""
    if results == Path("results"):
        return "make results"
    claims = f"harness claims --results {results}; " if (results / "CLAIMS.md").is_file() else ""
    return f"{claims}harness leaderboard --results {results}"
