"""``harness show``: one cell's record, readable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.parameters import Choice

if TYPE_CHECKING:
    from harness.results.cell_record import CellRecord
    from harness.results.store import ResultStore


@click.command(
    short_help="Show one run's record.",
    epilog="\b\nExamples:\n  harness show genome.s0\n  harness show digits.skip_mlp.digits.genome.s0 --format json\n"
    "  harness show genome.s0 --against genome.s1",
)
@click.argument("cell", metavar="RUN")
@click.option("--format", "form", type=Choice(["text", "json"]), default="text", show_default=True)
@click.option("--against", metavar="RUN", help="Show instead in how much its masks agree with those of this run.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def command(cell: str, form: str, against: str | None, results: Path) -> None:
    """Show the record of RUN: its name, SUITE/NAME, or any part of it that fits one run only."""
    from harness.cli.console import plain_console
    from harness.cli.fitting import terminal_width
    from harness.cli.show_agreement import agreement_table
    from harness.errors import UserError
    from harness.formatting import fitted
    from harness.report.tables import print_table
    from harness.results.store import ResultStore

    store = ResultStore(results)
    record = _record(store, cell)
    if against is not None:
        if form == "json":
            raise UserError("--against shows a table; leave out --format json")
        print_table(agreement_table(store, record, _record(store, against)), plain_console(), terminal_width())
    elif form == "json":
        click.echo(json.dumps(record.content(), indent=2, ensure_ascii=False))
    else:
        click.echo(fitted("\n".join(_text(record)), terminal_width()))


def _record(store: ResultStore, cell: str) -> CellRecord:
    from harness.cli.find import find_cell
    from harness.errors import HarnessError, UserError
    from harness.results.store import LeftOut

    suite, name = find_cell(store, cell)
    if not store.file(suite, "cells", name).exists:
        raise UserError(f"{name} has no result yet; harness status shows how far its suite is")
    record = store.record(suite, name)
    if isinstance(record, LeftOut):
        raise HarnessError(f"{record.path} {record.reason}")
    return record


def _text(record: CellRecord) -> Iterator[str]:
    """One line per fact, indented under its section's name."""
    from harness.report.record_view import record_view

    for section in record_view(record):
        indent = "  " if section.title else ""
        if section.title:
            yield f"\n{section.title}"
        width = max((len(name) for name, _ in section.facts), default=0)
        yield from (f"{indent}{name:<{width}}  {text}" if name else indent + text for name, text in section.facts)
        widths = [max(map(len, column)) for column in zip(section.columns, *section.rows, strict=True)]
        for first, *others in [section.columns, *section.rows] if section.columns else []:
            numbers = (f"{text:>{size}}" for text, size in zip(others, widths[1:], strict=True))
            yield indent + "  ".join([f"{first:<{widths[0]}}", *numbers])
