"""SVG as text: elements, numbers, and strings that are safe to show whatever they hold."""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TypeGuard

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
LIMIT = 1e100  # numbers beyond this are not drawn: differences and ratios of drawn ones stay finite

MARKERS = {  # paths from the centre, of about equal area
    "circle": "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "square": "m-3.5-3.5h7v7h-7z",
    "triangle": "m0-5l4.8 8.4h-9.6z",
    "diamond": "m0-5.2l5.2 5.2l-5.2 5.2l-5.2-5.2z",
    "inverted": "m0 5l4.8-8.4h-9.6z",
    "star": "m0-5.6l1.6 3.4l3.8.5l-2.8 2.6l.7 3.7l-3.3-1.8l-3.3 1.8l.7-3.7l-2.8-2.6l3.8-.5z",
    "cross": "m-1.7-5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",
}
"""Shapes of points; each differs from the others in outline."""
CROSSED = "m-4-4l8 8m0-8l-8 8"
"""An x of two lines: what does not work, whatever its shape."""

Point = tuple[float, float]

_NARROW, _WIDE = frozenset("iljtfrI.,:;|!'()[]{}/\\-1 "), frozenset("mwMW@%&QOGD")


def drawable(value: object) -> TypeGuard[float]:
    """Whether a value is a number that can be drawn: finite and at most 1e100 in size."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LIMIT


def clean(text: object) -> str:
    """Text on one line without control, format, private and unpaired characters; not yet escaped."""
    kept = (" " if c.isspace() else c for c in str(text)[:8000] if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join("".join(kept).split())


def brief(text: object, most: int = 60) -> str:
    """Cleaned text of at most so many characters; an ellipsis ends one that was longer."""
    whole = clean(text)
    return whole if len(whole) <= most else whole[: most - 1].rstrip() + ELLIPSIS


def escape(text: object) -> str:
    """Cleaned text for the content of an element."""
    return html.escape(clean(text))


def text_width(text: str, size: float) -> float:
    """Pixels that a text takes at a font size, no less than in the widest of the usual system fonts."""
    return size * sum(map(_advance, text))


def shorten(text: object, width: float, size: float) -> str:
    """Cleaned text that takes at most ``width`` pixels; an ellipsis ends one that was too long."""
    whole = clean(text)
    if text_width(whole, size) <= width:
        return whole
    used, kept = text_width(ELLIPSIS, size), ""
    for character in whole:
        used += size * _advance(character)
        if used > width:
            break
        kept += character
    return kept.rstrip() + ELLIPSIS


def wrapped(text: object, width: float, size: float) -> list[str]:
    """Cleaned text as lines of at most ``width`` pixels; a word that is longer ends in an ellipsis."""
    lines: list[str] = []
    for word in clean(text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(shorten(word, width, size))
    return lines


def folded(text: object, width: float, size: float) -> list[str]:
    """A name as lines of at most ``width`` pixels, none left out: broken at signs, or within a longer part."""
    lines = [""]
    for part in re.findall(r"[^ _/.-]+[ _/.-]*|[ _/.-]+", brief(text, 200)):
        for piece in [part] if text_width(part.rstrip(), size) <= width else part:
            if lines[-1] and text_width((lines[-1] + piece).rstrip(), size) > width:
                lines.append("")
            lines[-1] += piece
    return [line.rstrip() for line in lines]


def coordinate(value: float) -> str:
    """A number of pixels, rounded to 0.1.

    Raises:
        ValueError: for nan or an infinite number, which must never reach a figure.
    """
    if not math.isfinite(value):
        raise ValueError(f"a coordinate must be finite, not {value}")
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def element(name: str, *content: str, **attributes: str | float) -> str:
    """An element: ``content`` is SVG already, attributes are escaped; ``text_anchor`` is written text-anchor."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value) if isinstance(value, str) else coordinate(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{''.join(content)}</{name}>" if content else f"<{name}{written}/>"


def line(points: Iterable[Point], close: bool = False) -> str:
    """Path data of a polyline: its first point, then moves from point to point, each rounded to 0.1.

    The moves are between rounded points, so that errors do not add up; those of no length are left out.
    """
    written, last = "", (0, 0)
    for x, y in points:
        spot = round(10 * x), round(10 * y)
        if not written:
            written = f"M{coordinate(x)} {coordinate(y)}"
            last = round(10 * float(coordinate(x))), round(10 * float(coordinate(y)))
        elif spot != last:
            moves = [coordinate((now - before) / 10) for now, before in zip(spot, last, strict=True)]
            written += ("l" if "l" not in written else "" if moves[0][0] == "-" else " ") + moves[0]
            written += ("" if moves[1][0] == "-" else " ") + moves[1]
            last = spot
    return written + ("z" if close else "")


def band(upper: Sequence[Point], lower: Sequence[Point]) -> str:
    """Path data of the area between two lines that run in the same direction."""
    return line([*upper, *reversed(lower)], close=True)


def marker(outline: str, x: float, y: float) -> str:
    """Path data of a point around (x, y): its outline is a value of ``MARKERS``, or ``CROSSED``."""
    return f"M{coordinate(x)} {coordinate(y)}{outline}"


def _advance(character: str) -> float:
    """Width of a character in font sizes."""
    if character in _NARROW:
        return 0.45 if character not in "1-" else 0.64
    if character in _WIDE:
        return 1.02
    if character.isascii():
        return 0.72 if character.isupper() else 0.65
    return 1.3 if unicodedata.east_asian_width(character) in "WF" or unicodedata.category(character) == "So" else 0.9
