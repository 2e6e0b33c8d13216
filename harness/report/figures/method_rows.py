"""A metric by method and density: a row for each method, a panel for each density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from harness.analysis.comparison_row import ComparisonRow
from harness.report.answers import broken
from harness.report.figures.document import WIDTH, document
from harness.report.figures.estimate import (
    ARROWS,
    LOGITS,
    limits,
    metric_label,
    near_scale,
    notes,
    order,
    point_text,
    spot,
)
from harness.report.figures.scale import Scale, labels, short
from harness.report.palette import Style
from harness.report.svg import MARKERS, brief, drawable, element, escape, folded, line, marker, text_width, wrapped

_ROW, _TOP, _NAME, _GAP = 17.0, 58.0, 190.0, 18.0  # pixels: a row, what is above them, widest name, between panels
_PANEL = 80.0  # narrower panels stand below each other

Level = tuple[float, Sequence[tuple[str, ComparisonRow]]]
"""A density, and the rows that stand there by name."""


@dataclass(frozen=True, slots=True)
class _Panel:
    """One density: where it is, and its scale in pixels."""

    left: float
    right: float
    top: float
    bottom: float
    scale: Scale


def method_rows(
    prefix: str,
    levels: Sequence[Level],
    unmasked: Sequence[ComparisonRow],
    palette: Mapping[str, Style],
    title: str,
    description: str,
    said: Sequence[str] = (),
    width: float = WIDTH,
) -> str:
    """Means with their intervals, the best of the lowest density on top, on scales of their own for each density.

    Panels stand side by side, or below each other where ``width`` is too narrow for that.

    Shares are drawn on logits, on which they are compared. What is far worse than most stands at the edge, with its
    number. ``unmasked``: the baseline, a line through all rows; ``said``: sentences of the note below.
    """
    names = _names(levels)
    first = levels[0][1][0][1]
    widest = min(_NAME, 0.4 * width)
    shown = {name: folded(name, widest, 12) for name in dict.fromkeys([*(row.method for row in unmasked), *names])}
    left = 28 + max(text_width(line, 12) for lines in shown.values() for line in lines)
    heights = [_ROW + 13.0 * (len(lines) - 1) for lines in shown.values()]
    beside = len(levels) if (width - 8 - left + _GAP) / len(levels) - _GAP >= _PANEL else 1
    across = (width - 8 - left - _GAP * (beside - 1)) / beside
    label = wrapped(metric_label(first), width - 20, 12)
    content = [element("text", escape(text), x=8.0, y=16 + 15.0 * i) for i, text in enumerate(label)]
    marks: dict[Style, list[str]] = {}
    near: list[ComparisonRow] = []
    methods = {row.method: row.method for row in unmasked}
    methods |= {name: row.method for _, rows in levels for name, row in rows}
    bottom = 15.0 * (len(label) - 1)
    for i, (density, rows) in enumerate(levels):
        if i % beside == 0:
            top = bottom + (_TOP if i == 0 else _TOP + 4)
            *tops, bottom = accumulate(heights, initial=top)
            places = {name: y + high / 2 for name, y, high in zip(shown, tops, heights, strict=True)}
            for name, y in places.items():
                style = palette[methods[name]]
                marks.setdefault(style, []).extend(_name(style, shown[name], left, y))
        start = left + i % beside * (across + _GAP)
        scale = near_scale([*(row for _, row in rows), *unmasked]).over(start, start + across)
        panel = _Panel(start, start + across, top, bottom, scale)
        content += _frame(panel, density, list(places.values()))
        near += [row for row in (*unmasked, *(row for _, row in rows)) if scale.holds(row.mean)]
        for row in unmasked:
            x = panel.scale(row.mean)
            through = element("path", d=line([(x, top), (x, bottom)]), class_="l")
            marks[palette[row.method]] += [
                through,
                *_estimate(panel, palette[row.method], row, row.method, places[row.method]),
            ]
        for name, row in sorted(rows, key=lambda one: (one[0], one[1].id)):
            style = palette[row.method]
            marks[style] += _estimate(panel, style, row, name, places[name])
    content += [
        element("g", *made, class_=style.key) for style, made in sorted(marks.items(), key=lambda item: item[0].key)
    ]
    drawn = sum(len(unmasked) + len(rows) for _, rows in levels)
    logits = first.unit == "fraction"
    scales = [LOGITS] if logits else []
    if len(levels) > 1:
        scales = [f"Each density has a scale of its own{', of logits' * logits}."]
    note = [*notes(near), *scales, *([ARROWS] if len(near) < drawn else [])]
    lines = wrapped(" ".join([*note, *said]), width - 16, 11)
    for i, text in enumerate(lines):
        content.append(element("text", escape(text), x=8.0, y=bottom + 40 + 14 * i, class_="s"))
    return document(prefix, title, description, marks, content, bottom + 48 + 14 * len(lines), width)


def _names(levels: Sequence[Level]) -> list[str]:
    """All names, the best of the lowest density first; what is not there follows, by the next lowest."""
    return list(dict.fromkeys(name for _, rows in reversed(levels) for name, _ in order(rows)))


def _name(style: Style, lines: Sequence[str], left: float, y: float) -> list[str]:
    """A method's shape and name before its row."""
    first = y + 4 - 6.5 * (len(lines) - 1)
    return [
        element("path", d=marker(MARKERS[style.marker], left - 12, y), class_="p"),
        *(
            element("text", escape(text), x=left - 22, y=first + 13 * i, text_anchor="end")
            for i, text in enumerate(lines)
        ),
    ]


def _frame(panel: _Panel, density: float, rows: Sequence[float]) -> list[str]:
    """Heading, gridlines with their numbers, and a light line for each row."""
    made = [element("text", f"density {short(density)}", x=panel.left, y=panel.top - 20)]
    values = panel.scale.ticks(4)
    texts = list(map(short, values)) if panel.scale.log or panel.scale.logit else labels(values)
    edge = panel.left - _GAP
    for value, text in sorted(zip(values, texts, strict=True), key=lambda tick: panel.scale(tick[0])):
        x, half = panel.scale(value), text_width(text, 11) / 2
        made.append(element("path", d=line([(x, panel.top - 4), (x, panel.bottom)]), class_="g"))
        if x - half > edge:
            edge = x + half + 4
            for y in (panel.top - 8, panel.bottom + 14):
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
