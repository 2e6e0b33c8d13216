"""The frame of a figure: axes, gridlines, layers of marks, names at the ends of lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.figures.document import WIDTH, document
from harness.report.figures.scale import Scale, labels, short
from harness.report.figures.spread import spread
from harness.report.palette import Style
from harness.report.svg import MARKERS, clean, element, escape, folded, line, marker, text_width, wrapped

HEIGHT = 300.0  # of the box that the axes enclose
_FLAT = 0.7  # of the width: no box is higher
_NARROW = 240.0  # boxes are wider than that, or names stand below them
_TOP, _BOTTOM, _LINE, _NOTE = 32.0, 50.0, 15.0, 14.0
_NAME, _ELBOW = 270.0, 26.0  # widest name at the end of a line; room for the leader before it
LAYERS = ("back", "band", "line", "point", "top")

Tick = tuple[float, str]


@dataclass(frozen=True, slots=True)
class End:
    """Where the line of a method ends, in pixels, and what stands beside it."""

    name: str
    style: Style
    x: float
    y: float


class Plot:
    """Collects marks in pixels and writes the SVG; ``x`` and ``y`` map numbers into its box."""

    def __init__(
        self,
        prefix: str,
        x: Scale,
        y: Scale,
        x_label: str,
        y_label: str,
        names: Sequence[str] = (),
        note: str = "",
        x_ticks: Sequence[Tick] | None = None,
        height: float = HEIGHT,
        width: float = WIDTH,
    ) -> None:
        """Lay out a figure whose right margin holds ``names``, with its ``note`` below the axes.

        Where that leaves too narrow a box, the names stand below in columns, a legend, in several lines if need be.
        """
        self.prefix, self.width = prefix, width
        self.y_label = wrapped(y_label, width - 20, 12)
        values = y.ticks()
        texts = [short(value) for value in values] if y.log or y.logit else labels(values)
        self.y_ticks = list(zip(values, texts, strict=True))
        self.left = 16 + max((text_width(text, 11) for text in texts), default=0.0)
        widest = max((text_width(clean(name), 12) for name in names), default=0.0)
        self.right = width - 8 - (_ELBOW + 14 + widest if names else 0.0)
        self.legend = widest > _NAME or self.right - self.left < _NARROW
        if self.legend:
            self.right = width - 8
        self.x_label = wrapped(x_label, width - 16 - self.left, 12)
        self.note_left = 8.0 if self.legend else self.left
        self.note = wrapped(note, width - 16 - self.note_left, 11)
        self.top = _TOP + _LINE * (len(self.y_label) - 1)
        self.bottom = self.top + max(min(height, _FLAT * width), 0 if self.legend else _LINE * len(names))
        self.x, self.y = x.over(self.left + 8, self.right - 8), y.over(self.bottom, self.top)
        if x_ticks is None:
            values = x.ticks(7)
            x_ticks = list(zip(values, map(short, values) if x.log else labels(values), strict=True))
        self.x_ticks = x_ticks
        self._marks: dict[str, dict[Style | None, list[str]]] = {layer: {} for layer in LAYERS}
        self._ends: list[End] = []

    def add(self, layer: str, style: Style | None, *marks: str) -> None:
        """Put marks on a layer of ``LAYERS`` in the colour of a method, or neutral."""
        self._marks[layer].setdefault(style, []).extend(marks)

    def name(self, name: str, style: Style, x: float, y: float) -> None:
        """Name what ends at (x, y) in the right margin."""
        self._ends.append(End(name, style, x, y))

    def render(self, title: str, description: str) -> str:
        """The figure with its text alternatives."""
        return document(self.prefix, title, description, self.styles, self.content(), self.height, self.width)

    @property
    def styles(self) -> list[Style]:
        """Those of its marks."""
        return [style for layer in self._marks.values() for style in layer if style]

    @property
    def height(self) -> float:
        """Of all, in pixels."""
        return self._foot + _NOTE * max(len(self.note), 1)

    @property
    def _foot(self) -> float:
        """Where the note begins: below the axis, its label and the legend."""
        legend = 8 + self._entry * -(-len(self._ends) // len(self._columns())) if self.legend else 0.0
        return self.bottom + _BOTTOM + _LINE * (len(self.x_label) - 1) + legend

    def _lines(self, end: End) -> list[str]:
        return folded(end.name, self.width - 46, 12) if self.legend else [end.name]

    @property
    def _entry(self) -> float:
        """Height of a row of the legend."""
        return _LINE * max((len(self._lines(end)) for end in self._ends), default=1)

    def _columns(self) -> list[float]:
        """Widths of the columns of a legend, as many as there is room for; its rows are filled from left to right."""
        entries = [30 + max(text_width(line, 12) for line in self._lines(end)) for end in self._sorted()] or [0.0]
        several = ([max(entries[i::count]) for i in range(count)] for count in range(len(entries), 0, -1))
        return next(columns for columns in several if sum(columns) <= self.width - 16 or len(columns) == 1)

    def _sorted(self) -> list[End]:
        """From the top down, as the lines end."""
        return sorted(self._ends, key=lambda end: (end.y, end.name))

    def content(self) -> list[str]:
        """Axes, marks and names; asked once."""
        if self.legend:
            self._write_legend()
        else:
            self._write_names()
        content = self._axes()
        for layer in LAYERS:
            for style, marks in self._marks[layer].items():
                content.append(element("g", *marks, class_=style.key) if style else "".join(marks))
        return content

    def _axes(self) -> list[str]:
        made = [element("text", escape(text), x=8.0, y=16 + _LINE * i) for i, text in enumerate(self.y_label)]
        for value, text in self.y_ticks:
            y = self.y(value)
            made.append(element("path", d=line([(self.left, y), (self.right, y)]), class_="g"))
            made.append(element("text", escape(text), x=self.left - 6, y=y + 4, text_anchor="end", class_="s"))
        made.append(element("path", d=line([(self.left, self.bottom), (self.right, self.bottom)]), class_="x"))
        edge = 0.0
        for value, text in sorted(self.x_ticks, key=lambda tick: self.x(tick[0])):
            x, half = self.x(value), text_width(text, 11) / 2
            made.append(element("path", d=line([(x, self.bottom), (x, self.bottom + 4)]), class_="x"))
            if x - half > edge and x + half < self.width:
                at, edge = self.bottom + 17, x + half + 4
                made.append(element("text", escape(text), x=x, y=at, text_anchor="middle", class_="s"))
        for i, text in enumerate(self.x_label):
            made.append(element("text", escape(text), x=self.left, y=self.bottom + 36 + _LINE * i))
        for i, text in enumerate(self.note):
            made.append(element("text", escape(text), x=self.note_left, y=self._foot + 4 + _NOTE * i, class_="s"))
        return made

    def _write_names(self) -> None:
        ends = self._sorted()
        places = spread([end.y for end in ends], _LINE, self.top, self.bottom)
        x = self.right + _ELBOW
        for end, y in zip(ends, places, strict=True):
            if abs(end.y - y) > 3 or self.right - end.x > 20:
                route = [(end.x + 7, end.y), (max(self.right, end.x + 7), end.y), (x - 7, y)]
                self.add("line", end.style, element("path", d=line(route), class_="t"))
            self._write_name(end, x, y)

    def _write_legend(self) -> None:
        columns = self._columns()
        left = [16 + sum(columns[:i]) for i in range(len(columns))]
        top = self.bottom + _BOTTOM + _LINE * (len(self.x_label) - 1) + 6
        for i, end in enumerate(self._sorted()):
            row, column = divmod(i, len(columns))
            self._write_name(end, left[column], top + self._entry * row)

    def _write_name(self, end: End, x: float, y: float) -> None:
        point = element("path", d=marker(MARKERS[end.style.marker], x, y), class_="p")
        texts = [element("text", escape(text), x=x + 9, y=y + 4 + _LINE * i) for i, text in enumerate(self._lines(end))]
        self.add("point", end.style, point, *texts)


def sentence(text: str) -> str:
    """Text with its first letter as a capital and a full stop at the end."""
    whole = clean(text)
    return whole[:1].upper() + whole[1:] + ("" if whole.endswith(".") else ".")
