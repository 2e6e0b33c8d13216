"""``harness merge``: results of several machines in one folder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.cli.fitting import terminal_width
from harness.cli.not_counted import tell

EXAMPLES = """\b
Examples:
  harness merge laptop/results server/results -o results"""
_LISTED = 20


@click.command(epilog=EXAMPLES, short_help="Bring the results of several machines into one folder.")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FOLDER FOLDER...")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="A new results folder."
)
def command(folders: tuple[Path, ...], output: Path) -> None:
    """Bring the records, curves, masks and results by example of several results FOLDERs into a new one.

    A run that several folders have finished must be the same in them, to the bit on equal machines, within its error
    elsewhere; runs that are not are listed, and nothing is written. The folders themselves stay as they are.
    """
    from harness.errors import UserError
    from harness.formatting import count, fitted
    from harness.report.leaderboard import write_leaderboards
    from harness.results.merging import merged, write_merged
    from harness.results.store import ResultStore

    if len(folders) < 2:
        raise UserError("one folder is no merge: name two or more")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} is there already: choose another folder with -o")
    stores = [ResultStore(folder) for folder in folders]
    for store in stores:
        if not store.suites():
            raise UserError(f"no results in {store.root}")
    found = {suite: merged(stores, suite) for suite in sorted({name for store in stores for name in store.suites()})}
    conflicts = [f"{suite}: {cell}: {why}" for suite, one in found.items() for cell, why in one.conflicts.items()]
    tell([item for one in found.values() for item in one.left_out], "not taken")
    if conflicts:
        click.echo(f"{count(len(conflicts), 'run')} not the same in all folders; nothing was written:", err=True)
        for text in conflicts[:_LISTED]:
            click.echo(fitted(f"  {text}", terminal_width()), err=True)
        if len(conflicts) > _LISTED:
            click.echo(f"  {len(conflicts) - _LISTED} more", err=True)
        click.echo("Remove the record that is wrong, or leave its folder out.", err=True)
        sys.exit(1)
    target = ResultStore(output)
    for suite, one in found.items():
        write_merged(one, target, suite)
        again = f", {one.twice} of them in several folders" if one.twice else ""
        click.echo(f"{suite}: {count(len(one.cells), 'run')}{again}")
    for path in write_leaderboards(target):
        click.echo(f"written: {path}")
