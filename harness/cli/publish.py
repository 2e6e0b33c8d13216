"""``harness publish``: a suite's results as a dataset that others load."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli import plugin_option
from harness.cli.parameters import Choice


@click.command(
    short_help="Upload a suite's results as a dataset with a card.",
    epilog="""\b
Examples:
  harness publish quickstart --repo me/quickstart --output /tmp/dataset
  harness publish quickstart --hub huggingface --repo me/quickstart
  harness publish quickstart sanity --repo me/sparsity --public --yes
""",
)
@click.argument("suites", nargs=-1, required=True, metavar="SUITE...")
@click.option("--hub", type=Choice(["huggingface"]), default="huggingface", show_default=True)
@click.option("--repo", "repository", required=True, metavar="USER/NAME", help="The dataset's repository on the hub.")
@click.option("--public", is_flag=True, help="For everyone; else a new repository is private.")
@click.option("--license", "licence", default="mit", show_default=True, help="Of the results, as the hub names it.")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Only write the folder; no network.")
@click.option("--yes", is_flag=True, help="Upload without asking.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@plugin_option
def command(
    suites: Sequence[str],
    hub: str,
    repository: str,
    public: bool,
    licence: str,
    output: Path | None,
    yes: bool,
    results: Path,
    plugin_files: tuple[Path, ...],
) -> None:
    """Upload the results of each SUITE to a dataset repository, with a card made from the leaderboards.

    Records, curves, masks and results by example as they are, all rows as parquet for the hub's viewer, figures, and a
    README.md with answers and tables. Samples that may quote data of a benchmark are left out.

    What would be uploaded is shown first, and you are asked. The token is that of `hf auth login`, or HF_TOKEN.
    """
    from harness.cli.find import find_suites
    from harness.registry.plugins import load
    from harness.report import hub as remote
    from harness.report.dataset import write_dataset
    from harness.results.store import ResultStore

    remote.require_name(repository)
    store = ResultStore(results)
    suites = find_suites(store, suites)
    api = None if output else remote.connect()
    with tempfile.TemporaryDirectory(prefix="harness-publish-") as temporary:
        folder = output or Path(temporary)
        quoting = write_dataset(store, suites, folder, repository, licence, load(plugin_files))
        _show(folder, quoting)
        if api is None:
            click.echo(f"written: {folder}")
            return
        whose = "public: everyone can see it" if public else "private"
        click.echo(f"to the dataset repository {repository} of {api.endpoint} ({whose}; license {licence})")
        if not yes:
            if not _asks():
                raise click.UsageError("nothing is uploaded unless you say so: --yes, or --output DIR to look first")
            click.confirm("Upload this?", abort=True)
        click.echo(remote.upload(api, folder, repository, private=not public))


def _asks() -> bool:
    return sys.stdin.isatty()


def _show(folder: Path, quoting: Sequence[str]) -> None:
    """What there is, by folder, and what was left out."""
    from harness.formatting import count, size

    files: dict[Path, list[int]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files.setdefault(path.parent.relative_to(folder), []).append(path.stat().st_size)
    for inner, sizes in files.items():
        click.echo(f"  {inner}/: {count(len(sizes), 'file')}, {size(sum(sizes))}")
    total = [one for sizes in files.values() for one in sizes]
    click.echo(f"{count(len(total), 'file')}, {size(sum(total))}")
    if quoting:
        click.echo(f"left out: samples of {count(len(quoting), 'run')}, which may quote data")
