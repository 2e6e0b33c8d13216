"""Widths of figures on paper."""

from __future__ import annotations

import re

from harness.errors import UserError

WIDTHS = {"column": 85.0, "text": 140.0}
"""Millimetres of a column and of the whole text, as usual in papers."""
_LEAST, _MOST = 60.0, 400.0  # millimetres


def paper_width(width: float | str) -> float:
    """Millimetres of a name of ``WIDTHS``, of a text such as ``70mm``, or of a number of them.

    Raises:
        UserError: for anything else, or a width at which no figure can be read.
    """
    found: object = width
    if isinstance(width, str):
        given = re.fullmatch(r"(\d+(?:\.\d+)?)mm", width, re.ASCII)
        found = float(given[1]) if given else WIDTHS.get(width)
    if not isinstance(found, int | float) or not _LEAST <= found <= _MOST:
        wanted = f"{' or '.join(WIDTHS)}, or {_LEAST:g}mm to {_MOST:g}mm"
        raise UserError(f"{width!r} is no width of a figure: give {wanted}")
    return float(found)
