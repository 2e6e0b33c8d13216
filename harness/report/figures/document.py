"""The SVG around the marks of a figure: size, text alternatives, colours."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.report.figures.stylesheet import stylesheet
from harness.report.palette import Style
from harness.report.svg import coordinate, element, escape

WIDTH = 720.0  # of figures on pages
MM = 25.4 / 96
"""Millimetres of a pixel on paper."""


def document(
    prefix: str,
    title: str,
    description: str,
    styles: Iterable[Style],
    content: Iterable[str],
    height: float,
    width: float = WIDTH,
) -> str:
    """A figure that a screen reader announces by its title and description, as wide as its page allows.

    ``height`` and ``width``: pixels of 1/96 inch.

    Raises:
        ValueError: for a prefix that is no id.
    """
    if not re.fullmatch(r"[A-Za-z][\w-]*", prefix, re.ASCII):
        raise ValueError(f"{prefix!r} is no id of an element: give letters, digits, - and _, a letter first")
    return element(
        "svg",
        element("title", escape(title), id=f"{prefix}-title"),
        element("desc", escape(description), id=f"{prefix}-desc"),
        element("style", stylesheet(prefix, styles)),
        *content,
        xmlns="http://www.w3.org/2000/svg",
        id=prefix,
        role="img",
        aria_labelledby=f"{prefix}-title {prefix}-desc",
        viewBox=f"0 0 {coordinate(width)} {height:.0f}",
        width=width,
        height=float(round(height)),
    )
