"""Means with intervals, as the rows of a comparison hold them: drawn, and in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.analysis.comparison_row import ComparisonRow
from harness.report.figures.plot import Plot
from harness.report.figures.scale import Scale, fit, short, wide
from harness.report.palette import Style
from harness.report.svg import brief, drawable, element, escape, line, marker
from harness.report.tables import BETTER, decimals, interval

NOTE = "Bars: 95 % interval over seeds. Hollow: one seed."
_REACH = 3.0  # intervals may take this many times the range of the means on either side before they are cut


def with_mean(table: Iterable[ComparisonRow]) -> list[ComparisonRow]:
    """The rows that have a mean and a mask density that can be drawn."""
    return [row for row in table if drawable(row.mean) and drawable(row.density_mask)]


def limits(row: ComparisonRow) -> tuple[float, float] | None:
    """The 95 % interval of a row, or None where there is none (one seed)."""
    low, high = row.ci_low, row.ci_high
    return (low, high) if drawable(low) and drawable(high) and row.n != 1 else None


def metric_scale(table: Sequence[ComparisonRow]) -> Scale:
    """A scale for the means of rows and their intervals; very wide intervals are cut.

    Logarithmic for metrics to be lowered, a perplexity say, whose means differ by a factor of 20.
    """
    means = [row.mean for row in table]
    span = max(means) - min(means)
    ends = [end for row in table for end in limits(row) or ()]
    if span > 0:
        ends = [min(max(end, min(means) - _REACH * span), max(means) + _REACH * span) for end in ends]
    if table[0].direction == "min" and wide(means):
        return fit([*means, *(min(max(end, min(means) / 2), max(means) * 2) for end in ends)], log=True)
    return fit([*means, *ends])


def metric_label(row: ComparisonRow) -> str:
    """``accuracy (fraction), higher is better``."""
    unit = f" ({brief(row.unit)})" if row.unit else ""
    return f"{brief(row.metric)}{unit}, {BETTER.get(row.direction, '')}".rstrip(", ")


def where(row: ComparisonRow) -> str:
    """What the rows of a table were measured on."""
    return f"{brief(row.architecture)} on {brief(row.benchmark)}"


def value_text(row: ComparisonRow) -> str:
    """``0.9620 ± 0.0120 (n = 3)``."""
    low, high = limits(row) or (None, None)
    if abs(row.mean) >= 1e5 or 0 < abs(row.mean) < 1e-3:
        half = "" if low is None or high is None else f" ± {short((high - low) / 2)}"
        return f"{short(row.mean, 4)}{half} (n = {row.n})"
    return f"{interval(row.mean, low, high, decimals([row.mean]))} (n = {row.n})"


def point_text(row: ComparisonRow) -> str:
    """``name, density 0.25: 0.9620 ± 0.0120 (n = 3)``, with the range of the density where seeds differ."""
    low, high = row.density_low, row.density_high
    density = f"{row.density_mask:.4g}"
    if low is not None and high is not None and f"{low:.3g}" != f"{high:.3g}":
        density += f" (seeds {low:.3g} to {high:.3g})"
    return f"{brief(row.method)}, density {density}: {value_text(row)}"


def draw(plot: Plot, style: Style, row: ComparisonRow, x: float) -> float:
    """Draw the mean of a row at the pixel ``x`` with its interval; the pixel of the mean."""
    y = plot.y(row.mean)
    bounds = limits(row)
    if bounds and bounds[1] > bounds[0]:
        bar = line([(x, plot.y(bounds[0])), (x, plot.y(bounds[1]))])
        for bound in bounds:
            if plot.y.low <= bound <= plot.y.high:  # an interval that is cut has no end
                bar += line([(x - 3, plot.y(bound)), (x + 3, plot.y(bound))])
        plot.add("band", style, element("path", d=bar, class_="e"))
    tooltip = element("title", escape(point_text(row)))
    shape = element("path", tooltip, d=marker(style.marker, x, y), class_="p" if row.n != 1 else "h")
    plot.add("point", style, shape)
    return y


def ranking(table: Sequence[ComparisonRow]) -> str:
    """``best mean a 0.9620 (n = 3), then b 0.9500 (n = 3), last c 0.9100 (n = 3)``."""
    worse = -1.0 if table[0].direction != "min" else 1.0
    ordered = sorted(table, key=lambda row: (worse * row.mean, row.method))
    first = "highest" if table[0].direction == "none" else "best"
    texts = [f"{brief(row.method)} {value_text(row)}" for row in ordered]
    if len(texts) == 1:
        return texts[0]
    middle = f", then {texts[1]}" if len(texts) > 2 else ""
    return f"{first} mean {texts[0]}{middle}, last {texts[-1]}"
