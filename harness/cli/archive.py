"""``harness archive``: pack the finished cells of suites into a few files."""

from __future__ import annotations

from pathlib import Path

import click

EXAMPLES = """\b
Examples:
  harness archive quickstart
  harness archive quickstart --unpack"""


@click.command(epilog=EXAMPLES, short_help="Pack a suite's finished runs into four files.")
@click.argument("suites", nargs=-1, required=True, metavar="SUITE...")
@click.option("--unpack", is_flag=True, help="Make files of the runs again, byte for byte.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def command(suites: tuple[str, ...], unpack: bool, results: Path) -> None:
    """Pack the records, curves, masks, samples and results by example of a SUITE's finished runs into four files.

    All commands read them there as before, beside those of runs that go on. Equal results give equal files. Runs that
    have failed, and those that the suite no longer has, stay as they are.
    """
    from harness.cli.find import find_suites
    from harness.formatting import count
    from harness.results import packing
    from harness.results.store import ResultStore

    store = ResultStore(results)
    for suite in find_suites(store, suites):
        if unpack:
            click.echo(f"{suite}: {count(packing.unpack(store, suite), 'file')} unpacked")
            continue
        done = packing.pack(store, suite)
        size = sum(path.stat().st_size for path in done.files)
        files = f"{count(len(done.files), 'file')}, {size / 1e6:.1f} MB"
        click.echo(f"{suite}: {count(done.cells, 'run')} in {files}; {count(done.removed, 'loose file')} removed")
        for cell, reason in done.left.items():
            click.echo(f"  stays as a file: {cell}: {reason}")
