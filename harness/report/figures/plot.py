"""The frame of a figure: axes, gridlines, layers of marks, names at the ends of lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.figures.document import WIDTH, document
from harness.report.figures.scale import Scale, labels, short
from harness.report.figures.spread import spread
from harness.report.palette import Style
from harness.report.svg import MARKERS, clean, element, escape, line, marker, shorten, text_width, wrapped

HEIGHT = 300.0  # of the box that the axes enclose
_TOP, _BOTTOM, _LINE, _NOTE = 32.0, 50.0, 15.0, 14.0
_NAME, _ELBOW = 270.0, 26.0  # widest name at the end of a line; room for the leader before it
LAYERS = ("back", "band", "line", "point")

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
    ) -> None:
        """Lay out a figure whose right margin holds ``names``, with its ``note`` below the axes."""
        self.prefix, self.x_label, self.y_label = prefix, x_label, y_label
        values = y.ticks()
        texts = [short(value) for value in values] if y.log else labels(values)
        self.y_ticks = list(zip(values, texts, strict=True))
        self.left = 16 + max((text_width(text, 11) for text in texts), default=0.0)
        shown = [shorten(name, _NAME, 12) for name in names]
        margin = _ELBOW + 14 + max(text_width(name, 12) for name in shown) if shown else 0.0
        self.right = WIDTH - 8 - margin
        self.note = wrapped(note, WIDTH - 16 - self.left, 11)
        self.top, self.bottom = _TOP, _TOP + max(height, _LINE * len(names))
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
        return document(self.prefix, title, description, self.styles, self.content(), self.height)

    @property
    def styles(self) -> list[Style]:
        """Those of its marks."""
        return [style for layer in self._marks.values() for style in layer if style]

    @property
    def height(self) -> float:
        """Of all, in pixels."""
        return self.bottom + _BOTTOM + _NOTE * max(len(self.note), 1)

    def content(self) -> list[str]:
        """Axes, marks and names; asked once."""
        self._write_names()
        content = self._axes()
        for layer in LAYERS:
            for style, marks in self._marks[layer].items():
                content.append(element("g", *marks, class_=style.key) if style else "".join(marks))
        return content

    def _axes(self) -> list[str]:
        made = [element("text", escape(shorten(self.y_label, WIDTH - 20, 12)), x=8.0, y=16.0)]
        for value, text in self.y_ticks:
            y = self.y(value)
            made.append(element("path", d=line([(self.left, y), (self.right, y)]), class_="g"))
            made.append(element("text", escape(text), x=self.left - 6, y=y + 4, text_anchor="end", class_="s"))
        made.append(element("path", d=line([(self.left, self.bottom), (self.right, self.bottom)]), class_="x"))
        edge = 0.0
        for value, text in sorted(self.x_ticks, key=lambda tick: self.x(tick[0])):
            x, half = self.x(value), text_width(text, 11) / 2
            made.append(element("path", d=line([(x, self.bottom), (x, self.bottom + 4)]), class_="x"))
            if x - half > edge and x + half < WIDTH:
                at, edge = self.bottom + 17, x + half + 4
                made.append(element("text", escape(text), x=x, y=at, text_anchor="middle", class_="s"))
        under = shorten(self.x_label, WIDTH - 16 - self.left, 12)
        made.append(element("text", escape(under), x=self.left, y=self.bottom + 36))
        for i, text in enumerate(self.note):
            made.append(element("text", escape(text), x=self.left, y=self.bottom + 54 + _NOTE * i, class_="s"))
        return made

    def _write_names(self) -> None:
        ends = sorted(self._ends, key=lambda end: (end.y, end.name))
        places = spread([end.y for end in ends], _LINE, self.top, self.bottom)
        x = self.right + _ELBOW
        for end, y in zip(ends, places, strict=True):
            if abs(end.y - y) > 3 or self.right - end.x > 20:
                route = [(end.x + 7, end.y), (max(self.right, end.x + 7), end.y), (x - 7, y)]
                self.add("line", end.style, element("path", d=line(route), class_="t"))
            text = escape(shorten(end.name, _NAME, 12))
            whole = "" if text == escape(end.name) else element("title", escape(end.name))
            point = element("path", d=marker(MARKERS[end.style.marker], x, y), class_="p")
            self.add("point", end.style, point, element("text", text, whole, x=x + 9, y=y + 4))


def sentence(text: str) -> str:
    """Text with its first letter as a capital and a full stop at the end."""
    whole = clean(text)
    return whole[:1].upper() + whole[1:] + ("" if whole.endswith(".") else ".")
