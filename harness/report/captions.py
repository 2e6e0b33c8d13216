"""What a reader of a paper has to know of a table, in a few lines, and what its text calls it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.comparison_row import ComparisonRow
from harness.formatting import listed, unit_text

ARROWS = {"max": "\N{UPWARDS ARROW}", "min": "\N{DOWNWARDS ARROW}"}
"""Which way a metric is better, as papers write it."""


def measured(rows: Sequence[ComparisonRow]) -> str:
    """``Accuracy (\N{UPWARDS ARROW}) of mlp on digits``."""
    first = rows[0]
    name = first.metric.replace("_", " ")
    unit = unit_text(first.unit) if first.unit != "fraction" else ""
    more = ", ".join(filter(None, [unit, ARROWS.get(first.direction)]))
    trained = "" if first.trained_on == first.benchmark else f" (trained on {first.trained_on})"
    named = f"{name[0].upper()}{name[1:]}" + (f" ({more})" if more else "")
    return f"{named} of {first.architecture}{trained} on {first.benchmark}"


def directions(rows: Sequence[ComparisonRow]) -> str:
    """``higher is better``; ``lower is better for loss, higher for accuracy``."""
    lower, higher = (
        list(dict.fromkeys(row.metric.replace("_", " ") for row in rows if row.direction == way))
        for way in ("min", "max")
    )
    if lower and higher:
        return f"lower is better for {listed(lower)}, higher for {listed(higher)}"
    return "lower is better" if lower else "higher is better"


def caption(what: str, rows: Sequence[ComparisonRow], bold: bool) -> str:
    """What is measured, over how many seeds, what the intervals are, what is bold."""
    counts = sorted({row.n for row in rows})
    if counts == [1]:
        said = [f"{what}.", "One seed, no interval."]
    else:
        seeds = f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else f"{counts[0]} seeds"
        bounds = any(row.ci_low is not None for row in rows)
        said = [f"{what}.", f"Mean over {seeds}" + (" \N{PLUS-MINUS SIGN} 95 % interval." if bounds else ".")]
    if bold:
        said.append("Bold: not significantly beaten at equal density and training.")
    return " ".join(said)


def below(rows: Sequence[ComparisonRow]) -> str:
    """What else a cell may hold, in small print; "" for means alone."""
    said = ["Where seeds differ in density: lowest to highest score."] if any(row.mixed for row in rows) else []
    reasons = sorted({reason for row in rows for reason in row.broken.values()})
    said += [f"{reason.capitalize()} n/m: the output of n of m networks ignores the input." for reason in reasons]
    return " ".join(said)


def label(rows: Sequence[ComparisonRow], *view: str) -> str:
    """Suite, experiment and network, then the words of the view, and the density of the masks where it is one."""
    densities = {f"{row.density_mask:.2g}" for row in rows if not row.whole and not row.small}
    at = [f"at-{density}" for density in densities] if len(densities) == 1 else []
    return "-".join([*rows[0].take("suite", "experiment", "architecture"), *view, *at])
