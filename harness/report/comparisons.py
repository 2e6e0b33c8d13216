"""What ``harness compare`` shows, as tables of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from harness.analysis.comparison import Row
from harness.analysis.pareto import efficient
from harness.analysis.problems import Tally
from harness.errors import UserError
from harness.report.boards import mixed, ranks
from harness.report.tables import (
    BETTER,
    NONE,
    Cell,
    Column,
    Table,
    count,
    decimals,
    difference,
    interval,
    probability,
)

WITHIN = (1.0, 1.01, 1.05, 1.1, 1.2, 1.5, 2.0)
"""Ratios to the best at which a performance profile is read out."""

COSTS: Mapping[str, tuple[str, Callable[[Row], float | None]]] = {
    "density": ("mask density", lambda row: row["density_mask"]),
    "flops": ("sparse-theoretical FLOPs of inference", lambda row: row["inference_flops_sparse"]),
    "training-flops": ("sparse-theoretical FLOPs of training", lambda row: row["flops_sparse"]),
    "seconds": ("seconds of training, measured", lambda row: row["seconds"]),
}
"""What a Pareto front may set the metric against: name -> (in words, of a row)."""


def comparison(rows: Sequence[Row]) -> Table:
    """All rows in one table; what is the same in every one stands once, in the title."""

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
        (Column("rank", 4, True), [ranks(row) for row in rows]),
        (Column("method"), [row["method"] for row in rows]),
        (Column("asked", 7, True), [_density(row["density_requested"]) for row in rows]),
        (Column("density", 0, True), [f"{row['density_mask']:.4f}" for row in rows]),
        (Column("mean"), [interval(row["mean"], row["ci_low"], row["ci_high"], places(row)) for row in rows]),
        (Column("n", 5, True), [str(row["n"]) for row in rows]),
        (Column("baseline", 8), [row["baseline"] or NONE for row in rows]),
        (
            Column("difference", 1),
            [
                difference(row["difference"], row["difference_ci_low"], row["difference_ci_high"], places(row))
                for row in rows
            ],
        ),
        (Column("p", 8, True), [probability(row["p_value"]) for row in rows]),
        (Column("p Holm", 5, True), [probability(row["p_adjusted"]) for row in rows]),
        (
            Column("detectable", 9, True),
            [NONE if row["mde"] is None else f"{row['mde']:.{places(row)}f}" for row in rows],
        ),
        (Column("seeds needed", 9, True), [count(row["seeds_needed"]) for row in rows]),
    ]
    notes += [
        "± and (a to b): 95 % t intervals over seeds; difference: minus the baseline, paired by seed.",
        "rank: among rows of equal density and budget, as far as the seeds tell; detectable: the smallest true "
        "difference found with 80 % power.",
        *mixed(rows),
    ]
    cells: list[list[Cell]] = [list(row) for row in zip(*(column for _, column in made), strict=True)]
    return Table(title, [column for column, _ in made], cells, notes)


def pareto(tables: Sequence[Sequence[Row]], cost: str) -> Iterator[Table]:
    """Each table from the cheapest row to the dearest, the efficient ones bold.

    Raises:
        UserError: if no row knows the cost.
    """
    words, of = COSTS[cost]
    if all(of(row) is None for table in tables for row in table):
        raise UserError(
            f"no result has its {words}: they are older than that (run the suite again with --force), or it cannot be "
            "known for these networks"
        )
    for everything in tables:
        table = [row for row in everything if of(row) is not None]
        if not table:
            continue
        table.sort(key=lambda row: (of(row), row["mean"], row["method"]))
        best = efficient([of(row) or 0.0 for row in table], [row["mean"] for row in table], table[0]["direction"])
        places = decimals([row["mean"] for row in table])
        columns = [
            Column("efficient"),
            Column("method", strong=True),
            Column("density", right=True),
            *([Column(cost, right=True)] if cost != "density" else []),
            Column(table[0]["metric"], strong=True),
            Column("n", 1, True),
        ]
        cells: list[list[Cell]] = [
            [
                "yes" if better else "",
                row["method"],
                f"{row['density_mask']:.4f}",
                *([f"{of(row):.3g}"] if cost != "density" else []),
                interval(row["mean"], row["ci_low"], row["ci_high"], places),
                str(row["n"]),
            ]
            for row, better in zip(table, best, strict=True)
        ]
        notes = [_meaning(table[0]), f"Efficient: no row has a lower {words} and a mean that is as good."]
        if missing := len(everything) - len(table):
            notes.append(f"{missing} rows do not know their {words}.")
        yield Table(_title(table), columns, cells, notes, {i for i, better in enumerate(best) if better})


def wins(tallies: Mapping[tuple[str, str], Tally]) -> Table:
    """Rows against columns: won / tied / lost problems; the methods that win most come first."""
    names = sorted({one for one, _ in tallies})
    net = {name: sum(tally.wins - tally.losses for (one, _), tally in tallies.items() if one == name) for name in names}
    names.sort(key=lambda name: (-net[name], name))
    cells: list[list[Cell]] = [
        [name, *(_tally(tallies.get((name, other))) if other != name else "" for other in names), f"{net[name]:+d}"]
        for name in names
    ]
    columns = [Column("method"), *(Column(f"against {name}", right=True) for name in names), Column("net", right=True)]
    return Table(
        "Won / tied / lost",
        columns,
        cells,
        [
            "A problem is one benchmark with rows of equal density and training budget. Won: p < 0.05, paired by seed, "
            "Holm's correction within the problem. Net: won less lost."
        ],
    )


def performance_profile(steps: Mapping[str, Sequence[tuple[float, float]]], problems: int, left: int) -> Table:
    """How often each method is within a ratio of the best; the most often best come first."""

    def share(name: str, ratio: float) -> float:
        return max((fraction for at, fraction in steps[name] if at <= ratio + 1e-12), default=0.0)

    names = sorted(steps, key=lambda name: ([-share(name, ratio) for ratio in WITHIN], name))
    cells: list[list[Cell]] = [[name, *(f"{share(name, ratio):.2f}" for ratio in WITHIN)] for name in names]
    columns = [Column("method"), Column("best", right=True)]
    columns += [Column(f"within {ratio:g} x", i + 1, True) for i, ratio in enumerate(WITHIN[1:])]
    notes = [
        f"Fraction of {problems} problems (a benchmark with rows of equal density and budget) on which a method's mean "
        "is within a ratio of the best one. Whether differences are real is not asked: see --wins."
    ]
    if left:
        notes.append(f"{left} problems have means that are not positive and no ratios: left out.")
    return Table("Performance profile", columns, cells, notes)


def _title(table: Sequence[Row]) -> str:
    first = table[0]
    return f"{first['suite']}, {first['experiment']}: {first['architecture']} on {first['benchmark']}"


def _tally(tally: Tally | None) -> str:
    return NONE if tally is None else f"{tally.wins} / {tally.ties} / {tally.losses}"


def _meaning(row: Row) -> str:
    unit = f" ({row['unit']})" if row["unit"] else ""
    return f"{row['metric']}{unit}: {BETTER[row['direction']]}."


def _density(value: float | None) -> str:
    return NONE if value is None else f"{value:.4g}"
