"""The networks of a suite side by side: one table per benchmark, and what is asked about two of them."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from harness.analysis.comparison import rows
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.network_contrasts import NetworkContrasts, network_contrasts
from harness.formatting import listed
from harness.report.answers import answers, density
from harness.report.boards import questions_table
from harness.report.cell_texts import budget, meaning, parameters, score
from harness.report.table_answers import networks_answer
from harness.report.tables import NONE, Column, Table, decimals
from harness.results.store import ResultStore


def network_tables(store: ResultStore, suite: str, frame: pd.DataFrame, asked_only: bool = False) -> Iterator[Table]:
    """One table per benchmark and protocol that several architectures share, without ranks: they differ in size.

    Where the suite asks about networks its answers come first, and the questions are the table's ``detail``.

    Args:
        frame: scores of this suite.
        asked_only: nothing that the suite does not ask about.
    """
    plan = store.plan(suite)
    asked = plan.networks if plan else []
    shared: dict[tuple[object, ...], list[ComparisonRow]] = {}
    for row in rows(frame[frame["primary"].astype(bool)]) if asked or not asked_only else ():
        names = ("suite", "benchmark", "metric", "protocol", "trained_on")
        shared.setdefault(row.take(*names), []).append(row)
    found = [(table, network_contrasts(table, asked)) for table in shared.values()]
    found = [
        (table, contrasts)
        for table, contrasts in found
        if contrasts.rows or (not asked_only and len({row.architecture for row in table}) > 1)
    ]
    benchmarks = [table[0].benchmark for table, _ in found]
    for table, contrasts in found:
        title = f"All architectures on {table[0].benchmark}"
        if benchmarks.count(table[0].benchmark) > 1:  # of other protocols, or trained on other data
            title += f" ({', '.join(sorted({row.experiment for row in table}))})"
        yield _table(title, table, contrasts)


def _table(title: str, table: list[ComparisonRow], found: NetworkContrasts) -> Table:
    first = table[0]
    sign = -1 if first.direction == "max" else 1
    table.sort(key=lambda row: (sign * row.mean, row.architecture, row.method, row.id))
    places = decimals([row.mean for row in table])
    networks = {(row.experiment, row.architecture) for row in table}
    several = len(networks) > len({architecture for _, architecture in networks})

    def network(row: ComparisonRow) -> str:
        return f"{row.experiment}: {row.architecture}" if several else row.architecture

    made = [
        (Column("architecture", names=True, key=True), network),
        (Column("method", names=True, key=True), lambda row: row.method),
        (Column("density", right=True, key=True), density),
        (Column(first.metric), lambda row: score(row, places)),
        (Column("parameters left / all", 8), parameters),
        (Column("training", folded=True), budget),
        (Column("training FLOPs", right=True, folded=True), lambda row: f"{row.flops:.2e}" if row.flops else NONE),
        (Column("seeds", 9, right=True), lambda row: str(row.n)),
    ]
    told = answers(found.rows) if found.rows else []
    if found.unlike:
        pairs = [
            f"{one.method} from {other.method} ({density(one)} and {density(other)})" for one, other in found.unlike
        ]
        told.append(f"Not comparable, because densities differ: {listed(pairs)}.")
    return Table(
        title,
        [column for column, _ in made],
        [[text(row) for _, text in made] for row in table],
        [
            f"{meaning(first)} Protocol: {first.protocol or 'not stated'}.",
            "Not ranked: the networks differ. FLOPs are those of dense training.",
        ],
        answer=[*told, networks_answer(table, bool(found.rows))],
        detail=questions_table(found.rows) if found.rows else None,
    )
