"""A metric by method and density: a row for each method, a panel for each density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.comparison_row import ComparisonRow
from harness.report.answers import broken
from harness.report.figures.document import WIDTH, document
from harness.report.figures.estimate import (
    ARROWS,
    limits,
    metric_label,
    metric_scale,
    notes,
    order,
    point_text,
    spot,
    usual,
)
from harness.report.figures.scale import Scale, fit_shares, labels, short
from harness.report.palette import Style
from harness.report.svg import MARKERS, brief, drawable, element, escape, line, marker, shorten, text_width, wrapped

_ROW, _TOP, _NAME, _GAP = 17.0, 58.0, 190.0, 18.0  # pixels: a row, what is above them, widest name, between panels

Level = tuple[float, Sequence[tuple[str, ComparisonRow]]]
"""A density, and the rows that stand there by name."""


@dataclass(frozen=True, slots=True)
class _Panel:
    """One density: where it is, and its scale in pixels."""

    left: float
    right: float
    scale: Scale


def method_rows(
    prefix: str,
    levels: Sequence[Level],
    unmasked: Sequence[ComparisonRow],
    palette: Mapping[str, Style],
    title: str,
    description: str,
    said: Sequence[str] = (),
) -> str:
    """Means with their intervals, the best of the lowest density on top, on scales of their own for each density.

    Shares are drawn on logits, on which they are compared. What is far worse than most stands at the edge, with its
    number. ``unmasked``: the baseline, a line through all rows; ``said``: sentences of the note below.
    """
    names = _names(levels)
    first = levels[0][1][0][1]
    left = 28 + max(text_width(shorten(name, _NAME, 12), 12) for name in (*names, *(row.method for row in unmasked)))
    width = (WIDTH - 8 - left - _GAP * (len(levels) - 1)) / len(levels)
    bottom = _TOP + _ROW * (len(names) + len(unmasked))
    places = {name: _TOP + _ROW * (i + len(unmasked) + 0.5) for i, name in enumerate(names)}
    top = {row.method: _TOP + 0.5 * _ROW for row in unmasked}
    content = [element("text", escape(shorten(metric_label(first), WIDTH - 20, 12)), x=8.0, y=16.0)]
    marks: dict[Style, list[str]] = {}
    near: list[ComparisonRow] = []
    for i, (density, rows) in enumerate(levels):
        start = left + i * (width + _GAP)
        scale = _scale([*(row for _, row in rows), *unmasked], first.unit, first.direction).over(start, start + width)
        panel = _Panel(start, start + width, scale)
        content += _frame(panel, density, bottom, [*top.values(), *places.values()])
        near += [row for row in (*unmasked, *(row for _, row in rows)) if scale.holds(row.mean)]
        for row in unmasked:
            x = panel.scale(row.mean)
            marks.setdefault(palette[row.method], []).append(
                element("path", d=line([(x, _TOP), (x, bottom)]), class_="l")
            )
            marks[palette[row.method]] += _estimate(panel, palette[row.method], row, row.method, top[row.method])
        for name, row in sorted(rows, key=lambda one: (one[0], one[1].id)):
            style = palette[row.method]
            marks.setdefault(style, []).extend(_estimate(panel, style, row, name, places[name]))
    methods = {name: row.method for _, rows in levels for name, row in rows}
    for name, y in {**top, **places}.items():
        style = palette[methods.get(name, name)]
        marks.setdefault(style, []).extend(_name(style, name, left, y))
    content += [
        element("g", *made, class_=style.key) for style, made in sorted(marks.items(), key=lambda item: item[0].key)
    ]
    drawn = sum(len(unmasked) + len(rows) for _, rows in levels)
    scales = f"Each density has a scale of its own{', of logits' if first.unit == 'fraction' else ''}."
    note = [*notes(near), scales, *([ARROWS] if len(near) < drawn else [])]
    lines = wrapped(" ".join([*note, *said]), WIDTH - 16, 11)
    for i, text in enumerate(lines):
        content.append(element("text", escape(text), x=8.0, y=bottom + 40 + 14 * i, class_="s"))
    return document(prefix, title, description, marks, content, bottom + 48 + 14 * len(lines))


def _names(levels: Sequence[Level]) -> list[str]:
    """All names, the best of the lowest density first; what is not there follows, by the next lowest."""
    return list(dict.fromkeys(name for _, rows in reversed(levels) for name, _ in order(rows)))


def _name(style: Style, name: str, left: float, y: float) -> list[str]:
    """A method's shape and name before its row."""
    text = shorten(name, _NAME, 12)
    whole = "" if text == escape(name) else element("title", escape(name))
    shape = element("path", d=marker(MARKERS[style.marker], left - 12, y), class_="p")
    return [shape, element("text", escape(text), whole, x=left - 22, y=y + 4, text_anchor="end")]


