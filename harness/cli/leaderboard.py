"""``harness leaderboard``: write the leaderboards again from the result files."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.not_counted import tell


@click.command(
    short_help="Write the leaderboards again from the result files.",
    epilog="\b\nExamples:\n  harness leaderboard\n  harness leaderboard quickstart --results /tmp/try",
)
@click.argument("suites", nargs=-1, metavar="[SUITE]...")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def command(suites: tuple[str, ...], results: Path) -> None:
    """Write <suite>/leaderboard.md of the named suites (default: all) and LEADERBOARD.md of all of them.

    Prints the paths of the files that it wrote; notes on files that are not counted go to stderr.
    """
    from harness.cli.find import find_suites
    from harness.errors import UserError
    from harness.report.leaderboard import write_leaderboards
    from harness.results.store import ResultStore

    store = ResultStore(results)
    if not store.suites():
        raise UserError(f"no results in {results}: run a suite first, or name the folder with --results")
    for path in write_leaderboards(store, find_suites(store, suites) or None, tell):
        click.echo(path)
