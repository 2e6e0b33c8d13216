"""What ``harness compare`` shows, as tables of text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.pareto import efficient
from harness.analysis.problems import Tally
from harness.errors import UserError
from harness.formatting import listed
from harness.report.answers import density
from harness.report.captions import label as table_label
from harness.report.captions import measured
from harness.report.cell_texts import meaning, precision, score, titled
from harness.report.costs import COSTS
from harness.report.places import label, lost
from harness.report.table_answers import PROBLEM, missing_answer, pareto_answer, profile_answer, wins_answer
from harness.report.tables import NONE, Column, Table, fraction

WITHIN = (1.0, 1.01, 1.05, 1.1, 1.2, 1.5, 2.0)
"""Ratios to the best at which a performance profile is read out."""


def pareto(tables: Sequence[Sequence[ComparisonRow]], cost: str) -> Iterator[Table]:
    """Each table from the cheapest row to the dearest, the efficient ones bold.

    Rows whose densities or sizes differ between seeds have no mean and are left out; those whose networks all do not
    work are never efficient.

    Raises:
        UserError: if no row knows the cost, or none has a mean.
    """
    words, of = COSTS[cost].words, COSTS[cost].of
    if all(row.mixed for table in tables for row in table):
        raise UserError(
            "densities differ between the seeds of every row, so that there is no mean to set against a cost: see the "
            "table without --pareto"
        )
    if all(of(row, table) is None for table in tables for row in table):
        raise UserError(
            f"no result has its {words}: they are older than that (run the suite again with --force), or it cannot be "
            "known for these networks"
        )
    for everything in tables:
        costs = {row.id: known for row in everything if (known := of(row, everything)) is not None}
        table = [row for row in everything if row.id in costs and not row.mixed]
        if not table:
            continue
        table.sort(key=lambda row: (costs[row.id], row.mean, row.method))
        scores = [math.nan if lost(row) else row.mean for row in table]
        best = efficient([costs[row.id] for row in table], scores, table[0].direction)
        places = precision(table)
        columns = [
            Column("efficient"),
            Column("method", strong=True, names=True),
            Column("density", right=True),
            *([Column(cost, right=True)] if cost != "density" else []),
            Column(table[0].metric, strong=True),
            Column("n", 4, True),
        ]
        cells: list[list[str]] = [
            [
                "yes" if better else "",
                label(row),
                density(row),
                *([f"{costs[row.id]:.3g}"] if cost != "density" else []),
                score(row, places),
                str(row.n),
            ]
            for row, better in zip(table, best, strict=True)
        ]
        notes = [meaning(table[0]), f"Efficient: no row has a lower {words} and a mean that is as good."]
        if missing := sum(row.id not in costs for row in everything):
            notes.append(f"{missing} rows do not know their {words}.")
        if mixed := [row.method for row in everything if row.mixed]:
            notes.append(
                f"Left out, for densities or sizes differ between seeds and there is no mean: {listed(mixed)}."
            )
        small = [f"{row.method} at {fraction(costs[row.id])}" for row in table if row.small]
        if small and cost == "density":
            notes.append(f"A smaller network stands where a mask leaves as many parameters: {listed(small)}.")
        yield Table(
            f"{table[0].suite}, {titled(table)}",
            columns,
            cells,
            notes,
            {i for i, better in enumerate(best) if better},
            [pareto_answer(table, best.tolist(), words)],
            caption=f"{measured(table)} against {words}. Bold: none that costs less is as good, by the means alone.",
            label=table_label(table, table[0].benchmark, table[0].metric, "pareto", cost),
        )


def wins(tallies: Mapping[tuple[str, str], Tally]) -> Table:
    """Won / tied / lost problems in all, then against each other method; the methods that win most come first."""
    sums: dict[str, Tally] = {}
    for (name, _), found in tallies.items():
        known = sums.get(name, Tally())
        sums[name] = Tally(known.wins + found.wins, known.ties + found.ties, known.losses + found.losses)
    net = {name: total.wins - total.losses for name, total in sums.items()}
    names = sorted(sums, key=lambda name: (-net[name], name))
    cells = [
        [
            str(i),
            name,
            _tally(sums[name]),
            f"{net[name]:+d}",
            *(_tally(tallies.get((name, other))) if other != name else "" for other in names),
        ]
        for i, name in enumerate(names, 1)
    ]
    columns = [
        Column("", right=True),
        Column("method", names=True),
        Column("all", right=True),
        Column("net", right=True),
    ]
    columns += [Column(f"{i}", i, right=True) for i in range(1, len(names) + 1)]
    return Table(
        "Won/tied/lost",
        columns,
        cells,
        [
            "Columns with numbers: against the method of that row. A problem is "
            f"{PROBLEM}. Won: p < 0.05, paired by seed, Holm's correction within the problem. Net: "
            "won less lost."
        ],
        answer=[wins_answer(tallies)],
        caption=f"Problems won/tied/lost, each {PROBLEM}: in all, and against the method of row 1, 2, ... "
        "Won: p < 0.05, paired by seed, Holm's correction. Net: won less lost.",
    )


def performance_profile(steps: Mapping[str, Sequence[tuple[float, float]]], problems: int, left: int) -> Table:
    """How often each method is within a ratio of the best; the most often best come first."""

    def share(name: str, ratio: float) -> float:
        return max((fraction for at, fraction in steps[name] if at <= ratio + 1e-12), default=0.0)

    names = sorted(steps, key=lambda name: ([-share(name, ratio) for ratio in WITHIN], name))
    cells: list[list[str]] = [[name, *(f"{share(name, ratio):.2f}" for ratio in WITHIN)] for name in names]
    columns = [Column("method", names=True), Column("best", right=True)]
    columns += [Column(f"{ratio:g}", i + 1, True) for i, ratio in enumerate(WITHIN[1:])]
    notes = [
        f"Fraction of {problems} problems ({PROBLEM}) on which a method's mean "
        "is within this ratio of the best one. Whether differences are real is not asked: see --wins."
    ]
    notes += missing_answer(steps, problems)
    if left:
        notes.append(f"{left} problems have means that are not positive and no ratios: left out.")
    caption = f"Fraction of {problems} problems, each {PROBLEM}, on which a mean is within this ratio of the best one."
    return Table(
        "Performance profile", columns, cells, notes, answer=[profile_answer(steps, problems)], caption=caption
    )


def _tally(tally: Tally | None) -> str:
    return NONE if tally is None else f"{tally.wins}/{tally.ties}/{tally.losses}"
