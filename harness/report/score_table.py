"""The table of a comparison: the answer in words, then a row for each method and density."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from harness.analysis.comparison_row import ComparisonRow
from harness.formatting import listed
from harness.report.answers import answers, broken, density
from harness.report.tables import (
    BETTER,
    NONE,
    Column,
    Table,
    count,
    decimals,
    difference,
    fraction,
    interval,
    probability,
)

Made = tuple[Column, Callable[[ComparisonRow], str]]


def score_table(rows: Sequence[ComparisonRow], title: str = "") -> Table:
    """The rows of one table; what is the same in all of them stands in the notes instead of a column."""
    first = rows[0]
    places = precision(rows)
    against = {contrast.control for row in rows for contrast in row.contrasts[:1]}
    only = next(iter(against)) if len(against) == 1 else None
    baseline = next((row.baseline for row in rows if row.baseline), None)
    made: list[Made] = []
    if any(row.rank is not None for row in rows):
        made.append((Column("rank", 3, True), ranks))
    made.append((Column("method", strong=True, names=True, key=True), lambda row: row.method))
    names = [(row.method, row.match) for row in rows]
    several = len(set(names)) < len(names)  # then a row's density says which it is
    dense = (Column("density", 0 if several else 5, True, key=True), density)
    made += [dense] if several else []
    made.append((Column(first.metric, strong=True), lambda row: score(row, places)))
    if against:
        if only is None:
            made.append((Column("control", 3, names=True), _control))
        made.append((Column(f"minus {only or 'control'}", 1), lambda row: minus_control(row, places, named=False)))
    if any(row.contrast is not None and row.contrast.p_adjusted is not None for row in rows):
        made.append((Column("p", 2, True), tested))
    if any(row.mask_mean is not None for row in rows):
        made.append((Column("mean mask", 4, True), lambda row: fraction(row.mask_mean)))
    made += [] if several else [dense]
    if baseline and only != baseline and any(row.difference is not None for row in rows):
        made.append((Column(f"minus {baseline}", 6), lambda row: minus_baseline(row, places)))
    if any(row.published is not None for row in rows):
        made.append((Column("published", 6, True), lambda row: NONE if row.published is None else f"{row.published:g}"))
    varying = _vary(rows)
    made += [(Column(name, 7, right), _without(name, text)) for name, right, text in _COMMON if name in varying]
    made += [
        (Column("parameters left / all", 8, folded=True), parameters),
        (Column("asked", 9, True, folded=True), _asked),
        (Column("non-zero", 9, True, folded=True), lambda row: fraction(row.density_nonzero)),
    ]
    if any(row.effective is not None for row in rows):
        made.append((Column("effective", 9, True, folded=True), lambda row: fraction(row.effective)))
    if any(row.settings for row in rows):
        made.append((Column("settings", 9, folded=True), lambda row: row.settings or NONE))
    groups = {row.group for row in rows if (row.rank or 1) > 1}  # in which something is told apart
    bold = {i for i, row in enumerate(rows) if row.rank == 1 and row.group in groups}
    cells = [[text(row) for _, text in made] for row in rows]
    notes = [*_caption(rows, varying), *_warnings(rows, baseline)]
    columns = [column for column, _ in made]
    return Table(title or titled(rows), columns, cells, notes, bold, answers(rows), seed_table(rows))


def _without(unit: str, text: Callable[[ComparisonRow], str]) -> Callable[[ComparisonRow], str]:
    """The same without what the heading says."""
    return lambda row: text(row).removesuffix(f" {unit}") or NONE


def titled(rows: Sequence[ComparisonRow]) -> str:
    """``experiment: architecture on benchmark``."""
    first = rows[0]
    return f"{first.experiment}: {first.architecture} on {first.benchmark}".removeprefix(": ")


def precision(rows: Sequence[ComparisonRow]) -> int:
    """Decimals that show two digits of a typical interval, and no more than four digits of the scores need."""
    most = decimals([row.mean for row in rows])
    halves = sorted(
        (row.ci_high - row.ci_low) / 2 for row in rows if row.ci_low is not None and row.ci_high is not None
    )
    typical = halves[len(halves) // 2] if halves else 0.0
    return min(most, max(1, 1 + math.ceil(-math.log10(typical)))) if typical > 0 else most


def ranks(row: ComparisonRow) -> str:
    """``2``, or the range of ranks that the data allows: ``1\N{EN DASH}4``."""
    if row.rank is None or row.rank_worst is None:
        return NONE
    return str(row.rank) + (f"{NONE}{row.rank_worst}" if row.rank_worst > row.rank else "")


def score(row: ComparisonRow, places: int) -> str:
    """``0.9701 ± 0.0012``; ``0.7302 cut 2/5``; of mixed densities the span of the scores."""
    if row.mixed:
        text = f"{np.nanmin(row.values):.{places}f} to {np.nanmax(row.values):.{places}f}"
    else:
        text = interval(row.mean, row.ci_low, row.ci_high, places)
    return f"{text} {broken(row)}".rstrip()


def budget(row: ComparisonRow) -> str:
    """What training was given: ``5,372 + 5,371 steps, 8,000 examples, 512,000 tokens``."""
    return ", ".join(filter(None, (steps(row), examples(row), tokens(row)))) or "not recorded"


def steps(row: ComparisonRow) -> str:
    """``5,372 + 5,371 steps``; "" where that is not known."""
    found = row.program or (count(row.steps) if row.steps is not None else "")
    return f"{found} steps" if found else ""


def examples(row: ComparisonRow) -> str:
    """``8,000 examples``; "" where that is not known."""
    return "" if row.examples is None else f"{count(row.examples)} examples"


def tokens(row: ComparisonRow) -> str:
    """``512,000 tokens``; "" where an example is one."""
    return f"{count(row.tokens)} tokens" if row.tokens and row.tokens != row.examples else ""


def parameters(row: ComparisonRow) -> str:
    """``9,131 / 174,314``: those that are not zero, and all."""
    if row.parameters is None or row.density_total is None:
        return count(row.parameters)
    return f"{count(row.density_total * row.parameters)} / {count(row.parameters)}"


def meaning(row: ComparisonRow) -> str:
    """``accuracy (fraction): higher is better.``"""
    unit = f" ({row.unit})" if row.unit else ""
    return f"{row.metric}{unit}: {BETTER[row.direction]}."


_COMMON: tuple[tuple[str, bool, Callable[[ComparisonRow], str]], ...] = (
    ("seeds", True, lambda row: str(row.n)),
    ("steps", True, steps),
    ("examples", True, examples),
    ("tokens", True, tokens),
    ("scope", False, lambda row: row.density_scope),
)
"""Columns that are a note where they are the same in every row: name, aligned right, text."""


def _vary(rows: Sequence[ComparisonRow]) -> set[str]:
    return {name for name, _, text in _COMMON if len({text(row) for row in rows}) > 1}


def minus_control(row: ComparisonRow, places: int, named: bool = True) -> str:
    """Of the first question: ``-0.0120 ± 0.0030 random``."""
    found = row.contrast
    if found is None:
        return "control" if row.comparisons and row.method in row.comparisons.control_methods else NONE
    text = difference(found.difference, found.low, found.high, places)
    return f"{text} {found.control}" if named else text


def _control(row: ComparisonRow) -> str:
    return NONE if row.contrast is None else row.contrast.control


def tested(row: ComparisonRow) -> str:
    """The first question's p, adjusted."""
    found = row.contrast
    return NONE if found is None else probability(found.p_adjusted)


