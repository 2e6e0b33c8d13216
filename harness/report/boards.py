"""The tables of a leaderboard: made from rows, written as markdown or on a terminal by others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.analysis.comparison import adjust, rank, rows, tables
from harness.analysis.comparison_row import ComparisonRow
from harness.formatting import duration, size
from harness.report.tables import (
    BETTER,
    NONE,
    Column,
    Table,
    count,
    decimals,
    difference,
    interval,
    probability,
)
from harness.results.store import LeftOut


@dataclass(frozen=True, slots=True)
class Board:
    """What may stand in one column together: its rows, the table of the primary metric, and what else there is to say.

    ``others`` are the metrics beside the primary one, ``noise`` what the seeds could tell, ``cost`` what it took.
    """

    rows: Sequence[ComparisonRow]
    primary: Table
    others: Table | None
    noise: Table | None
    cost: Table


def boards(frame: pd.DataFrame, left: Sequence[LeftOut] = ()) -> Iterator[Board]:
    """One board per suite, experiment, architecture, benchmark and protocol; links are relative to the suite."""
    primary = frame["primary"].astype(bool)
    others: dict[tuple[object, ...], list[ComparisonRow]] = {}
    for row in rows(frame[~primary]):
        others.setdefault(identity(row), []).append(row)
    for _, table in tables(rows(frame[primary])):
        adjust(table)
        rank(table, left)
        yield Board(table, _primary_table(table), _other_table(table, others), _noise_table(table), _cost_table(table))


def side_by_side(frame: pd.DataFrame) -> Iterator[Table]:
    """One table per benchmark and protocol that several architectures share, without ranks: they differ in size."""
    shared: dict[tuple[object, ...], list[ComparisonRow]] = {}
    for row in rows(frame[frame["primary"].astype(bool)]):
        names = ("suite", "benchmark", "metric", "protocol", "trained_on")
        shared.setdefault(row.take(*names), []).append(row)
    for table in shared.values():
        if len({row.architecture for row in table}) > 1:
            yield _architectures(table)


def _architectures(table: list[ComparisonRow]) -> Table:
    first = table[0]
    sign = -1 if first.direction == "max" else 1
    table.sort(key=lambda row: (sign * row.mean, row.architecture, row.method, row.id))
    places = decimals([row.mean for row in table])
    networks = {(row.experiment, row.architecture) for row in table}
    several = len(networks) > len({architecture for _, architecture in networks})

    def network(row: ComparisonRow) -> str:
        return f"{row.experiment}: {row.architecture}" if several else row.architecture

    return _table(
        f"All architectures on {first.benchmark}",
        table,
        [
            (Column("architecture"), network),
            (Column("method"), lambda row: row.method),
            (Column("density"), _density),
            (Column(first.metric), lambda row: interval(row.mean, row.ci_low, row.ci_high, places)),
            (Column("parameters left / all"), _parameters),
            (Column("budget"), budget),
            (Column("training FLOPs", right=True), lambda row: _scientific(row.flops)),
            (Column("n", right=True), lambda row: str(row.n)),
        ],
        [*_protocol(table), "Not ranked: the networks differ. FLOPs are those of dense training."],
    )


def _primary_table(table: Sequence[ComparisonRow]) -> Table:
    first = table[0]
    places = decimals([row.mean for row in table])
    baseline = next((row.baseline for row in table if row.baseline), None)
    equal = len({budget(row) for row in table}) == 1
    made: list[tuple[Column, Callable[[ComparisonRow], str]]] = [
        (Column("rank", right=True), ranks),
        (Column("method", strong=True), lambda row: row.method),
        (Column("density"), _density),
        (
            Column(first.metric, strong=True),
            lambda row: interval(row.mean, row.ci_low, row.ci_high, places),
        ),
    ]
    if baseline:
        made.append((Column(f"minus {baseline}", 1), lambda row: _difference(row, places)))
    made += [(Column("budget", 2 if not equal else 5), budget), (Column("n", 3, True), lambda row: str(row.n))]
    if any(row.published is not None for row in table):
        made.append((Column("published", 4, True), lambda row: _optional(row.published, "g")))
    made += [
        (Column("parameters left / all", 6), _parameters),
        (Column("seeds", 7), lambda row: " ".join(map(str, row.seeds))),
    ]
    title = f"{first.experiment}: {first.architecture} on {first.benchmark}".removeprefix(": ")
    groups = {row.group for row in table if (row.rank or 1) > 1}  # in which something is told apart
    bold = {i for i, row in enumerate(table) if row.rank == 1 and row.group in groups}
    return _table(title, table, made, [*_protocol(table), *_warnings(table, baseline, equal)], bold)


def _other_table(table: Sequence[ComparisonRow], others: dict[tuple[object, ...], list[ComparisonRow]]) -> Table | None:
    """The metrics that are not the primary one, for the same rows in the same order."""
    found = {row.id: {other.metric: other for other in others.get(identity(row), [])} for row in table}
    names = sorted({name for metrics in found.values() for name in metrics})
    if not names:
        return None
    made: list[tuple[Column, Callable[[ComparisonRow], str]]] = [
        (Column("method"), lambda row: row.method),
        (Column("density"), _density),
    ]
    for name in names:
        present = [metrics[name] for metrics in found.values() if name in metrics]
        places = decimals([row.mean for row in present])

        def text(row: ComparisonRow, name: str = name, places: int = places) -> str:
            other = found[row.id].get(name)
            return interval(other.mean, other.ci_low, other.ci_high, places) if other else NONE

        made.append((Column(f"{name}{_unit(present[0])}"), text))
    return _table("Other metrics", table, made)


def _noise_table(table: Sequence[ComparisonRow]) -> Table | None:
    """How much seeds and test examples scatter, and what so many seeds can tell; None from one seed and no error."""
    if all(row.std is None and row.stderr is None for row in table):
        return None
    places = decimals([row.mean for row in table])
    return _table(
        "Noise, and what these seeds can tell",
        table,
        [
            (Column("method"), lambda row: row.method),
            (Column("density"), _density),
            (Column("n", right=True), lambda row: str(row.n)),
            (Column("seed noise", right=True), lambda row: _optional(row.std, f".{places}f")),
            (Column("evaluation noise", right=True), lambda row: _optional(row.stderr, f".{places}f")),
            (Column("difference", right=True), lambda row: _optional(row.difference, f"+.{places}f")),
            (Column("detectable", right=True), lambda row: _optional(row.mde, f".{places}f")),
            (Column("seeds needed", right=True), _seeds_needed),
        ],
        [
            "Seed noise: standard deviation over seeds. Evaluation noise: standard error of one seed's score over the "
            "test examples; more seeds do not lower it, more examples do. Detectable: the smallest true difference to "
            "the baseline that a paired t test at 5 % finds with so many seeds in 80 % of cases. Seeds needed: to find "
            "the difference seen."
        ],
    )


def _cost_table(table: Sequence[ComparisonRow]) -> Table:
    made: list[tuple[Column, Callable[[ComparisonRow], str]]] = [
        (Column("method"), lambda row: row.method),
        (Column("density"), _density),
        (Column("training FLOPs, dense", right=True), lambda row: _scientific(row.flops)),
        (Column("training, sparse", right=True), lambda row: _scientific(row.flops_sparse)),
        (Column("inference FLOPs, dense", right=True), lambda row: _scientific(row.inference_flops)),
        (Column("inference, sparse", right=True), lambda row: _scientific(row.inference_flops_sparse)),
        (Column("speed-up in theory", right=True), lambda row: _optional(row.speedup_theoretical, ".2f")),
        (Column("training time", right=True), lambda row: _optional(row.seconds, "", duration)),
        (Column("peak memory", right=True), lambda row: _optional(row.peak_memory, "", size)),
    ]
    return _table(
        "Cost",
        table,
        [(column, text) for column, text in made if any(text(row) != NONE for row in table)],
        [
            "FLOPs: 2 per multiply-accumulate, dense-equivalent and sparse-theoretical (RigL's accounting). In theory: "
            "inference, dense over sparse; masks are applied to dense kernels and save no time. Training time: as the "
            "runs were scheduled, beside others; no measure of a method's speed."
        ],
    )


def ranks(row: ComparisonRow) -> str:
    """``2``, or the range of ranks that the data allows: ``1\N{EN DASH}4``."""
    if row.rank is None or row.rank_worst is None:
        return NONE
    return str(row.rank) + (f"{NONE}{row.rank_worst}" if row.rank_worst > row.rank else "")


def budget(row: ComparisonRow) -> str:
    """What training was given: ``500 steps, 8,000 examples, 512,000 tokens``."""
    parts = [f"{count(value)} {name}" for name in ("steps", "examples") if (value := getattr(row, name)) is not None]
    if row.tokens and row.tokens != row.examples:
        parts.append(f"{count(row.tokens)} tokens")
    return ", ".join(parts) or "not recorded"


def _table(
    title: str,
    table: Sequence[ComparisonRow],
    made: Sequence[tuple[Column, Callable[[ComparisonRow], str]]],
    notes: Iterable[str] = (),
    bold: Iterable[int] = (),
) -> Table:
    cells = [[text(row) for _, text in made] for row in table]
    return Table(title, [column for column, _ in made], cells, list(notes), set(bold))


def _protocol(table: Sequence[ComparisonRow]) -> list[str]:
    first = table[0]
    scopes = sorted({row.density_scope for row in table})
    better, protocol = BETTER[first.direction], first.protocol or "not stated"
    trained = "" if first.trained_on == first.benchmark else f" Trained on {first.trained_on}."
    return [
        f"{first.metric}{_unit(first)}: {better}. Protocol: {protocol}.{trained}",
        f"Density (asked / mask / non-zero) is of the scope {' or '.join(scopes)}.",
    ]


def _warnings(table: Sequence[ComparisonRow], baseline: str | None, equal: bool) -> Iterator[str]:
    if not equal:
        examples = [row.examples for row in table if row.examples is not None]
        span = f", from {count(min(examples))} to {count(max(examples))} examples" if examples else ""
        yield f"WARNING: training budgets differ{span} (column budget): rows are ranked within equal budgets only."
    if any(row.density_high > 1.05 * row.density_low for row in table):
        yield "WARNING: the mask density of some rows differs between seeds: its span stands in parentheses."
    yield from mixed(table)
    if baseline is None:
        yield "No finished baseline of this protocol: there are no differences."
    for row in table:
        if row.failed:
            seeds = ", ".join(f"seed {seed} ({reason})" for seed, reason in sorted(row.failed.items()))
            yield f"WARNING: {row.method} at density {fraction(row.density_mask, 4)} has no rank: {seeds}."
    if any(row.n == 1 for row in table):
        yield "Rows with n = 1 have one seed: no interval, no test, no rank."
    ranked = [row for row in table if row.rank is not None]
    if ranked and all(row.rank == 1 for row in ranked):
        yield "No two rows of equal density and budget can be told apart with these seeds."


def mixed(table: Sequence[ComparisonRow]) -> Iterator[str]:
    """A warning where versions or devices differ within a table."""
    if len(made := {text for row in table for text in row.made_with}) > 1:
        methods = {text: sorted({row.method for row in table if text in row.made_with}) for text in sorted(made)}
        parts = "; ".join(f"{text or 'not recorded'}: {', '.join(names)}" for text, names in methods.items())
        yield f"WARNING: the networks were not all made with the same versions and devices. {parts}."


def _density(row: ComparisonRow) -> str:
    text = f"as {row.match}" if row.match else fraction(row.asked, 3)
    low, high = (fraction(end, 4) for end in (row.density_low, row.density_high))
    span = f" ({low} to {high})" if low != high else ""
    return f"{text} / {fraction(row.density_mask, 4)}{span} / {fraction(row.density_nonzero, 4)}"


def fraction(value: float | None, places: int = 4) -> str:
    """A density, never rounded to nothing: three significant digits below 0.01."""
    if value is None:
        return NONE
    return f"{value:.{places}f}" if value >= 0.01 or value == 0 else f"{value:.3g}"


def _difference(row: ComparisonRow, places: int) -> str:
    if row.reference == row.id:
        return "baseline"
    text = difference(row.difference, row.difference_ci_low, row.difference_ci_high, places)
    adjusted = row.p_adjusted
    return text if adjusted is None else f"{text}, p {probability(adjusted)}"


def _seeds_needed(row: ComparisonRow) -> str:
    if row.seeds_needed is not None:
        return count(row.seeds_needed)
    return NONE if row.mde is None or not row.difference else "> 10,000"


def _parameters(row: ComparisonRow) -> str:
    if row.parameters is None or row.density_total is None:
        return count(row.parameters)
    return f"{count(row.density_total * row.parameters)} / {count(row.parameters)}"


def _optional(value: float | None, form: str, write: Callable[[float], str] | None = None) -> str:
    if value is None:
        return NONE
    return write(value) if write else f"{value:{form}}"


def _scientific(value: float | None) -> str:
    return _optional(value, ".2e")


def _unit(row: ComparisonRow) -> str:
    return f" ({row.unit})" if row.unit else ""


def identity(row: ComparisonRow) -> tuple[object, ...]:
    """What a row is, whatever the metric."""
    names = ("suite", "experiment", "architecture", "benchmark", "protocol", "method", "density_scope", "match")
    return (*row.take(*names), row.asked)
