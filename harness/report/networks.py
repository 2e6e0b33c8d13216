"""The networks of a suite side by side: one table per benchmark, and what is asked about two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.grouping import close
from harness.analysis.network_contrasts import NetworkContrasts, by_benchmark, network_names
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
    several = frame["experiment"].nunique() > 1  # a published protocol beside a fair one, say
    for found in by_benchmark(frame, asked) if asked or not asked_only else ():
        if found.rows or (not asked_only and len({row.architecture for row in found.table}) > 1):
            of = f" ({', '.join(sorted({row.experiment for row in found.table}))})" if several else ""
            yield _table(f"All architectures on {found.table[0].benchmark}{of}", found)


def asked_of_networks(frame: pd.DataFrame, stores: Mapping[str, ResultStore]) -> list[Sequence[ComparisonRow]]:
    """The rows of suites that their questions about networks are about, with these: a list for each benchmark.

    Args:
        frame: scores of any suites.
        stores: where the plan of each suite is.
    """
    plans = {suite: store.plan(suite) for suite, store in stores.items()}
    asked = {suite: plan.networks for suite, plan in plans.items() if plan and plan.networks}
    found = [of for suite, pairs in asked.items() for of in by_benchmark(frame[frame["suite"] == suite], pairs)]
    return [of.rows for of in found if of.rows]


def _table(title: str, found: NetworkContrasts) -> Table:
    first = found.table[0]
    sign = -1 if first.direction == "max" else 1
    table = sorted(found.table, key=lambda row: (sign * row.mean, row.architecture, row.method, row.id))
    places = decimals([row.mean for row in table])
    names = network_names(table)
    made: list[tuple[Column, Callable[[ComparisonRow], str]]] = [
        (Column("network", names=True, key=True), lambda row: names[row.id]),
        (Column(first.metric), lambda row: score(row, places)),
        (Column("density", right=True, key=True), density),
        (Column("parameters left / all", 8), parameters),
        (Column("training", 10, folded=True), budget),
        (Column("training FLOPs", 9, right=True, folded=True), lambda row: f"{row.flops:.2e}" if row.flops else NONE),
        (Column("seeds", 7, right=True), lambda row: str(row.n)),
    ]
    told = answers(found.rows) if found.rows else []
    if found.unlike:
        pairs = [
            f"{one.method} from {other.method} ({density(one)} and {density(other)})" for one, other in found.unlike
        ]
        told.append(f"Not comparable, because densities or seeds differ: {listed(pairs)}.")
    told += _sizes(found)
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


def _sizes(found: NetworkContrasts) -> list[str]:
    """How large the networks are that were set against each other, where that is not the same."""
    sizes = {row.architecture: row.parameters for row in found.rows if row.parameters is not None and not row.small}
    if not sizes or close(min(sizes.values()), max(sizes.values())):
        return []
    return [f"They differ in size: {listed([f'{name} has {sizes[name]:,.0f} parameters' for name in sorted(sizes)])}."]