def minus_baseline(row: ComparisonRow, places: int) -> str:
    """``-0.0120 ± 0.0030``."""
    if row.reference == row.id:
        return "baseline"
    return difference(row.difference, row.difference_ci_low, row.difference_ci_high, places)


def _asked(row: ComparisonRow) -> str:
    return f"as {row.match}" if row.match else NONE if row.asked is None else f"{row.asked:g}"


def _caption(rows: Sequence[ComparisonRow], varying: set[str]) -> list[str]:
    first = rows[0]
    trained = "" if first.trained_on == first.benchmark else f" Trained on {first.trained_on}."
    same = [
        text(first)
        for name, text in (("steps", steps), ("examples", examples), ("tokens", tokens))
        if name not in varying
    ]
    if "seeds" not in varying:
        same.append(f"{first.n} seed{'' if first.n == 1 else 's'}")
    same = list(filter(None, same))
    scope = "" if "scope" in varying else f" Density is of the scope {first.density_scope}."
    every = f" Every row: {', '.join(same)}." if same else ""
    over = sorted({row.over for row in rows if row.ci_low is not None})
    scale = "" if first.scale.name == "identity" else f", on the {first.scale.name} scale"
    how = f" \N{PLUS-MINUS SIGN}: 95 % over {' or '.join(over)}{scale}." if over else ""
    return [f"{meaning(first)} Protocol: {first.protocol or 'not stated'}.{trained}", f"{every}{scope}{how}".strip()]


