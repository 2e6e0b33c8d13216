"""Leaderboards: markdown that is a pure function of result files, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from rich.console import Console

from harness.analysis.comparison import Row, adjust, rank, rows, tables
from harness.analysis.frame import OBSOLETE, load
from harness.files import write_text
from harness.report.tables import (
    BETTER,
    NONE,
    Cell,
    Column,
    Link,
    Table,
    count,
    decimals,
    difference,
    escape,
    interval,
    markdown,
    print_table,
    probability,
)
from harness.results import LeftOut, ResultStore

READING = """## How to read the tables

- **density** is the fraction of weights kept within the scope named under the table: as asked for / by the final \
mask / by the non-zero weights counted in the end.
- **±** is half of a 95 % t interval over seeds. **Differences** are paired by seed, with their 95 % t interval; \
**p** is of the paired t test, adjusted by Holm's procedure over the table.
- **rank** is 1 + the number of rows that are better at the same density (mask densities within 5 % of each other): \
better means that the 95 % interval of the difference, paired by seed, excludes zero; a difference that is the same \
in every seed has no test and counts as none. Rows that cannot be told apart \
share a rank; the best mean is in bold. Rows without a rank are references (nothing masked), have one seed only, or \
have no rival at their density.
- Failed, diverged and missing cells are listed, never averaged. Different protocols never share a table.
"""
_HEADLINE = 3  # the overview keeps columns up to this ``drop``


@dataclass(frozen=True, slots=True)
class Board:
    """One table of a suite, and its other metrics beside the primary one."""

    primary: Table
    others: Table | None


def write_leaderboards(store: ResultStore, suites: Iterable[str] | None = None) -> list[Path]:
    """Write ``<suite>/leaderboard.md`` of the given suites (default: all) and ``LEADERBOARD.md`` of all.

    Returns the paths written. The same result files always give the same bytes.

    Raises:
        UserError: if a suite has no results.
        StorageError: if a file cannot be written.
    """
    known = store.suites()
    wanted = known if suites is None else sorted(set(suites))
    frame, left = load(store, sorted({*known, *wanted}))
    paths = []
    for suite in wanted:
        paths.append(store.root / suite / "leaderboard.md")
        write_text(paths[-1], _suite_page(store, suite, *_of_suite(frame, left, store, suite)))
    parts = ["# Leaderboards\n\nThe primary metrics of every suite; each suite's own page has the details.\n"]
    for suite in known:
        parts.append(_headline(store, suite, *_of_suite(frame, left, store, suite)))
    paths.append(store.root / "LEADERBOARD.md")
    write_text(paths[-1], "\n".join([*parts, READING]))
    return paths


def terminal_tables(store: ResultStore, suite: str, console: Console) -> None:
    """Print the tables of a suite, as wide as the console allows."""
    frame, _ = load(store, [suite])
    for board in boards(frame):
        print_table(board.primary, console, console.width)


def boards(frame: pd.DataFrame) -> Iterator[Board]:
    """One board per suite, experiment, architecture, benchmark and protocol; links are relative to the suite."""
    primary = frame["primary"].astype(bool)
    others: dict[tuple[object, ...], list[Row]] = {}
    for row in rows(frame[~primary]):
        others.setdefault(_identity(row), []).append(row)
    for _, table in tables(rows(frame[primary])):
        adjust(table)
        rank(table)
        yield Board(_primary_table(table), _other_table(table, others))


def side_by_side(frame: pd.DataFrame) -> Iterator[Table]:
    """One table per benchmark and protocol that several architectures share, without ranks: they differ in size."""
    shared: dict[tuple[object, ...], list[Row]] = {}
    for row in rows(frame[frame["primary"].astype(bool)]):
        names = ("suite", "benchmark", "metric", "protocol", "trained_on")
        shared.setdefault(tuple(row[name] for name in names), []).append(row)
    for table in shared.values():
        if len({row["architecture"] for row in table}) < 2:
            continue
        first = table[0]
        sign = -1 if first["direction"] == "max" else 1
        table.sort(key=lambda row: (sign * row["mean"], row["architecture"], row["method"], row["id"]))
        places = decimals([row["mean"] for row in table])
        networks = {(row["experiment"], row["architecture"]) for row in table}
        several = len(networks) > len({architecture for _, architecture in networks})
        made: list[tuple[Column, list[Cell]]] = [
            (
                Column("architecture"),
                [f"{row['experiment']}: {row['architecture']}" if several else row["architecture"] for row in table],
            ),
            (Column("method"), [row["method"] for row in table]),
            (Column("density"), [_density(row) for row in table]),
            (Column(first["metric"]), [interval(row["mean"], row["ci_low"], row["ci_high"], places) for row in table]),
            (Column("parameters left / all"), [_parameters(row) for row in table]),
            (Column("budget"), [_budget(row) for row in table]),
            (Column("training FLOPs"), [NONE if row["flops"] is None else f"{row['flops']:.2e}" for row in table]),
            (Column("n", right=True), [str(row["n"]) for row in table]),
        ]
        notes = [*_protocol(table), "Not ranked: the networks differ. FLOPs are those of dense training."]
        title = f"All architectures on {first['benchmark']}"
        yield Table(title, [column for column, _ in made], _transposed([cells for _, cells in made]), notes)


def _suite_page(store: ResultStore, suite: str, frame: pd.DataFrame, left: Sequence[LeftOut]) -> str:
    parts = [f"# Leaderboard: {escape(suite)}\n", *_introduction(store, suite, frame, left)]
    for board in boards(frame):
        parts.append(f"## {escape(board.primary.title)}\n\n{markdown(board.primary)}")
        if board.others:
            parts.append(f"{escape(board.others.title)}\n\n{markdown(board.others)}")
    for table in side_by_side(frame):
        parts.append(f"## {escape(table.title)}\n\n{markdown(table)}")
    parts.append(_not_counted(store, suite, frame, left))
    return "\n".join([*filter(None, parts), READING])


def _headline(store: ResultStore, suite: str, frame: pd.DataFrame, left: Sequence[LeftOut]) -> str:
    parts = [f"## [{escape(suite)}]({quote(suite)}/leaderboard.md)\n", *_introduction(store, suite, frame, left)]
    for board in boards(frame):
        table = board.primary
        kept = [i for i, column in enumerate(table.columns) if column.drop <= _HEADLINE]
        columns, cells = [table.columns[i] for i in kept], [[row[i] for i in kept] for row in table.rows]
        short = Table(table.title, columns, cells, table.notes, table.bold)
        parts.append(f"### {escape(table.title)}\n\n{markdown(short)}")
    return "\n".join(parts)


def _introduction(store: ResultStore, suite: str, frame: pd.DataFrame, left: Sequence[LeftOut]) -> list[str]:
    plan = store.plan(suite) or {}
    description, path = str(plan.get("description") or ""), str(plan.get("path") or "")
    if not path or Path(path).is_absolute():  # an absolute path means nothing on another machine
        path = f"suites/{suite}.yaml"
    parts = [f"{escape(description)}\n"] if description else []
    parts.append(f"- Reproduce with `harness run {path}`.")
    for what, column in (("Versions", "versions"), ("Git revision", "revision"), ("Device", "device")):
        if found := sorted(filter(None, frame[column].unique())):
            parts.append(f"- {what}: {escape('; '.join(found))}.")
    failed = sum(not item.reason.startswith(OBSOLETE) for item in left)
    missing = len(_missing(store, suite, frame, left))
    parts.append(f"- Cells: {frame['cell'].nunique()} counted, {failed} failed, {missing} not finished.\n")
    return parts


def _not_counted(store: ResultStore, suite: str, frame: pd.DataFrame, left: Sequence[LeftOut]) -> str:
    current = [item for item in left if not item.reason.startswith(OBSOLETE)]
    lines = [f"- [{item.path.stem}](cells/{quote(item.path.name)}): {escape(item.reason)}" for item in current]
    lines += [f"- {escape(cell)}: not finished yet" for cell in _missing(store, suite, frame, left)]
    if superseded := len(left) - len(current):
        lines.append(f"- {superseded} further files belong to cells that the suite no longer has")
    return "## Cells that are not counted\n\n" + "\n".join(lines) + "\n" if lines else ""


def _missing(store: ResultStore, suite: str, frame: pd.DataFrame, left: Sequence[LeftOut]) -> list[str]:
    planned = (store.plan(suite) or {}).get("cells") or []
    return sorted({str(cell) for cell in planned} - set(frame["cell"]) - {item.path.stem for item in left})


def _of_suite(
    frame: pd.DataFrame, left: Sequence[LeftOut], store: ResultStore, suite: str
) -> tuple[pd.DataFrame, list[LeftOut]]:
    folder = store.root / suite / "cells"
    return frame[frame["suite"] == suite], [item for item in left if item.path.parent == folder]


def _primary_table(table: Sequence[Row]) -> Table:
    first = table[0]
    places = decimals([row["mean"] for row in table])
    baseline = next((row["baseline"] for row in table if row["baseline"]), None)
    budgets = [_budget(row) for row in table]
    equal = len(set(budgets)) == 1
    made: list[tuple[Column, list[Cell]]] = [
        (Column("rank", right=True), [str(row["rank"] or NONE) for row in table]),
        (Column("method", strong=True), [row["method"] for row in table]),
        (Column("density"), [_density(row) for row in table]),
        (
            Column(first["metric"], strong=True),
            [interval(row["mean"], row["ci_low"], row["ci_high"], places) for row in table],
        ),
    ]
    if baseline:
        made.append((Column(f"minus {baseline}", 1), [_difference(row, places) for row in table]))
    if not equal:
        made.append((Column("budget", 2), list(budgets)))
    made.append((Column("n", 3, True), [str(row["n"]) for row in table]))
    if any(row["published"] is not None for row in table):
        values = [row["published"] for row in table]
        made.append((Column("published", 4, True), [NONE if v is None else f"{v:g}" for v in values]))
    made.append((Column("parameters left / all", 5), [_parameters(row) for row in table]))
    made.append((Column("seeds", 6), [_links(row) for row in table]))
    notes = [*_protocol(table), *_warnings(table, baseline, equal)]
    if equal:
        notes.append(f"Training budget of every row: {budgets[0]}.")
    ranked = [(i, row["group"]) for i, row in enumerate(table) if row["rank"] is not None]
    bold = {min(i for i, group in ranked if group == best) for best in {group for _, group in ranked}}
    title = f"{first['experiment']}: {first['architecture']} on {first['benchmark']}".removeprefix(": ")
    return Table(title, [column for column, _ in made], _transposed([cells for _, cells in made]), notes, bold)


def _other_table(table: Sequence[Row], others: dict[tuple[object, ...], list[Row]]) -> Table | None:
    """The metrics that are not the primary one, for the same rows in the same order."""
    found = [{row["metric"]: row for row in others.get(_identity(row), [])} for row in table]
    names = sorted({name for row in found for name in row})
    if not names:
        return None
    columns = [Column("method"), Column("density")]
    cells: list[list[Cell]] = [[row["method"] for row in table], [_density(row) for row in table]]
    for name in names:
        present = [row[name] for row in found if name in row]
        columns.append(Column(f"{name}{_unit(present[0])}"))
        places = decimals([row["mean"] for row in present])
        texts = (r and interval(r["mean"], r["ci_low"], r["ci_high"], places) for r in (row.get(name) for row in found))
        cells.append([text or NONE for text in texts])
    return Table("Other metrics:", columns, _transposed(cells))


def _protocol(table: Sequence[Row]) -> list[str]:
    first = table[0]
    scopes = sorted({row["density_scope"] for row in table})
    better, protocol = BETTER[first["direction"]], first["protocol"] or "not stated"
    trained = "" if first["trained_on"] == first["benchmark"] else f" Trained on {first['trained_on']}."
    return [
        f"{first['metric']}{_unit(first)}: {better}. Protocol: {protocol}.{trained}",
        f"Density (asked / mask / non-zero) is of the scope {' or '.join(scopes)}.",
    ]


def _warnings(table: Sequence[Row], baseline: str | None, equal: bool) -> Iterator[str]:
    if not equal:
        examples = [row["examples"] for row in table if row["examples"] is not None]
        span = f", from {count(min(examples))} to {count(max(examples))} examples" if examples else ""
        yield f"WARNING: training budgets differ{span} (column budget)."
    if baseline is None:
        yield "No finished baseline of this protocol: there are no differences."
    if any(row["n"] == 1 for row in table):
        yield "Rows with n = 1 have one seed: no interval, no test, no rank."


def _budget(row: Row) -> str:
    parts = [f"{count(row[name])} {name}" for name in ("steps", "examples") if row[name] is not None]
    if row["tokens"] and row["tokens"] != row["examples"]:
        parts.append(f"{count(row['tokens'])} tokens")
    return ", ".join(parts) or "not recorded"


def _density(row: Row) -> str:
    text = f"as {row['match']}" if row["match"] else _fraction(row["asked"], 3)
    return f"{text} / {_fraction(row['density_mask'], 4)} / {_fraction(row['density_true_zeros'], 4)}"


def _fraction(value: float | None, places: int) -> str:
    """A density, never rounded to nothing: three significant digits below 0.01."""
    if value is None:
        return NONE
    return f"{value:.{places}f}" if value >= 0.01 or value == 0 else f"{value:.3g}"


def _difference(row: Row, places: int) -> str:
    if row["reference"] == row["id"]:
        return "baseline"
    text = difference(row["difference"], row["difference_ci_low"], row["difference_ci_high"], places)
    adjusted = row["p_adjusted"]
    return text if adjusted is None else f"{text}, p {probability(adjusted)}"


def _parameters(row: Row) -> str:
    if row["parameters"] is None or row["density_total"] is None:
        return count(row["parameters"])
    return f"{count(row['density_total'] * row['parameters'])} / {count(row['parameters'])}"


def _links(row: Row) -> list[Link]:
    pairs = zip(row["seeds"], row["cells"], strict=True)
    return [Link(str(seed), f"cells/{quote(cell)}.json") for seed, cell in pairs]


def _unit(row: Row) -> str:
    return f" ({row['unit']})" if row["unit"] else ""


def _identity(row: Row) -> tuple[object, ...]:
    """What a row is, whatever the metric."""
    names = ("suite", "experiment", "architecture", "benchmark", "protocol", "method", "density_scope", "match")
    return (*(row[name] for name in names), row["asked"])


def _transposed(columns: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    return [list(row) for row in zip(*columns, strict=True)]
