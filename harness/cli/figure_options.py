"""What options of figures take: a file whose suffix says the format, and a width on paper."""

from __future__ import annotations

from pathlib import Path

import click


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
        from harness.errors import UserError
        from harness.report.figures.paper_width import paper_width  # takes long

        try:
            return paper_width(value if isinstance(value, float) else str(value))
        except UserError as error:
            self.fail(str(error), param, ctx)
