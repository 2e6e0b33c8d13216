"""The tables of a leaderboard: made from rows, written as markdown or on a terminal by others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.analysis.comparison import rows, tables
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.contrast import Contrast
from harness.analysis.contrasts import adjust
from harness.analysis.power import FEW_SEEDS, MOST_SEEDS
from harness.analysis.ranking import rank
from harness.formatting import duration, size, unit_text
from harness.report.answers import density
from harness.report.cell_texts import precision, score
from harness.report.score_table import score_table
from harness.report.table_answers import cost_answer, noise_answer, questions_answer
from harness.report.tables import NONE, Column, Table, decimals, difference, probability, rounded
from harness.results.store import LeftOut


@dataclass(frozen=True, slots=True)
class Board:
    """What may stand in one column together: its rows, the table of the primary metric, and what else there is to say.

    ``others`` are the metrics beside the primary one, ``questions`` all that is asked, ``cost`` what it took.
    """

    rows: Sequence[ComparisonRow]
    primary: Table
    questions: Table | None
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
        yield Board(
            table,
            score_table(table),
            questions_table(table),
            _other_table(table, others),
            _noise_table(table),
            _cost_table(table),
        )


def _other_table(table: Sequence[ComparisonRow], others: dict[tuple[object, ...], list[ComparisonRow]]) -> Table | None:
    """The metrics that are not the primary one, for the same rows in the same order."""
    found = {row.id: {other.metric: other for other in others.get(identity(row), [])} for row in table}
    names = sorted({name for metrics in found.values() for name in metrics})
    if not names:
        return None
    made: list[tuple[Column, Callable[[ComparisonRow], str]]] = [
        (Column("method"), lambda row: row.method),
        (Column("density", right=True), density),
    ]
    for name in names:
        present = [metrics[name] for metrics in found.values() if name in metrics]
        places = decimals([row.mean for row in present])

        def text(row: ComparisonRow, name: str = name, places: int = places) -> str:
            other = found[row.id].get(name)
            return score(other, places) if other else NONE

        made.append((Column(f"{name}{_unit(present[0])}"), text))
    return _table("Other metrics", table, made, answer=[f"Not tested: questions are asked of {table[0].metric} alone."])


def questions_table(table: Sequence[ComparisonRow]) -> Table | None:
    """Every question of the table; None if nothing is asked."""
    rows = {row.id: row for row in table}
    asked = [contrast for row in table for contrast in row.contrasts]
    if not asked:
        return None
    places = precision(table)
    made: list[tuple[Column, Callable[[Contrast], str]]] = [
        (Column("method", names=True), lambda c: c.method),
        (Column("against", names=True), lambda c: c.control),
        (Column("density", right=True), lambda c: density(rows[c.row])),
        (Column("difference"), lambda c: difference(c.difference, c.low, c.high, places)),
        (Column("p", 4, right=True), lambda c: probability(c.p)),
        (Column("p Holm", right=True), lambda c: probability(c.p_adjusted)),
        (Column("on this test set", 7), lambda c: span(c.fixed_low, c.fixed_high, places)),
        (Column("detectable", 5, right=True), lambda c: _optional(c.detectable, f".{places}f")),
        (Column("seeds needed", 6, right=True), _needed),
    ]
    smallest = sorted({c.smallest for c in asked if c.smallest is not None})
    useless = set() if smallest else {"seeds needed"}
    fixed = any((c.fixed_low, c.fixed_high) != (c.low, c.high) for c in asked)
    useless |= set() if fixed else {"on this test set"}
    needed = f" Seeds needed: to find a difference of {' or '.join(f'{d:g}' for d in smallest)}." if smallest else ""
    whose = "the suite's questions" if any(c.asked for c in asked) else "each method against its control"
    family = max(c.family for c in asked)
    return Table(
        "Questions",
        [column for column, _ in made if column.name not in useless],
        [[text(c) for column, text in made if column.name not in useless] for c in asked],
        [
            f"The family: {whose}, {family} test{'' if family == 1 else 's'}."
            f"{' On this test set: the interval over seeds alone.' if fixed else ''} Detectable: the smallest true "
            f"difference that the strictest test of the family finds in 80 % of cases.{needed}"
        ],
        answer=[questions_answer(table)],
    )


def _needed(contrast: Contrast) -> str:
    """``12``, with fewer than five seeds ``12 (4 to 60)``: how uncertain their standard deviation leaves it."""
    found = contrast.needed
    if found is None:
        return NONE

    def text(seeds: float) -> str:
        return f"> {MOST_SEEDS:,}" if math.isnan(seeds) else f"{int(seeds):,}"

    middle = text(float(found.seeds))
    return middle if contrast.n >= FEW_SEEDS else f"{middle} ({text(float(found.low))} to {text(float(found.high))})"


def _noise_table(table: Sequence[ComparisonRow]) -> Table | None:
    """How much seeds and test examples scatter; None from one seed and no error."""
    if all(row.std is None and row.stderr is None for row in table):
        return None
    places = decimals([row.mean for row in table])
    return _table(
        "Noise",
        table,
        [
            (Column("method"), lambda row: row.method),
            (Column("density", right=True), density),
            (Column("n", right=True), lambda row: str(row.n)),
            (Column("seed noise", right=True), lambda row: _optional(row.std, f".{places}f")),
            (Column("evaluation noise", right=True), lambda row: _optional(row.stderr, f".{places}f")),
            (Column("on this test set"), lambda row: span(row.fixed_low, row.fixed_high, places)),
        ],
        [
            "Seed noise: standard deviation over seeds. Evaluation noise: standard error of one seed's score over the "
            "test examples; more seeds do not lower it, more examples do. On this test set: the 95 % interval over "
            "seeds alone."
        ],
        answer=[noise_answer(table)],
    )


def _cost_table(table: Sequence[ComparisonRow]) -> Table:
    made: list[tuple[Column, Callable[[ComparisonRow], str]]] = [
        (Column("method"), lambda row: row.method),
        (Column("density", right=True), density),
        (Column("training FLOPs, dense", right=True), lambda row: _scientific(row.flops)),
        (Column("training, sparse", right=True), lambda row: _scientific(row.flops_sparse)),
        (Column("inference FLOPs, dense", right=True), lambda row: _scientific(row.inference_flops)),
        (Column("inference, sparse", right=True), lambda row: _scientific(row.inference_flops_sparse)),
        (Column("speed-up in theory", right=True), lambda row: _optional(row.speedup_theoretical, ".2f")),
        (Column("speed-up, measured", right=True), lambda row: _optional(row.speedup_measured, ".2f")),
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
            "runs were scheduled, beside others; no measure of a method's speed.",
            *sorted({f"Speed-up, measured: {row.measured_by}." for row in table if row.measured_by}),
        ],
        answer=cost_answer(table),
    )


def _table(
    title: str,
    table: Sequence[ComparisonRow],
    made: Sequence[tuple[Column, Callable[[ComparisonRow], str]]],
    notes: Iterable[str] = (),
    answer: Sequence[str] = (),
) -> Table:
    cells = [[text(row) for _, text in made] for row in table]
    return Table(title, [column for column, _ in made], cells, list(notes), answer=list(answer))


def span(low: float | None, high: float | None, places: int) -> str:
    """``0.9701 to 0.9725``."""
    return NONE if low is None or high is None else f"{rounded(low, places)} to {rounded(high, places)}"


def _optional(value: float | None, form: str, write: Callable[[float], str] | None = None) -> str:
    if value is None:
        return NONE
    return write(value) if write else f"{value:{form}}"


def _scientific(value: float | None) -> str:
    return _optional(value, ".2e")


def _unit(row: ComparisonRow) -> str:
    return f" ({unit_text(row.unit)})" if row.unit else ""


def identity(row: ComparisonRow) -> tuple[object, ...]:
    """What a row is, whatever the metric."""
    names = ("suite", "experiment", "architecture", "benchmark", "protocol", "method", "density_scope", "match")
    return (*row.take(*names), row.asked)
