"""``harness report``: the results as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.not_counted import tell


@click.command(
    short_help="Write the results as one interactive HTML page.",
    epilog="""\b
Examples:
  harness report
  harness report quickstart -o quickstart.html
  harness report --serve
""",
)
@click.argument("suites", nargs=-1, metavar="[SUITE]...")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=Path("report.html"), show_default=True
)
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--serve", is_flag=True, help="Show the page on this machine until Ctrl-C instead of writing it.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="For --serve; 0 takes any free one."
)
def command(suites: tuple[str, ...], output: Path, results: Path, serve: bool, port: int) -> None:
    """Write one HTML file about the named suites (default: all), which needs no network and no other file.

    It opens on the answers of a table and its plot; then tables to sort, curves of training and validation, densities
    over training, masks, texts, and every record. Filters act on the whole page.
    With --serve the page is made anew whenever it is loaded. Notes on files that are not counted go to stderr.
    """
    from harness.cli.find import find_suites
    from harness.errors import UserError
    from harness.report.html.page import page
    from harness.report.html.server import ReportServer
    from harness.results.store import ResultStore
    from harness.storage.atomic_files import write_text

    store = ResultStore(results)
    if not store.suites():
        raise UserError(f"no results in {results}: run a suite first, or name the folder with --results")
    named = find_suites(store, suites) or None
    text = page(store, named, tell)
    if not serve:
        write_text(output, text)
        click.echo(f"{output} ({len(text.encode()) / 1e6:.1f} MB)")
        return
    with ReportServer(lambda: page(store, named), port) as server:
        try:
            click.echo(f"{server.url}  (Ctrl-C ends)")
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("ended")
