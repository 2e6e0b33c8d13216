"""``harness clean``: remove what nobody needs any more from a results folder."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.fitting import terminal_width

if TYPE_CHECKING:
    from harness.executors.cleaning import Cleaning

EXAMPLES = """\b
Examples:
  harness clean
  harness clean --yes
  harness clean --suite quickstart --records
"""
_LISTED = 10
"""Things of a kind that are named before the rest is only counted."""


@click.command(epilog=EXAMPLES, short_help="Remove superseded results and stages; lists them unless told --yes.")
@click.option("--suite", metavar="NAME", help="Only what is this suite's.")
@click.option("--records", is_flag=True, help="Only superseded results, and leftovers.")
@click.option("--stages", is_flag=True, help="Only stages and checkpoints, and leftovers.")
@click.option("--yes", is_flag=True, help="Remove it. Without this nothing is changed.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def command(suite: str | None, records: bool, stages: bool, yes: bool, results: Path) -> None:
    """List what nobody needs any more in a results folder, and with --yes remove it.

    Superseded results: records, curves, masks, samples and results by example of runs that their suite.json no longer
    names, packed ones too. Stages and checkpoints in .work that no record and no planned run needs: those of records
    stay, because more methods, exports and matched runs start from them, and so do those of runs that are still to
    be run. Temporary files that are older than an hour. Leases and heartbeats of dead processes.

    Nothing is touched that a living run, process or SLURM job may use: what is left alone is said, with the reason.
    """
    from harness.cli.find import find_suite
    from harness.errors import UserError
    from harness.executors.cleaning import find, remove
    from harness.formatting import count, fitted
    from harness.results.store import ResultStore

    store = ResultStore(results)
    if not store.suites() and not store.work.is_dir():
        raise UserError(f"no results in {results}: name the folder with --results")
    if suite is not None:
        suite = find_suite(store, suite)
    every = records == stages
    found = find(store, suite, records or every, stages or every)
    sizes = {path: _size(path) for path in _paths(found)}
    tracked = _tracked(results, found)
    done = remove(store, found) if yes else found

    def say(text: str) -> None:
        click.echo(fitted(text, terminal_width()))

    if not done.empty:
        say("removed:" if yes else "would be removed:")
    for name, lines in _groups(done, sizes).items():
        say(f"  {name}")
        for line in lines[:_LISTED]:
            say(f"    {line}")
        if len(lines) > _LISTED:
            say(f"    {len(lines) - _LISTED} more")
    for text in [*(found.kept if yes else ()), *done.kept]:
        say(f"left alone: {text}")
    if found.needed:
        say(f"kept: {count(found.needed, 'stage')} that records or planned runs need")
    if tracked and not done.empty:
        say(f"git tracks {tracked:,} of these files: git restore brings back what was committed of them")
    if done.cells and not yes:
        say("Superseded results count again when their suite is run as it was then; once removed, they are made again.")
    if found.empty:
        say("Nothing to remove.")
    elif not yes:
        say("Nothing was removed: the same command with --yes does it.")
    elif done.cells:  # pages count superseded files
        from harness.report.leaderboard import write_leaderboards

        for path in write_leaderboards(store, list(done.cells)):
            say(f"written: {path}")


def _groups(found: Cleaning, sizes: Mapping[Path, int]) -> dict[str, list[str]]:
    """Headings with number and size -> what is named below."""
    from harness.formatting import count, size
    from harness.report.cell_names import cell_names

    def weighed(paths: Iterable[Path]) -> str:
        return size(sum(sizes.get(path, 0) for path in paths))

    groups: dict[str, list[str]] = {}
    for suite, gone in found.cells.items():
        packed = f", {len(gone.packed):,} of them in the archive" if gone.packed else ""
        loose = f"{count(len(gone.files), 'loose file')}, {weighed(gone.files)}"
        what = f"superseded results of {suite}: {count(len(gone.cells), 'record')}{packed}; {loose}"
        groups[what] = cell_names(gone.cells).split(", ") if gone.cells else []
    if found.stages:
        lines = [f"{path.name}  {weighed([path])}" for path in found.stages]
        groups[f"stages that nobody needs: {len(found.stages):,}, {weighed(found.stages)}"] = lines
    if found.files:
        groups[f"leftovers: {count(len(found.files), 'file')}, {weighed(found.files)}"] = list(map(str, found.files))
    return groups


def _paths(found: Cleaning) -> list[Path]:
    return [*(path for gone in found.cells.values() for path in gone.files), *found.stages, *found.files]


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder; 0 of what has gone meanwhile."""
    try:
        return sum(map(_size, path.iterdir())) if path.is_dir() and not path.is_symlink() else path.lstat().st_size
    except OSError:
        return 0


def _tracked(results: Path, found: Cleaning) -> int:
    """How many of the files git tracks; 0 where there is no git."""
    command = ["git", "-C", str(results), "ls-files", "-z"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return 0
    known = {results / name for name in done.stdout.decode("utf8", "surrogateescape").split("\0") if name}
    archives = {results / suite / "archive" for suite, gone in found.cells.items() if gone.packed}
    touched = set(_paths(found))
    return sum(path in touched or path.parent in archives or not touched.isdisjoint(path.parents) for path in known)
