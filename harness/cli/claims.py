"""``harness claims``: what papers report beside what was measured."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.fitting import terminal_width, wide_option
from harness.cli.parameters import Choice

if TYPE_CHECKING:
    from harness.claims.findings import Finding
    from harness.claims.schema import Paper

FORMATS = ("table", "markdown", "csv", "json")
VERDICTS = {
    "reproduced": "reproduced",
    "not-reproduced": "not reproduced",
    "inconclusive": "inconclusive",
    "holds": "holds here",
    "fails": "does not hold here",
    "undecided": "undecided here",
    "differs": "differs in protocol",
    "other-size": "not run at that size",
    "not-run": "not run",
}


@click.command(
    short_help="Set what papers claim beside what was measured.",
    epilog="""\b
Examples:
  harness claims
  harness claims neural_dna
  harness claims --verdict reproduced --verdict not-reproduced
  harness claims --format json > claims.json
""",
)
@click.argument("papers", nargs=-1, metavar="[PAPER]...")
@click.option("--verdict", "verdicts", multiple=True, type=Choice(list(VERDICTS)), help="Print only these; repeatable.")
@click.option("--format", "form", type=Choice(FORMATS), default="table", show_default=True)
@click.option("--claims", "folder", type=click.Path(path_type=Path), default=Path("claims"), show_default=True)
@click.option("--suites", type=click.Path(path_type=Path), default=Path("suites"), show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@wide_option
def command(
    papers: Sequence[str], verdicts: Sequence[str], form: str, folder: Path, suites: Path, results: Path, wide: bool
) -> None:
    """Judge every published number: reproduced or not, inconclusive, differs in protocol, not run (at that size).

    Directions that a paper states in general are judged on what is run here: holds here or not, undecided here.

    The claims are the files in --claims, one a paper; names in them are checked against --suites. Without PAPER all
    are judged and CLAIMS.md is written into the results folder. What networks count when they are built is then
    kept in counts.json beside the claims, where it is read without torch. The rules are in docs/claims.md.
    """
    from harness.claims.counts import Counts
    from harness.claims.findings import find
    from harness.claims.loading import choose, load_papers
    from harness.report.claims_page import claims_page
    from harness.results.store import ResultStore
    from harness.storage.atomic_files import write_text

    chosen = choose(load_papers(folder, suites), papers)
    counts = Counts(folder)
    found = find(chosen, ResultStore(results), counts)
    page = claims_page(chosen, found)
    wanted = {VERDICTS[name] for name in verdicts or VERDICTS}
    shown = [f for f in found if f.judgement.verdict in wanted]
    if form == "json":
        click.echo(json.dumps([f.row() for f in shown], indent=2, allow_nan=False, ensure_ascii=False))
    elif form == "csv":
        _csv(shown)
    elif form == "markdown" and len(shown) == len(found):
        click.echo(page, nl=False)
    else:
        _print(chosen, found, shown, form, terminal_width(wide))
    if not papers:
        path = results / "CLAIMS.md"
        write_text(path, page)
        counts.keep()
        click.echo(f"wrote {path}", err=True)


def _csv(shown: Sequence[Finding]) -> None:
    from harness.claims.findings import KEYS

    writer = csv.DictWriter(sys.stdout, KEYS, lineterminator="\n")
    writer.writeheader()
    for finding in shown:
        row = finding.row()
        writer.writerow(row | {"differs": "; ".join(row["differs"]), "cells": " ".join(row["cells"])})


def _print(
    papers: dict[str, Paper], found: Sequence[Finding], shown: Sequence[Finding], form: str, width: int | None
) -> None:
    """The answer in words, a table a paper, then how many there are of each verdict."""
    from harness.cli.console import plain_console
    from harness.formatting import fitted
    from harness.report.claims_page import answer, summary, table
    from harness.report.tables import escape, markdown, print_tables

    console = plain_console()
    for line in answer(found):
        console.print(fitted(line, width), soft_wrap=True)
    console.print()
    of = {name: [finding for finding in found if finding.paper == name] for name in papers}
    made = [
        table(paper.title, [f for f in shown if f.paper == name], answer(of[name]) if len(papers) > 1 else ())
        for name, paper in papers.items()
    ]
    tables = [*(one for one in made if one.rows), summary(papers, found, short=True)]
    if form == "markdown":
        click.echo("\n".join(f"{escape(one.title)}\n\n{markdown(one)}" for one in tables))
    else:
        print_tables(tables, console, width)
