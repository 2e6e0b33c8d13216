"""``harness compare``: which method wins at equal density, and is the difference real?"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.analysis.comparison import Row
    from harness.report.tables import Table
    from harness.results import LeftOut

FORMATS = ("table", "markdown", "csv", "json")
_LISTED = 10  # files named on stderr before the rest is only counted


class ManyValues(click.Command):
    """A command whose ``--methods`` takes every value up to the next option, as one expects from a list."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each further value: click's own options take a fixed number."""
        repeated: list[str] = []
        listing = first = False
        for argument in args:
            if argument.startswith("-"):
                listing = argument.partition("=")[0] == "--methods"
                first = argument == "--methods"
            elif listing and not first:
                repeated.append("--methods")
            else:
                first = False
            repeated.append(argument)
        return super().parse_args(ctx, repeated)


@click.command(
    cls=ManyValues,
    short_help="Compare methods on equal terms, with confidence intervals.",
    epilog="""\b
Examples:
  harness compare --methods genome random magnitude
  harness compare --methods genome random --suite quickstart --at-density 0.1
  harness compare --metric loss --format markdown
  harness compare --format json > rows.json
""",
)
@click.option("--methods", multiple=True, metavar="NAME...", help="Labels to compare. Default: all.")
@click.option("--suite", help="Only this suite.")
@click.option("--baseline", help="Label to compare with. Default: what the suite names, or dense.")
@click.option("--metric", help="Default: each benchmark's primary metric.")
@click.option("--benchmark", help="Only this benchmark.")
@click.option("--architecture", help="Only this architecture.")
@click.option("--at-density", type=float, metavar="D", help="Only densities within 10 % of D (and the baseline).")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def command(
    methods: Sequence[str],
    suite: str | None,
    baseline: str | None,
    metric: str | None,
    benchmark: str | None,
    architecture: str | None,
    at_density: float | None,
    form: str,
    results: Path,
) -> None:
    """Compare methods over seeds: mean, 95 % interval, paired difference to the baseline, Holm-adjusted p.

    The comparison goes to stdout, notes on files that are not counted go to stderr.
    """
    from harness.analysis.comparison import compare
    from harness.analysis.frame import load
    from harness.errors import UserError
    from harness.results import ResultStore

    frame, left = load(ResultStore(results), None if suite is None else [suite])
    _note(left)
    if frame.empty:
        raise UserError(f"no finished cell in {results}: run a suite first, or name its folder with --results")
    names = [name for value in methods for name in value.split(",") if name]
    rows = compare(frame, names or None, baseline, metric, benchmark, architecture, at_density, suite)
    if not rows:
        click.echo("no finished cell matches all of these options", err=True)
    lone = sum(row["baseline"] is None for row in rows)
    if lone:
        click.echo(f"{lone} of {len(rows)} rows have no baseline of the same protocol and seeds", err=True)
    _write(rows, form)


def _write(rows: Sequence[Row], form: str) -> None:
    from harness.analysis.comparison import KEYS

    if form == "json":
        click.echo(json.dumps(rows, indent=2, allow_nan=False))
    elif form == "csv":
        writer = csv.DictWriter(sys.stdout, KEYS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(row | {key: " ".join(map(str, row[key])) for key in ("seeds", "cells")})
    elif rows:
        from rich.console import Console

        from harness.report.tables import escape, markdown, print_table

        table = _table(rows)
        if form == "markdown":
            click.echo(f"{escape(table.title)}\n\n{markdown(table)}", nl=False)
        else:
            console = Console(highlight=False)
            print_table(table, console, console.width if console.is_terminal or "COLUMNS" in os.environ else None)


def _table(rows: Sequence[Row]) -> Table:
    """The rows as text; what is the same in every row stands once, in the title."""
    from harness.report.tables import NONE, Column, Table, decimals, difference, interval, probability

    def places(row: Row) -> int:
        return digits[row["benchmark"], row["metric"]]

    means: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        means.setdefault((row["benchmark"], row["metric"]), []).append(row["mean"])
    digits = {key: decimals(values) for key, values in means.items()}
    context = {"suite": 0, "architecture": 0, "benchmark": 0, "metric": 0, "density_scope": 9}
    protocols = sorted({(row["benchmark"], row["protocol"]) for row in rows})
    notes = [f"Protocol of {name}: {protocol}." for name, protocol in protocols]
    if len({name for name, _ in protocols}) < len(protocols):  # one benchmark under several: rows must say which
        context["protocol"], notes = 10, []
    texts = {name: [str(row[name]) for row in rows] for name in context}
    notes = [*sorted({_meaning(row) for row in rows}), *notes]
    varying = [name for name in context if len(set(texts[name])) > 1]
    title = ", ".join(f"{name.removeprefix('density_')} {texts[name][0]}" for name in context if name not in varying)
    made: list[tuple[Column, list[str]]] = [(Column(name, context[name]), texts[name]) for name in varying]
    made += [
        (Column("method"), [row["method"] for row in rows]),
        (Column("asked", 6, True), [_density(row["density_requested"]) or NONE for row in rows]),
        (Column("density", 0, True), [f"{row['density_mask']:.4f}" for row in rows]),
        (Column("mean"), [interval(row["mean"], row["ci_low"], row["ci_high"], places(row)) for row in rows]),
        (Column("n", 4, True), [str(row["n"]) for row in rows]),
        (Column("baseline", 7), [row["baseline"] or NONE for row in rows]),
        (
            Column("difference", 1),
            [
                difference(row["difference"], row["difference_ci_low"], row["difference_ci_high"], places(row))
                for row in rows
            ],
        ),
        (Column("p", 7, True), [probability(row["p_value"]) for row in rows]),
        (Column("p Holm", 5, True), [probability(row["p_adjusted"]) for row in rows]),
    ]
    return Table(
        title,
        [column for column, _ in made],
        [list(cells) for cells in zip(*(cells for _, cells in made), strict=True)],
        [*notes, "± and (a to b): 95 % t intervals over seeds; difference: minus the baseline, paired by seed."],
    )


def _meaning(row: Row) -> str:
    from harness.report.tables import BETTER

    unit = f" ({row['unit']})" if row["unit"] else ""
    return f"{row['metric']}{unit}: {BETTER[row['direction']]}."


def _density(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"


def _note(left: Sequence[LeftOut]) -> None:
    """Files that are not counted, on stderr; what a changed suite has superseded is only counted."""
    from harness.analysis.frame import OBSOLETE

    counts = Counter(item.reason.startswith(OBSOLETE) for item in left)
    named = [item for item in left if not item.reason.startswith(OBSOLETE)]
    for item in named[:_LISTED]:
        click.echo(f"not counted: {item.path}: {item.reason}", err=True)
    if len(named) > _LISTED:
        click.echo(f"not counted: {len(named) - _LISTED} more (see the suite's leaderboard.md)", err=True)
    if counts[True]:
        click.echo(f"not counted: {counts[True]} files of cells that are no longer in their suite's plan", err=True)
