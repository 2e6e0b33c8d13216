"""What options of figures take: a file whose suffix says the format, and a width on paper."""

from __future__ import annotations

import re
from pathlib import Path

import click

WIDTHS = {"column": 85.0, "text": 140.0}
"""Millimetres of a column and of the whole text, as usual in papers."""
_LEAST, _MOST = 60.0, 400.0  # millimetres


class FigureFile(click.Path):
    """A path with a suffix that figures may have."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path.

        Raises:
            BadParameter: for any other suffix.
        """
        from harness.report.figures.picture import SUFFIXES  # takes long

        path = Path(str(super().convert(value, param, ctx)))  # type: ignore[arg-type]
        if path.suffix.lower() not in SUFFIXES:
            self.fail(f"{path.name}: a figure's name ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}", param, ctx)
        return path


class FigureWidth(click.ParamType[float]):
    """``column``, ``text`` or millimetres."""

    name = "width"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The width in millimetres.

        Raises:
            BadParameter: for anything else, or a width at which no figure can be read.
        """
        if isinstance(value, float):
            return value
        given = re.fullmatch(r"(\d+(?:\.\d+)?)mm", str(value), re.ASCII)
        width = float(given[1]) if given else WIDTHS.get(str(value), 0.0)
        if not _LEAST <= width <= _MOST:
            wanted = f"{' or '.join(WIDTHS)}, or {_LEAST:g}mm to {_MOST:g}mm"
            self.fail(f"{value!r} is no width of a figure: give {wanted}", param, ctx)
        return width
