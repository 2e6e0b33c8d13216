"""Means with intervals, as the rows of a comparison hold them: drawn, and in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from harness.analysis.comparison_row import ComparisonRow
from harness.formatting import listed, unit_text
from harness.report.answers import broken, few
from harness.report.figures.plot import Plot
from harness.report.figures.scale import Scale, fit, fit_logits, logit, wide
from harness.report.palette import Style
from harness.report.places import lost
from harness.report.svg import CROSSED, MARKERS, brief, coordinate, drawable, element, escape, line, marker
from harness.report.table_answers import at
from harness.report.tables import BETTER, decimals, interval, rounded

ARROWS = "Arrows: off the scale."
LOGITS = "A scale of logits."
_FAR = 2.0
_SMALL = 0.7  # of a point, for a single seed
_REACH = 3.0  # intervals may take this many times the range of the means on either side before they are cut


def with_mean(table: Iterable[ComparisonRow]) -> list[ComparisonRow]:
    """The rows that have a mean and a mask density that can be drawn; those of mixed densities have no mean."""
    return [row for row in table if not row.mixed and drawable(row.mean) and drawable(row.density_mask)]


def limits(row: ComparisonRow) -> tuple[float, float] | None:
    """The 95 % interval of a row, or None where there is none (one seed)."""
    low, high = row.ci_low, row.ci_high
    return (low, high) if drawable(low) and drawable(high) and row.n != 1 else None


def metric_scale(table: Sequence[ComparisonRow], like: ComparisonRow, others: Iterable[float] = ()) -> Scale:
    """A scale for the means of rows and their intervals, and for other scores; very wide intervals are cut.

    Shares are on logits, on which they are compared; metrics to be lowered, a perplexity say, that differ by a factor
    of 20 are on logarithms. ``like``: a row of the metric.
    """
    bent = logit if like.unit == "fraction" else float
    scores = [bent(score) for score in (*(row.mean for row in table), *others)]
    span = max(scores) - min(scores)
    ends = [bent(end) for row in table for end in limits(row) or ()]
    if span > 0:
        ends = [min(max(end, min(scores) - _REACH * span), max(scores) + _REACH * span) for end in ends]
    if like.unit == "fraction":
        return fit_logits([*scores, *ends])
    if like.direction == "min" and wide(scores):
        return fit([*scores, *(min(max(end, min(scores) / 2), max(scores) * 2) for end in ends)], log=True)
    return fit([*scores, *ends])


def near_scale(rows: Sequence[ComparisonRow], far: float = _FAR) -> Scale:
    """A :func:`metric_scale` of the rows that are :func:`usual`."""
    return metric_scale(usual(rows, metric_scale(rows, rows[0]), rows[0].direction, far), rows[0])


def usual(rows: Sequence[ComparisonRow], scale: Scale, direction: str, far: float = _FAR) -> Sequence[ComparisonRow]:
    """The rows that are not far worse than the middle one, as distances on a scale of all go.

    ``far``: times as far from the best as half of the rows are.
    """
    places = sorted((scale(row.mean) for row in rows), reverse=direction != "min")
    reach = far * abs(places[len(places) // 2] - places[0])
    return [row for row in rows if abs(scale(row.mean) - places[0]) <= reach] or rows


def metric_label(row: ComparisonRow) -> str:
    """``accuracy (fraction), higher is better``."""
    unit = f" ({brief(unit_text(row.unit))})" if row.unit else ""
    return f"{brief(row.metric)}{unit}, {BETTER.get(row.direction, '')}".rstrip(", ")


def where(row: ComparisonRow) -> str:
    """What the rows of a table were measured on."""
    return f"{brief(row.architecture)} on {brief(row.benchmark)}"


def notes(rows: Sequence[ComparisonRow], level: Sequence[ComparisonRow] = ()) -> list[str]:
    """Sentences that say what the marks of :func:`draw` mean, as far as rows with means have them.

    ``level``: rows that are drawn as a level line with a band instead.
    """
    found = []
    marks = [name for name, group in (("bars", rows), ("band", level)) if any(map(limits, group))]
    if marks:
        over = sorted({row.over for row in (*rows, *level) if limits(row)})
        found.append(f"{listed(marks).capitalize()}: 95 % interval over {' or over '.join(over)}.")
    if any(row.n == 1 for row in rows):
        found.append("Hollow: one seed.")
    if any(lost(row) for row in rows):
        found.append("Crossed: in no seed does the output depend on the input.")
    return found


def unreliable(rows: Sequence[ComparisonRow]) -> list[str]:
    """A sentence that names the rows of which some networks do not work."""
    sized = {row.id: f" for {row.asked:g}" for row in rows if row.small and row.asked is not None}
    told = [f"{at(row)}{sized.get(row.id, '')} ({broken(row)})" for row in rows if row.broken]
    return [f"Output that does not depend on the input: {few(told)}."] if told else []


def value_text(row: ComparisonRow) -> str:
    """``0.9620 ± 0.0120 (n = 3)``; ``(n = 5, cut 2/5)`` where networks do not work."""
    low, high = limits(row) or (None, None)
    count = f"(n = {row.n}{', ' if row.broken else ''}{broken(row)})"
    return f"{interval(row.mean, low, high, decimals([row.mean]))} {count}"


def point_text(row: ComparisonRow, name: str) -> str:
    """``name, density 0.25: 0.9620 ± 0.0120 (n = 3)``, with the range of the density where seeds differ."""
    low, high = row.density_low, row.density_high
    density = f"{row.density_mask:.4g}"
    if f"{low:.3g}" != f"{high:.3g}":
        density += f" (seeds {low:.3g} to {high:.3g})"
    return f"{brief(name)}, density {density}: {value_text(row)}"


def draw(plot: Plot, style: Style, row: ComparisonRow, x: float, name: str, layer: str = "point") -> float:
    """Draw the mean of a row at the pixel ``x`` with its interval, its point on a layer; the pixel of the mean.

    A row whose networks all do not work is a cross; one that is off the scale an arrow at its end.
    """
    y = plot.y(row.mean)
    tooltip = element("title", escape(point_text(row, name)))
    if not plot.y.holds(row.mean):
        away = 6.0 if row.mean > plot.y.high else -6.0  # from the edge, downwards
        outline = line([(x - 4, y + away), (x, y), (x + 4, y + away)], close=True)
        plot.add(layer, style, element("path", tooltip, d=outline, class_="f"))
        return y
    bounds = limits(row)
    if bounds and bounds[1] > bounds[0]:
        bar = line([(x, plot.y(bounds[0])), (x, plot.y(bounds[1]))])
        for bound in bounds:
            if plot.y.low <= bound <= plot.y.high:  # an interval that is cut has no end
                bar += line([(x - 3, plot.y(bound)), (x + 3, plot.y(bound))])
        plot.add("band", style, element("path", d=bar, class_="e"))
    plot.add(layer, style, spot(style, row, x, y, tooltip))
    return y


def spot(style: Style, row: ComparisonRow, x: float, y: float, tooltip: str) -> str:
    """The mark of a row's mean: its method's shape, hollow for one seed, a cross where no network works."""
    return _spot(style, x, y, tooltip, lost(row), "p" if row.n != 1 else "h")


def seed_scores(row: ComparisonRow) -> list[tuple[int, float, float]]:
    """(seed, density, score) of a row's seeds, from the highest density on; what cannot be drawn is left out."""
    at = np.flatnonzero(np.isfinite(row.values)).tolist()
    found = [(seed, float(row.densities[i]), float(row.values[i])) for seed, i in zip(row.seeds, at, strict=True)]
    return sorted(
        (one for one in found if drawable(one[1]) and drawable(one[2])), key=lambda one: (-one[1], one[2], one[0])
    )


