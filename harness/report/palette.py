"""One look for each method, the same in every figure: colour, shape of points, dashes of lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.report.svg import MARKERS

INK, PAPER = ("#1f2328", "#e6edf3"), ("#ffffff", "#0d1117")
NEUTRAL = {
    "ink": INK,
    "soft": ("#59636e", "#9198a1"),
    "grid": ("#e3e7eb", "#262c36"),
    "paper": PAPER,
}
"""Custom property: its colour on a light and on a dark page."""

# Found by a random search at twelve hues: the smallest CIELAB distance between any two of them, and between
# them and the ink, seen with normal, protan, deutan and tritan eyes, is 16 (light) and 18 (dark).
COLOURS = (
    ("#2778f6", "#626f9a"),  # blue
    ("#da7035", "#e29749"),  # orange
    ("#24415e", "#aad0fb"),  # deep or pale blue
    ("#7f05a5", "#9c41d9"),  # purple
    ("#453d01", "#f2c28a"),  # brown or sand
    ("#8a6bc5", "#ab8df5"),  # lavender
    ("#e82d95", "#a85b6b"),  # pink
    ("#749768", "#178137"),  # green
    ("#0a6b66", "#64cdb0"),  # teal
    ("#5b332c", "#e3695c"),  # red brown
    ("#5a6433", "#becb21"),  # olive
    ("#0da0b1", "#6ca1a9"),  # cyan
)
_SHAPES = tuple(MARKERS)  # seven: the same colour and shape meet again after 84 methods
_DASHES = ("", "7 3", "2 3", "9 3 2 3")


@dataclass(frozen=True, slots=True)
class Style:
    """How a method looks; ``key`` is safe as a CSS class, ``dash`` is "" for a solid line."""

    key: str
    light: str
    dark: str
    marker: str
    dash: str


REFERENCE = Style("ref", *INK, "circle", "")


def palette(names: Iterable[str], reference: str | None = None) -> Mapping[str, Style]:
    """A style for each of all the method names of the results, whatever their order.

    The reference, the baseline of the tables, gets the ink of the text. Up to 84 other
    names differ from each other in colour or shape; names that follow each other differ in both.
    """
    others = sorted(set(names) - {reference})
    styles = {name: _style(i) for i, name in enumerate(others)}
    return styles if reference is None else {reference: REFERENCE, **styles}


def _style(i: int) -> Style:
    light, dark = COLOURS[i % len(COLOURS)]
    return Style(f"m{i}", light, dark, _SHAPES[i % len(_SHAPES)], _DASHES[i // len(COLOURS) % len(_DASHES)])
