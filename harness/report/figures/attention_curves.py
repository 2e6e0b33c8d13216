"""How attention falls with distance, a line for each row with the range of its seeds."""

from __future__ import annotations

from collections.abc import Mapping

from harness.report.figures.plot import Plot, sentence
from harness.report.figures.scale import Scale, fit, wide
from harness.report.figures.series import RowCurves
from harness.report.figures.training_curves import averaged, curve
from harness.report.palette import Style

LABEL = "attention to a key that is so far away, by the mask alone; 1: as without a mask"


def attention_curves(
    series: Mapping[str, RowCurves], palette: Mapping[str, Style], prefix: str, what: str
) -> str | None:
    """Mean attention at each distance in the grid of keys; points of a seed are (distance, attention).

    None without a value.
    """
    lines = {name: steps for name, one in series.items() if (steps := averaged(one.seeds))}
    values = [value for steps in lines.values() for step in steps for value in step[1:]]
    if not values:
        return None
    far = max(steps[-1][0] for steps in lines.values())
    log = min(values) > 0 and wide(values)
    note = "Distance in steps along the grid. Lines: mean over seeds. Shaded: lowest to highest seed."
    label = f"distance between query and key, {what}"
    plot = Plot(prefix, Scale(0.0, far or 1.0), fit(values, log=log), label, LABEL, list(lines), note)
    for name, steps in lines.items():
        curve(plot, palette[series[name].method], name, steps)
    ends = "; ".join(f"{name} from {steps[0][1]:.3g} to {steps[-1][1]:.3g}" for name, steps in lines.items())
    return plot.render(f"Attention against distance, {what}", sentence(ends))
