"""What a reader of a paper has to know of a table, in a few lines, and what its text calls it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.comparison_row import ComparisonRow
from harness.formatting import listed, unit_text

ARROWS = {"max": "\N{UPWARDS ARROW}", "min": "\N{DOWNWARDS ARROW}"}
"""Which way a metric is better, as papers write it."""
_BROKEN = {
    "cut": "in n of m networks no path leads from input to output",
    "constant": "n of m networks give one output, or one class, for every input",
}


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
    """``higher is better``, of several metrics that differ in it ``lower is better for loss, higher for accuracy``.

    "" where no metric has a direction.
    """
    ways = {row.metric.replace("_", " "): row.direction for row in rows}
    lower, higher, neither = ([name for name in ways if ways[name] == way] for way in ("min", "max", "none"))
    if lower and higher:
        return f"lower is better for {listed(lower)}, higher for {listed(higher)}"
    if not lower and not higher:
        return ""
    return ("lower" if lower else "higher") + " is better" + (f" for {listed(lower or higher)}" if neither else "")


def caption(what: str, rows: Sequence[ComparisonRow], bold: bool) -> str:
    """What is measured, over how many seeds, what the intervals are, what is bold."""
    counts = sorted({row.n for row in rows})
    if counts == [1]:
        said = [f"{what}.", "One seed, no interval."]
    else:
        seeds = f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else f"{counts[0]} seeds"
        over = sorted({row.over for row in rows if row.ci_low is not None})
        bounds = f" \N{PLUS-MINUS SIGN} 95 % over {' or '.join(over)}" if over else ""
        scale = _scales(rows)
        said = [
            f"{what}.",
            f"Mean over {seeds}{bounds}" + (f", {'both ' if over else ''}on {scale}." if scale else "."),
        ]
    if bold:
        said.append("Bold: not significantly beaten at equal density and training.")
    return " ".join(said)


def _scales(rows: Sequence[ComparisonRow]) -> str:
    """``the logit scale``; ``the logit scale for accuracy, the log scale for loss``; "" without one."""
    names: dict[str, list[str]] = {}
    for row in rows:
        names.setdefault(row.scale.name, []).append(row.metric.replace("_", " "))
    if len(names) == 1:
        return "".join(f"the {name} scale" for name in names if name != "identity")
    parts = ((name, listed(list(dict.fromkeys(of)))) for name, of in names.items() if name != "identity")
    return ", ".join(f"the {name} scale for {of}" for name, of in parts)


def below(rows: Sequence[ComparisonRow]) -> str:
    """What else a cell may hold, in small print; "" for means alone."""
    said = ["Where seeds differ in density: lowest to highest score."] if any(row.mixed for row in rows) else []
    reasons = sorted({reason for row in rows for reason in row.broken.values()})
    said += [f"{reason.capitalize()} n/m: {_BROKEN[reason]}." for reason in reasons]
    return " ".join(said)


def label(rows: Sequence[ComparisonRow], *view: str) -> str:
    """Suite, experiment and network, then the words of the view, and the density of the masks where it is one."""
    densities = {f"{row.density_mask:.2g}" for row in rows if not row.whole and not row.small}
    at = [f"at-{density}" for density in densities] if len(densities) == 1 else []
    return "-".join([*rows[0].take("suite", "experiment", "architecture"), *view, *at])
