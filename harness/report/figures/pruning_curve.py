"""A metric against mask density, a line for each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.comparison_row import ComparisonRow
from harness.formatting import listed
from harness.report.figures.density_axis import DensityAxis, usual
from harness.report.figures.density_axis import levels as density_levels
from harness.report.figures.document import WIDTH
from harness.report.figures.estimate import (
    LOGITS,
    draw,
    draw_seed,
    limits,
    metric_label,
    metric_scale,
    notes,
    point_text,
    ranking,
    seed_scores,
    unreliable,
    value_text,
    where,
    with_mean,
)
from harness.report.figures.method_rows import method_rows
from harness.report.figures.plot import Plot, sentence
from harness.report.figures.scale import short
from harness.report.palette import Style
from harness.report.places import label, lost, place
from harness.report.svg import band, brief, element, escape, line

_LINES, _PANELS = 10, 4  # more methods than that at no more densities are drawn as rows
_SEEDS = "Small, thin line: single seeds, where densities differ between seeds; there is no mean."
_CROSSED = "Small crosses: seeds whose output does not depend on the input."
_SOFT = "Soft masks stand at density 1: every weight takes part."
_RINGED = "Ringed: a smaller network without mask, where a mask leaves the whole one as many parameters."


def pruning_curve(
    table: Sequence[ComparisonRow],
    palette: Mapping[str, Style],
    prefix: str = "pruning",
    width: float = WIDTH,
) -> str | None:
    """Means with 95 % intervals against mask density, which falls from left to right.

    The baseline without mask is a horizontal line with its interval as a band. Points stand at their density, however
    many meet there. Rows whose densities differ between seeds have no mean: a small point a seed, at its own density.
    Smaller networks and soft masks stand where :func:`~harness.report.places.place` says. Methods at one density, and
    many at few, whose marks would cover each other, are rows of a panel for each density instead
    (:mod:`harness.report.figures.method_rows`).
    ``table``: the rows of one table. None if none of them is masked.
    """
    rows = with_mean(table)
    unmasked = [row for row in rows if row.method == row.baseline and row.density_mask >= 1]
    points = [_Point(label(row), place(row, table), row) for row in rows if row not in unmasked]
    mixed = [row for row in table if row.mixed and not row.small and seed_scores(row)]
    sizes = [row.method for row in table if row.mixed and row.small]
    if not mixed and not any(point.row.density_mask < 1 for point in points):
        return None
    shown = [seed for row in mixed for seed in seed_scores(row)]
    asked = [point.density for point in points]
    axis = DensityAxis([*asked, *(density for _, density, _ in shown)], asked)
    first = (mixed or [point.row for point in points])[0]
    said = [
        *unreliable([row for row in rows if not lost(row)]),
        *([_SEEDS] if mixed else []),
        *([_CROSSED] if any(row.broken for row in mixed) else []),
        *([_SOFT] if any(point.row.mask_mean is not None for point in points) else []),
        *([f"Not shown, for their sizes differ between seeds: {listed(sizes)}."] if sizes else []),
        *([_RINGED] if any(point.row.small for point in points) else []),
    ]
    title = f"{brief(first.metric)} against mask density: {where(first)}"
    described = _description(first, points, unmasked, mixed)
    levels = density_levels(points, lambda point: point.density)
    shared = [level for level in levels if len(level) > 1 or len(levels) == 1]
    many = len({point.name for point in points}) > _LINES or len(levels) == 1
    if not mixed and many and 0 < len(shared) <= _PANELS:
        alone = [level[0] for level in levels if level not in shared]
        if alone:
            told = listed([f"{point.name} at {point.density:.3g}" for point in alone])
            said.append(f"Not shown, for no other method has their density: {told}.")
        named = [
            (usual([point.density for point in level]), [(point.name, point.row) for point in level])
            for level in shared
        ]
        return method_rows(prefix, named, unmasked[:1], palette, title, described, said, width)
    scores = metric_scale(rows, first, [score for *_, score in shown])
    logits = [LOGITS] if scores.logit else []
    said = [*notes([point.row for point in points], unmasked[:1]), *logits, *said]
    plot = Plot(
        prefix,
        axis.scale,
        scores,
        f"mask density (fraction of {brief(first.density_scope or 'maskable')} weights kept)",
        metric_label(first),
        sorted({*(point.name for point in points), *(row.method for row in (*mixed, *unmasked))}),
        " ".join(said),
        axis.ticks,
        width=width,
    )
    if axis.gap is not None:
        x = plot.x(axis.gap)
        for move in (-2, 2):
            cut = line([(x + move - 2, plot.bottom + 5), (x + move + 2, plot.bottom - 5)])
            plot.add("back", None, element("path", d=cut, class_="x"))
    for row in unmasked[:1]:
        _baseline(plot, palette[row.method], row)
    _means(plot, palette, axis, points)
    for row in mixed:
        _seeds(plot, palette[row.method], axis, row)
    return plot.render(title, described)


@dataclass(frozen=True, slots=True)
class _Point:
    """A row with a mean: its name, and the density at which it stands."""

    name: str
    density: float
    row: ComparisonRow


def _baseline(plot: Plot, style: Style, row: ComparisonRow) -> None:
    left, right, y = plot.left, plot.right, plot.y(row.mean)
    if bounds := limits(row):
        low, high = (plot.y(bound) for bound in bounds)
        area = band([(left, high), (right, high)], [(left, low), (right, low)])
        plot.add("back", style, element("path", d=area, class_="a"))
    tooltip = element("title", escape(point_text(row, row.method)))
    plot.add("line", style, element("path", tooltip, d=line([(left, y), (right, y)]), class_="l"))
    plot.name(row.method, style, right, y)


def _means(plot: Plot, palette: Mapping[str, Style], axis: DensityAxis, points: Sequence[_Point]) -> None:
    """Lines, points and names."""
    lines: dict[str, list[_Point]] = {}
    for point in sorted(points, key=lambda point: (point.name, -point.density, point.row.id)):
        lines.setdefault(point.name, []).append(point)
    for name, group in lines.items():
        style = palette[group[0].row.method]
        at = [plot.x(axis(point.density)) for point in group]
        spots = [(x, draw(plot, style, point.row, x, name)) for x, point in zip(at, group, strict=True)]
        if len(spots) > 1:
            plot.add("line", style, element("path", d=line(spots), class_="l"))
        for (x, y), point in zip(spots, group, strict=True):
            if point.row.small:
                plot.add("point", style, element("circle", cx=x, cy=y, r=7.5, class_="e r"))
        plot.name(name, style, *spots[-1])


def _seeds(plot: Plot, style: Style, axis: DensityAxis, row: ComparisonRow) -> None:
    """A point a seed, where it belongs, and a thin line through them."""
    places = [(plot.x(axis(seed[1])), seed) for seed in seed_scores(row)]
    spots = [(x, draw_seed(plot, style, row, seed, x)) for x, seed in places]
    if len(spots) > 1:
        plot.add("line", style, element("path", d=line(spots), class_="n"))
    plot.name(row.method, style, *spots[-1])


def _description(
    first: ComparisonRow,
    points: Sequence[_Point],
    unmasked: Sequence[ComparisonRow],
    mixed: Sequence[ComparisonRow],
) -> str:
    methods = len({point.row.method for point in points} | {row.method for row in mixed})
    parts = [f"{metric_label(first)}, for {methods} method{'' if methods == 1 else 's'} on {brief(first.benchmark)}"]
    parts += [f"without mask {brief(row.method)} has {value_text(row)}" for row in unmasked[:1]]
    levels = density_levels(points, lambda point: point.density)
    for level in levels[:8]:
        told = ranking([(point.name, point.row) for point in level])
        parts.append(f"at density {usual([point.density for point in level]):.3g}: {told}")
    if len(levels) > 8:
        parts.append(f"and {len(levels) - 8} lower densities")
    if mixed:
        parts.append(f"densities differ between seeds, without a mean: {listed([_span(row) for row in mixed[:8]])}")
    return " ".join(map(sentence, parts))


def _span(row: ComparisonRow) -> str:
    """``genome from 0.31 to 0.98 at densities from 0.0042 to 0.045``."""
    seeds = seed_scores(row)
    scores, densities = [score for *_, score in seeds], [density for _, density, _ in seeds]
    ends = [short(end, 4) for end in (min(scores), max(scores), min(densities), max(densities))]
    return f"{brief(row.method)} from {ends[0]} to {ends[1]} at densities from {ends[2]} to {ends[3]}"
