"""What a reader of a paper has to know of a table, in a few lines, and what its text calls it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.comparison_row import ComparisonRow
from harness.formatting import listed, unit_text
from harness.report.answers import few
from harness.report.score_notes import ranked_apart

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
        said.append("Bold: not beaten at equal density and training (Holm, all pairs), interval meets the best one's.")
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
    if apart := list(ranked_apart(rows)):
        said.append(f"Bold tells apart what the questions, a family of tests of their own, do not: {few(apart)}.")
    return " ".join(said)


def meanings(rows: Sequence[ComparisonRow], control: str) -> dict[str, str]:
    """What columns hold whose headings do not say it. ``control``: the heading of the differences to one."""
    contrasts = [row.contrasts[0] for row in rows if row.contrasts]
    asked = list(dict.fromkeys(f"{contrast.method} minus {contrast.control}" for contrast in contrasts))
    families = [f"{family:,}" for family in sorted({contrast.family for contrast in contrasts})]
    over = f"Holm's correction over {listed(families, 'or')} test{'s' * (families != ['1'])}"
    found = {
        "rank": "range in the group of equal density and training, 95 %, Holm's correction over all of its pairs",
        control: "difference paired by seed \N{PLUS-MINUS SIGN} 95 %, of the first question about a row",
        "p": f"two-sided, paired by seed, {over}, for {few(asked)}",
        "mean mask": "mean of the soft masks of the test, of which all weights take part",
        "published": "as a paper reports it",
        "asked": "density that was asked for",
        "non-zero": "fraction of the weights",
        "effective": "fraction of the weights, those that can change the output",
        "dead units": "those that carry nothing",
        "settings": "chosen by trials on validation data",
        "density": f"fraction of {' or '.join(sorted({row.density_scope for row in rows}))} weights kept",
    }
    differences = {f"minus {name}": "difference paired by seed" for name in {row.baseline or "" for row in rows}}
    return {"minus baseline": "difference to the row of its own settings"} | differences | found


def label(rows: Sequence[ComparisonRow], *view: str) -> str:
    """Suite, experiment and network, then the words of the view, and the density of the masks where it is one."""
    densities = {f"{row.density_mask:.2g}" for row in rows if not row.whole and not row.small}
    at = [f"at-{density}" for density in densities] if len(densities) == 1 else []
    return "-".join([*rows[0].take("suite", "experiment", "architecture"), *view, *at])
