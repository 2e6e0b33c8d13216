"""A metric against mask density, a line for each method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby

from harness.analysis.comparison_row import ComparisonRow
from harness.report.figures.estimate import (
    NOTE,
    draw,
    limits,
    metric_label,
    metric_scale,
    point_text,
    ranking,
    value_text,
    where,
    with_mean,
)
from harness.report.figures.plot import Plot, Tick, sentence
from harness.report.figures.scale import Scale, fit, labels, short
from harness.report.figures.spread import side_by_side
from harness.report.palette import Style
from harness.report.svg import band, brief, element, escape, line

_SAME = 0.05  # densities this near, relatively, are one
_OCTAVES = 0.3  # densities reach below this: a scale of halvings
_APART, _ALONE = 8.0, 32.0  # pixels between points of one density; where no other density is drawn


def pruning_curve(table: Sequence[ComparisonRow], palette: Mapping[str, Style], prefix: str = "pruning") -> str | None:
    """Means with 95 % intervals against mask density, which falls from left to right.

    The baseline without mask is a horizontal line with its interval as a band. Points of different methods
    at one density stand side by side, so that their intervals can be read; the tick is where they belong.
    ``table``: the rows of one table. None if none of them is masked.
    """
    rows = with_mean(table)
    unmasked = [row for row in rows if row.method == row.baseline and row.density_mask >= 1]
    points = [row for row in rows if row not in unmasked]
    if not any(row.density_mask < 1 for row in points):
        return None
    axis = _Axis([row.density_mask for row in points])
    names = sorted({row.method for row in points} | {row.method for row in unmasked})
    plot = Plot(
        prefix,
        axis.scale,
        metric_scale(rows),
        f"mask density (fraction of {brief(points[0].density_scope or 'maskable')} weights kept)",
        metric_label(points[0]),
        names,
        NOTE,
        axis.ticks,
    )
    if axis.gap is not None:
        x = plot.x(axis.gap)
        for move in (-2, 2):
            cut = line([(x + move - 2, plot.bottom + 5), (x + move + 2, plot.bottom - 5)])
            plot.add("back", None, element("path", d=cut, class_="x"))
    for row in unmasked[:1]:
        _baseline(plot, palette[row.method], row)
    _methods(plot, palette, axis, points)
    return plot.render(
        f"{brief(points[0].metric)} against mask density: {where(points[0])}", _description(points, unmasked)
    )


class _Axis:
    """Densities as numbers that rise while density falls: the exponent of 1/2, or linearly; one place if all are one.

    Where halvings are drawn, density 0 gets a place of its own beyond a ``gap``.
    """

    def __init__(self, densities: Sequence[float]) -> None:
        masked = [d for d in densities if d > 0]
        self.gap: float | None = None
        self.alone = max(densities) - min(densities) <= _SAME * max(densities)
        self.halvings = bool(masked) and min(masked) < _OCTAVES and not self.alone
        self.ticks: list[Tick]
        if self.alone:
            self.scale = Scale(-0.5, 0.5)
            ends = dict.fromkeys([short(min(densities)), short(max(densities))])
            self.ticks = [(0.0, " to ".join(ends))]
            return
        if not self.halvings:
            lowest = min(densities)
            values = Scale(lowest, 1.0).ticks()
            self.scale = fit([-1.0, -lowest], pad=0.08)
            self.ticks = [(-v, text) for v, text in zip(values, labels(values), strict=True)]
            return
        deepest = -math.log2(min(masked))
        stride = math.ceil(deepest / 8)
        self.ticks = [(float(k), short(0.5**k)) for k in range(0, math.floor(deepest + 1e-9) + 1, stride)]
        self.zero = deepest * 1.16
        if min(densities) <= 0:
            self.gap = deepest * 1.08
            self.ticks.append((self.zero, "0"))
        self.scale = fit([0.0, deepest if self.gap is None else self.zero])

    def __call__(self, density: float) -> float:
        """Where a density stands on ``scale``."""
        if self.alone:
            return 0.0
        if not self.halvings:
            return -density
        return -math.log2(density) if density > 0 else self.zero


def _baseline(plot: Plot, style: Style, row: ComparisonRow) -> None:
    left, right, y = plot.left, plot.right, plot.y(row.mean)
    if bounds := limits(row):
        low, high = (plot.y(bound) for bound in bounds)
        area = band([(left, high), (right, high)], [(left, low), (right, low)])
        plot.add("back", style, element("path", d=area, class_="a"))
    tooltip = element("title", escape(point_text(row)))
    plot.add("line", style, element("path", tooltip, d=line([(left, y), (right, y)]), class_="l"))
    plot.name(row.method, style, right, y)


def _methods(plot: Plot, palette: Mapping[str, Style], axis: _Axis, points: Sequence[ComparisonRow]) -> None:
    """Lines, points and names; side by side in the order of where the lines end, so that names have a way out."""
    lines = {
        name: sorted(group, key=lambda row: (-row.density_mask, row.id))
        for name, group in groupby(sorted(points, key=lambda row: str(row.method)), key=lambda row: row.method)
    }
    order = {name: (plot.y(rows[-1].mean), name) for name, rows in lines.items()}
    found = sorted(
        ((plot.x(axis(row.density_mask)), name, i) for name, rows in lines.items() for i, row in enumerate(rows)),
        key=lambda item: (round(item[0]), order[item[1]], item[2]),
    )
    rising = accumulate((x for x, _, _ in found), max)
    moved = side_by_side(list(rising), _ALONE if axis.alone else _APART, plot.left + 6, plot.right - 6)
    at = {(name, i): x for (_, name, i), x in zip(found, moved, strict=True)}
    for name, rows in lines.items():
        style = palette[name]
        spots = [(at[name, i], draw(plot, style, row, at[name, i])) for i, row in enumerate(rows)]
        if len(spots) > 1:
            plot.add("line", style, element("path", d=line(spots), class_="l"))
        plot.name(name, style, *spots[-1])


def _description(points: Sequence[ComparisonRow], unmasked: Sequence[ComparisonRow]) -> str:
    first = points[0]
    methods = len({row.method for row in points})
    parts = [f"{metric_label(first)}, for {methods} methods on {brief(first.benchmark)}"]
    parts += [f"without mask {brief(row.method)} has {value_text(row)}" for row in unmasked[:1]]
    ordered = sorted(points, key=lambda row: -row.density_mask)
    levels: list[list[ComparisonRow]] = []
    for row in ordered:
        if levels and row.density_mask >= (1 - _SAME) * levels[-1][0].density_mask:
            levels[-1].append(row)
        else:
            levels.append([row])
    parts += [f"at density {level[0].density_mask:.3g}: {ranking(level)}" for level in levels[:8]]
    if len(levels) > 8:
        parts.append(f"and {len(levels) - 8} lower densities")
    return " ".join(map(sentence, parts))
