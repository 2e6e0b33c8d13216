"""Three small figures below each other: likeness of masks, distance of weights, and score, against the training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.analysis.settling import MASK, CellSettling
from harness.report.figures.document import document
from harness.report.figures.plot import Plot, sentence
from harness.report.figures.scale import Scale, fit
from harness.report.figures.settling_series import RowSettling, TrainingClock
from harness.report.figures.training_curves import averaged, curve
from harness.report.palette import Style
from harness.report.svg import element, line

_HEIGHT = 110.0  # of each
_MOST = 2.0  # distances beyond, as of weights that end near zero, are drawn there
Values = Callable[[CellSettling], Sequence[float | None]]


def settling_curves(
    noted: Mapping[str, RowSettling], palette: Mapping[str, Style], prefix: str = "settling", metric: str = "score"
) -> str | None:
    """The mean over seeds at each note, with the range of seeds; dotted what a mask's density gives by chance.

    Fixed masks have no line. None where nothing was noted.
    """
    clock = TrainingClock.of(noted)
    panels: list[tuple[str, Values, str]] = [
        ("share of the mask's entries as at the end", _same, "Dotted: by chance, at the mask's density."),
        ("distance of effective weights from those at the end", _distance, ""),
        (f"{metric}", lambda cell: cell.score, "Lines: mean over seeds. Shaded: lowest to highest seed."),
    ]
    drawn = [
        plot for what, values, note in panels if (plot := _panel(prefix, noted, palette, clock, what, values, note))
    ]
    if not drawn:
        return None
    content, top = [], 0.0
    for plot in drawn:
        content.append(element("g", *plot.content(), transform=f"translate(0 {top:.0f})"))
        top += plot.height
    styles = list(dict.fromkeys(style for plot in drawn for style in plot.styles))
    described = sentence(f"{len(drawn)} plots against the {clock.unit}, of {', '.join(noted)}")
    return document(prefix, "When masks and weights settle", described, styles, content, top)


def _distance(cell: CellSettling) -> Sequence[float | None]:
    return cell.distance


def _same(cell: CellSettling) -> Sequence[float | None]:
    mask = cell.masks.get(MASK)
    return [] if mask is None or mask.fixed else list(mask.same)


def _panel(
    prefix: str,
    noted: Mapping[str, RowSettling],
    palette: Mapping[str, Style],
    clock: TrainingClock,
    what: str,
    values: Values,
    note: str,
) -> Plot | None:
    length = clock.epochs or 1.0
    curves = {
        name: [
            [(length * done, value) for done, value in zip(cell.done, found, strict=True) if value is not None]
            for cell in one.cells
            if (found := values(cell))
        ]
        for name, one in noted.items()
    }
    lines = {name: steps for name, seeds in curves.items() if seeds and (steps := averaged(seeds))}
    if not lines:
        return None
    chances = {name: _chance(noted[name].cells, length) for name in lines} if values is _same else {}
    shown = [value for steps in lines.values() for step in steps for value in step[1:]]
    if values is _distance and max(shown) > _MOST:
        shown, note = (
            [min(value, _MOST) for value in shown],
            f"What is further away than {_MOST:g} is drawn at the edge.",
        )
    shown += [value for points in chances.values() for _, value in points]
    plot = Plot(prefix, Scale(0.0, length), fit(shown), clock.unit, what, list(noted), note, height=_HEIGHT)
    for name, points in chances.items():
        path = line([(plot.x(x), plot.y(y)) for x, y in points])
        plot.add("back", palette[noted[name].method], element("path", d=path, class_="t"))
    for name, steps in lines.items():
        curve(plot, palette[noted[name].method], name, steps)
    return plot


def _chance(cells: Sequence[CellSettling], length: float) -> list[tuple[float, float]]:
    """Mean over seeds of what chance gives, at each note."""
    seeds = [
        [(length * done, value) for done, value in zip(cell.done, cell.masks[MASK].chance, strict=True)]
        for cell in cells
        if MASK in cell.masks
    ]
    return [(x, mean) for x, mean, *_ in averaged(seeds)]