def seed_table(rows: Sequence[ComparisonRow]) -> Table | None:
    """Density and score of each seed, where a mean over them would say nothing; None if there is no such row."""
    spread = [row for row in rows if row.mixed]
    if not spread:
        return None
    places = decimals([row.mean for row in spread])
    seeds = sorted({seed for row in spread for seed in row.seeds})
    cells: list[list[str]] = []
    above: list[str] = []
    for row in spread:
        at = dict(zip(row.seeds, np.flatnonzero(np.isfinite(row.values)), strict=True))
        densities = ["density", *(fraction(row.densities[at[seed]], 4) if seed in at else NONE for seed in seeds)]
        if densities != above:  # a row's densities are the last ones above it
            cells.append(densities)
            above = densities
        texts = (f"{row.values[at[seed]]:.{places}f}" if seed in at else NONE for seed in seeds)
        cells.append([row.method, *texts])
    columns = [Column("", names=True), *(Column(f"seed {seed}", i, True) for i, seed in enumerate(seeds))]
    return Table(f"{rows[0].metric} by seed, where densities differ between seeds", columns, cells)


def _warnings(rows: Sequence[ComparisonRow], baseline: str | None) -> Iterator[str]:
    if any(row.mask_mean is not None for row in rows):
        yield (
            "Rows with a mean mask were tested with soft masks: all of their weights take part, so their density is 1 "
            "and they have no rank among sparse ones."
        )
    if any(len(row.contrasts) > 1 for row in rows):
        yield "Differences to a control, and p, are of the first question about a row; the answer has all of them."
    if small := sorted({row.method for row in rows if row.rival and row.density_mask == 1}):
        yield f"Ranked with rows that have as many parameters left, at fewer FLOPs: {listed(small)}."
    if len({row.examples for row in rows}) > 1:
        examples = [row.examples for row in rows if row.examples is not None]
        if examples and max(examples) > 1.01 * min(examples):
            span = f"{count(min(examples))} to {count(max(examples))}"
            yield f"WARNING: training budgets differ, from {span} examples: rows are ranked within equal ones only."
    yield from mixed(rows)
    if baseline is None:
        yield "No finished baseline of this protocol: there are no differences to one."
    for row in rows:
        if row.failed:
            seeds = ", ".join(f"seed {seed} ({reason})" for seed, reason in sorted(row.failed.items()))
            yield f"WARNING: {row.method} at density {fraction(row.density_mask, 4)} has no rank: {seeds}."
    if any(row.n == 1 for row in rows):
        yield "Rows with one seed have no interval over seeds, no test, no rank."


def mixed(rows: Sequence[ComparisonRow]) -> Iterator[str]:
    """A warning where versions or devices differ within a table."""
    if len(made := {text for row in rows for text in row.made_with}) > 1:
        methods = {text: sorted({row.method for row in rows if text in row.made_with}) for text in sorted(made)}
        parts = "; ".join(f"{text or 'not recorded'}: {', '.join(names)}" for text, names in methods.items())
        yield f"WARNING: the networks were not all made with the same versions and devices. {parts}."
