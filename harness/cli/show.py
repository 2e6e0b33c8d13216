"""``harness show``: one cell's record, readable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.results.cell_record import CellRecord
    from harness.results.record_parts import MetricScore, PluginPart
    from harness.results.store import ResultStore


@click.command(
    short_help="Show one run's record.",
    epilog="\b\nExamples:\n  harness show genome.s0\n  harness show digits.skip_mlp.digits.genome.s0 --format json\n"
    "  harness show genome.s0 --against genome.s1",
)
@click.argument("cell", metavar="RUN")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
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
    """One line per fact; nested values are indented under their name."""
    head = ("cell", "suite", "experiment", "status", "seed", "trained_on", "published", "finished")
    for name in head:
        yield f"{name:<14}{_inline(getattr(record, name))}"
    for name in ("architecture", "method", "benchmark"):
        yield f"{name:<14}{_part(getattr(record, name))}"
    if record.training_data and record.training_data.label != record.benchmark.label:
        yield f"{'training_data':<14}{_part(record.training_data)}"
    if failure := record.failure:
        step = f" at step {failure.step}" if failure.step is not None else ""
        yield f"\nfailure{step}: {failure.type}: {failure.message}"
        yield from (f"  {line}" for line in (failure.traceback or "").splitlines())
    for split, metrics in (("test", record.metrics), ("validation", record.validation)):
        if metrics:
            yield f"\n{split}"
            yield from (f"  {_metric(name, metric)}" for name, metric in metrics.items())
    yield "\ndensity"
    yield from _nested(record.density.model_dump(mode="json", exclude={"connections"}))
    if connections := record.density.connections:
        width = max(map(len, connections))
        yield f"  {'connection':<{width}}  {'size':>12}  {'kept':>12}  density"
        for name, c in connections.items():
            yield f"  {name:<{width}}  {c.size:>12,}  {c.kept:>12,}  {c.kept / max(1, c.size):.4f}"
    shown = {*head, "architecture", "method", "benchmark", "training_data", "failure", "metrics", "validation"}
    for name, value in record.model_dump(mode="json", exclude={*shown, "density", "schema_version"}).items():
        if value in (None, {}, []):
            continue
        if isinstance(value, Mapping):
            yield f"\n{name}"
            yield from _nested(value)
        elif isinstance(value, list):
            yield f"\n{name}"
            yield from (f"  {number}  {_inline(item)}" for number, item in enumerate(value, 1))
        else:
            yield f"\n{name}  {value}"


def _part(part: PluginPart) -> str:
    named = {"label", "plugin", "version", "options"}
    extra = part.model_dump(mode="json", exclude=named, exclude_none=True)
    told = {**part.options, **{name: value for name, value in extra.items() if value != {}}}
    return f"{part.label} = {part.plugin} version {part.version}  {_inline(told)}".rstrip()


def _metric(name: str, metric: MetricScore) -> str:
    from harness.report.tables import BETTER

    error = f" ± {metric.stderr:.4g} (standard error)" if metric.stderr is not None else ""
    facts = [metric.unit, f"n {metric.n}", BETTER[metric.direction], "primary" if metric.primary else ""]
    return f"{name}  {metric.value:.6g}{error}  ({', '.join(fact for fact in facts if fact)})"


def _nested(values: Mapping[str, Any]) -> Iterator[str]:
    width = max(map(len, values), default=0)
    for name, value in values.items():
        yield f"  {name:<{width}}  {_inline(value)}"


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_inline(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return " ".join(map(_inline, value))
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