def draw_seed(plot: Plot, style: Style, row: ComparisonRow, seed: tuple[int, float, float], x: float) -> float:
    """Draw one of :func:`seed_scores` at the pixel ``x``, small; the pixel of its score."""
    number, density, score = seed
    y = plot.y(score)
    reason = row.broken.get(number)
    text = f"{brief(row.method)}, seed {number}, density {density:.4g}: {rounded(score, decimals([score]))}"
    tooltip = element("title", escape(f"{text} ({reason})" if reason else text))
    plot.add("point", style, _spot(style, x, y, tooltip, bool(reason), "p", small=True))
    return y


def order(named: Sequence[tuple[str, ComparisonRow]]) -> list[tuple[str, ComparisonRow]]:
    """The best mean first; what does not work is last."""
    worse = -1.0 if named[0][1].direction != "min" else 1.0
    return sorted(named, key=lambda one: (lost(one[1]), worse * one[1].mean, one[0]))


def ranking(named: Sequence[tuple[str, ComparisonRow]]) -> str:
    """``best mean a 0.9620 (n = 3), then b 0.9500 (n = 3), last c 0.9100 (n = 3)``; what does not work is last."""
    direction = named[0][1].direction
    ordered = order(named)
    first = "highest" if direction == "none" else "best"
    texts = [f"{brief(name)} {value_text(row)}" for name, row in ordered]
    if len(texts) == 1:
        return texts[0]
    middle = f", then {texts[1]}" if len(texts) > 2 else ""
    return f"{first} mean {texts[0]}{middle}, last {texts[-1]}"


def _spot(style: Style, x: float, y: float, tooltip: str, crossed: bool, kind: str, small: bool = False) -> str:
    outline, kind = (CROSSED, "k") if crossed else (MARKERS[style.marker], kind)
    if not small:
        return element("path", tooltip, d=marker(outline, x, y), class_=kind)
    place = f"translate({coordinate(x)} {coordinate(y)}) scale({_SMALL})"
    return element("path", tooltip, d=marker(outline, 0, 0), class_=kind, transform=place)
