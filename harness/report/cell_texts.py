"""A row's cells as texts, equal in every table that has them; and what a table and its metric are called."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.analysis.comparison_row import ComparisonRow
from harness.formatting import unit_text
from harness.report.answers import broken
from harness.report.tables import BETTER, NONE, count, decimals, difference, interval, probability, rounded


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


def dead_units(row: ComparisonRow) -> str:
    """``183 of 192``; ``46\N{EN DASH}183 of 192`` where seeds differ."""
    if row.dead_low is None or row.dead_high is None:
        return NONE
    low, high = count(row.dead_low), count(row.dead_high)
    return f"{low if low == high else f'{low}{NONE}{high}'} of {count(row.units)}"


def meaning(row: ComparisonRow) -> str:
    """``accuracy (fraction): higher is better.``"""
    unit = f" ({unit_text(row.unit)})" if row.unit else ""
    return f"{row.metric}{unit}: {BETTER[row.direction]}."


def ranks(row: ComparisonRow) -> str:
    """``2``, or the range of ranks that the data allows: ``1\N{EN DASH}4``."""
    if row.rank is None or row.rank_worst is None:
        return NONE
    return str(row.rank) + (f"{NONE}{row.rank_worst}" if row.rank_worst > row.rank else "")


def score(row: ComparisonRow, places: int) -> str:
    """``0.9701 ± 0.0012``; ``0.7302 cut 2/5``; of mixed densities or sizes the span of the scores."""
    if row.mixed:
        text = f"{rounded(np.nanmin(row.values), places)} to {rounded(np.nanmax(row.values), places)}"
    else:
        text = interval(row.mean, row.ci_low, row.ci_high, places)
    apart = "," if row.broken and text.endswith("seed") else ""
    return f"{text}{apart} {broken(row)}".rstrip()


def short_score(row: ComparisonRow, places: int) -> str:
    """The same without the interval, ``0.9701``; of mixed densities or sizes it is their span too."""
    return score(row, places) if row.mixed else f"{rounded(row.mean, places)} {broken(row)}".rstrip()


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
    """``9,131 / 174,314``: those that are not zero, and all; of networks of several sizes their span."""
    if math.isnan(row.left):
        return count(row.parameters)
    if row.small and row.mixed:  # all of each
        return f"{count(np.nanmin(row.lefts))}{NONE}{count(np.nanmax(row.lefts))}"
    return f"{count(row.left)} / {count(row.parameters)}"


def minus_control(row: ComparisonRow, places: int, named: bool = True) -> str:
    """Of the first question: ``-0.0120 ± 0.0030 random``."""
    found = row.contrast
    if found is None:
        return "control" if row.comparisons and row.method in row.comparisons.control_methods else NONE
    text = difference(found.difference, found.low, found.high, places)
    return f"{text} {found.control}" if named else text


def tested(row: ComparisonRow) -> str:
    """The first question's p, adjusted."""
    found = row.contrast
    return NONE if found is None else probability(found.p_adjusted)


def baseline_name(rows: Sequence[ComparisonRow]) -> str | None:
    """``dense``; ``baseline`` where rows have baselines of their own, None where no row has one."""
    names = {row.baseline for row in rows if row.baseline}
    return "baseline" if len(names) > 1 else next(iter(names), None)


def minus_baseline(row: ComparisonRow, places: int) -> str:
    """``-0.0120 ± 0.0030``."""
    if row.reference == row.id:
        return "baseline"
    return difference(row.difference, row.difference_ci_low, row.difference_ci_high, places)
