"""A metric against what inference costs, with the line that no method passes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.pareto import efficient
from harness.formatting import listed
from harness.report.costs import COSTS, LEFT, CostAxis
from harness.report.figures.document import WIDTH
from harness.report.figures.estimate import (
    ARROWS,
    LOGITS,
    draw,
    metric_label,
    near_scale,
    notes,
    unreliable,
    value_text,
    where,
    with_mean,
)
from harness.report.figures.plot import Plot, sentence
from harness.report.figures.scale import fit, short, wide
from harness.report.palette import Style
from harness.report.places import label, lost
from harness.report.svg import Point, brief, drawable, element, line

_FAR = 3.0  # what is cheap is often bad, and what this figure is about


def frontier(
    table: Sequence[ComparisonRow],
    palette: Mapping[str, Style],
    prefix: str = "frontier",
    cost: CostAxis | None = None,
    width: float = WIDTH,
) -> str | None:
    """Means with 95 % intervals against cost; a step line joins the Pareto-efficient rows.

    ``cost``: one of :mod:`harness.report.costs`, by default the sparse-theoretical FLOPs of inference where every row
    has them, else the parameters that are left. Rows whose densities differ between seeds have no mean and are left
    out, as are those whose cost is 0 or not known; those whose networks all do not work are never efficient.
    ``table``: the rows of one table. None if no two rows have different costs, or if the metric does not judge.
    """
    if table and table[0].direction == "none":
        return None
    rows = with_mean(table)
    if cost is None:
        cost = COSTS["flops"] if all(drawable(row.inference_flops_sparse) for row in rows) else LEFT
    priced = [(amount, row) for row in rows if drawable(amount := cost.of(row, table)) and amount > 0]
    if len({amount for amount, _ in priced}) < 2:
        return None
    unpriced = len(rows) - len(priced)
    costs, rows = [amount for amount, _ in priced], [row for _, row in priced]
    what = cost.title
    best = efficient(costs, [math.nan if lost(row) else row.mean for row in rows], rows[0].direction)
    scores = near_scale(rows, _FAR)
    near = [row for row in rows if scores.holds(row.mean)]
    last = {label(rows[i]): i for i in sorted(range(len(rows)), key=lambda i: costs[i])}
    names = {i: name if rows[i] in near else f"{name} ({short(rows[i].mean)})" for name, i in last.items()}
    note = [
        *notes(near),
        *([LOGITS] if scores.logit else []),
        *([ARROWS] if len(near) < len(rows) else []),
    ]
    note += unreliable([row for row in rows if not lost(row) or row not in near])
    if best.any():
        note.append("Dashed: no row is both cheaper and better.")
    if mixed := sorted(row.method for row in table if row.mixed):
        note.append(f"Not shown, for densities or sizes differ between seeds and there is no mean: {listed(mixed)}.")
    if cost is COSTS["density"] and any(row.small for row in rows):
        note.append("A smaller network stands where a mask leaves as many parameters.")
    if unpriced:
        note.append(f"Not shown: {unpriced} of {len(priced) + unpriced} rows, whose cost is 0 or not known.")
    scale = fit(costs, log=wide(costs, 4.0), pad=0.08)
    plot = Plot(
        prefix,
        scale,
        scores,
        f"{what}, lower is better",
        metric_label(rows[0]),
        sorted(names.values()),
        " ".join(note),
        width=width,
    )
    order = sorted(range(len(rows)), key=lambda i: (plot.x(costs[i]), plot.y(rows[i].mean), i))
    spots = {}
    for i in order:
        x = plot.x(costs[i])
        layer = "top" if best[i] else "point"  # nothing that is dominated hides what is efficient
        spots[i] = x, draw(plot, palette[rows[i].method], rows[i], x, label(rows[i]), layer)
    if best.any():
        steps = _steps(sorted({spots[i] for i in order if best[i]}), plot.right)
        plot.add("band", None, element("path", d=line(steps), class_="o"))
    for i, name in sorted(names.items(), key=lambda one: one[1]):
        plot.name(name, palette[rows[i].method], *spots[i])
    chosen = sorted((i for i in order if best[i]), key=lambda i: costs[i])
    return plot.render(
        f"{brief(rows[0].metric)} against {what}: {where(rows[0])}",
        _description(what, [(costs[i], label(rows[i]), rows[i]) for i in chosen], rows),
    )


def _steps(spots: Sequence[Point], right: float) -> list[Point]:
    """Corners of the line through efficient points, level until the next one is affordable."""
    corners = [spots[0]]
    for x, y in spots[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    return [*corners, (right, corners[-1][1])]


def _description(what: str, best: Sequence[tuple[float, str, ComparisonRow]], rows: Sequence[ComparisonRow]) -> str:
    parts = [f"{metric_label(rows[0])}, against {what}, for {len(rows)} rows on {brief(rows[0].benchmark)}"]
    if best:
        texts = [f"{brief(name)} at {short(cost)} with {value_text(row)}" for cost, name, row in best[:8]]
        more = f", and {len(best) - 8} more" if len(best) > 8 else ""
        parts.append(f"Pareto-efficient from the cheapest on: {'; '.join(texts)}{more}")
    return " ".join(map(sentence, parts))