def _scale(rows: Sequence[ComparisonRow], unit: str, direction: str) -> Scale:
    """That of the rows which are not far worse than the middle one."""
    if unit != "fraction":
        return metric_scale(usual(rows, metric_scale(rows, direction), direction), direction)
    near = usual(rows, fit_shares([row.mean for row in rows]), direction)
    low, high = min(row.mean for row in near), max(row.mean for row in near)
    ends = [end for row in near for end in limits(row) or ()]
    return fit_shares([low, high, *ends])


def _frame(panel: _Panel, density: float, bottom: float, rows: Sequence[float]) -> list[str]:
    """Heading, gridlines with their numbers, and a light line for each row."""
    made = [element("text", f"density {short(density)}", x=panel.left, y=38.0)]
    values = panel.scale.ticks(4)
    texts = list(map(short, values)) if panel.scale.log or panel.scale.logit else labels(values)
    edge = panel.left - _GAP
    for value, text in sorted(zip(values, texts, strict=True), key=lambda tick: panel.scale(tick[0])):
        x, half = panel.scale(value), text_width(text, 11) / 2
        made.append(element("path", d=line([(x, _TOP - 4), (x, bottom)]), class_="g"))
        if x - half > edge:
            edge = x + half + 4
            for y in (_TOP - 8, bottom + 14):
                made.append(element("text", escape(text), x=x, y=y, text_anchor="middle", class_="s"))
    made += [element("path", d=line([(panel.left, y), (panel.right, y)]), class_="g") for y in rows]
    return made


def _estimate(panel: _Panel, style: Style, row: ComparisonRow, name: str, y: float) -> list[str]:
    """The mean of a row and its interval."""
    tooltip = element("title", escape(point_text(row, brief(name))))
    if not panel.scale.holds(row.mean):
        return [_beyond(panel, row, y, tooltip)]
    made, x = [], panel.scale(row.mean)
    bounds = limits(row)
    if bounds and bounds[1] > bounds[0] and all(map(drawable, bounds)):
        low, high = (panel.scale(bound) for bound in bounds)
        made.append(element("path", d=line([(low, y), (high, y)]), class_="e"))
    made.append(spot(style, row, x, y, tooltip))
    if row.small:
        made.append(element("circle", cx=x, cy=y, r=7.5, class_="e r"))
    return made


def _beyond(panel: _Panel, row: ComparisonRow, y: float, tooltip: str) -> str:
    """An arrow at the edge and the number of a row that is off the scale."""
    low = row.mean < panel.scale.low
    at, back = (panel.left, 6.0) if low else (panel.right, -6.0)
    arrow = element("path", d=line([(at + back, y - 4), (at, y), (at + back, y + 4)], close=True), class_="f")
    text = f"{short(row.mean)} {broken(row)}".strip()
    anchor = "start" if low else "end"
    return element(
        "g", tooltip, arrow, element("text", escape(text), x=at + 1.8 * back, y=y + 4, text_anchor=anchor, class_="s")
    )
