"""Curves over training, a line for each method with the range of its seeds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import groupby

from harness.report.figures.plot import Plot, sentence
from harness.report.figures.scale import Scale, fit, short, wide
from harness.report.figures.series import LOSS, RowCurves
from harness.report.palette import Style
from harness.report.svg import band, brief, drawable, element, escape, line

POINTS, RUNS = 120, 40  # of a line and of a band, at most
_STARTS = 24  # at most so many hairlines
_BANDS = 12  # lines; the ranges of more of them would hide each other

Step = tuple[float, float, float, float]  # step, mean, minimum, maximum


def training_curves(
    series: Mapping[str, RowCurves],
    palette: Mapping[str, Style],
    prefix: str = "training",
    what: str = LOSS,
    unit: str = "",
) -> str | None:
    """The mean over seeds at each step, and of few lines the range from the lowest to the highest seed as a band.

    Keys of ``series`` are the names of the lines. Vertical hairlines show where phases begin, in the colour
    of the method that has them if it is the only one; lines are broken there. Lines are thinned, the
    extremes kept. None without a value.
    """
    lines = {name: steps for name, one in series.items() if (steps := averaged(one.seeds))}
    if not lines:
        return None
    ranges = len(lines) <= _BANDS
    values = [value for steps in lines.values() for step in steps for value in (step[1:] if ranges else step[1:2])]
    x = Scale(0.0, max(steps[-1][0] for steps in lines.values()) or 1.0)
    several = any(len(series[name].seeds) > 1 for name in lines)
    plot = Plot(
        prefix,
        x,
        fit(values, log=wide(values)),
        "optimiser step, counted over all phases",
        what + (f" ({unit})" if unit else ""),
        list(lines),
        "Lines: mean over seeds. " * several + "Shaded: lowest to highest seed." * (several and ranges),
    )
    _hairlines(plot, {name: series[name] for name in lines}, palette)
    for name, steps in lines.items():
        curve(plot, palette[series[name].method], name, steps, series[name].starts, ranges)
    return plot.render(f"{what} over training", _description(what, lines))


def averaged(seeds: Sequence[Sequence[tuple[float, float]]]) -> list[Step]:
    """(step, mean, minimum, maximum) over seeds, at the steps that at least half of the seeds have."""
    found: dict[float, list[float]] = {}
    for seed in seeds:
        for step, value in seed:
            if drawable(step) and drawable(value) and step >= 0:
                found.setdefault(step, []).append(value)
    enough = len(seeds) / 2
    return [(s, sum(v) / len(v), min(v), max(v)) for s, v in sorted(found.items()) if len(v) >= enough]


def thinned(steps: Sequence[Step], most: int = POINTS) -> list[Step]:
    """At most ``most`` steps: first, last, and of equal runs between them the lowest and the highest mean."""
    if len(steps) <= most:
        return list(steps)
    runs = (most - 2) // 2
    kept = {0, len(steps) - 1}
    for i in range(runs):
        run = range(1 + i * (len(steps) - 2) // runs, 1 + (i + 1) * (len(steps) - 2) // runs)
        kept |= {min(run, key=lambda j: steps[j][1]), max(run, key=lambda j: steps[j][1])}
    return [steps[i] for i in sorted(kept)]


def envelope(steps: Sequence[Step], most: int = RUNS) -> list[tuple[float, float, float]]:
    """(step, lowest, highest) of at most ``most`` + 1 equal runs, so that no seed leaves the band unseen.

    A run stands at its first step; the last step stands for itself.
    """
    length = -(-len(steps) // most)
    runs = [steps[i : i + length] for i in range(0, len(steps), length)]
    if length > 1:
        runs.append(steps[-1:])
    return [(run[0][0], min(step[2] for step in run), max(step[3] for step in run)) for run in runs]


def _hairlines(plot: Plot, series: Mapping[str, RowCurves], palette: Mapping[str, Style]) -> None:
    owners: dict[float, set[str]] = {}
    for one in series.values():
        for start in one.starts:
            if drawable(start) and plot.x.low < start < plot.x.high:
                owners.setdefault(start, set()).add(one.method)
    shared = [(start, methods) for start, methods in sorted(owners.items())][:_STARTS]
    for start, methods in shared:
        path = line([(plot.x(start), plot.top), (plot.x(start), plot.bottom)])
        alone = palette[min(methods)] if len(methods) == 1 and len(series) > 1 else None
        text = escape(f"a phase begins after step {short(start, 4)}: {', '.join(map(brief, sorted(methods)[:6]))}")
        plot.add("back", alone, element("path", element("title", text), d=path, class_="t" if alone else "d"))


def curve(
    plot: Plot, style: Style, name: str, steps: Sequence[Step], starts: Sequence[float] = (), ranges: bool = True
) -> None:
    """Draw a line with its name at the end, and its seeds' range if wanted, broken after each of ``starts``."""
    for _, group in groupby(steps if ranges else [], key=lambda step: bisect_left(starts, step[0])):
        outline = envelope(list(group))
        upper = [(plot.x(step), plot.y(high)) for step, _, high in outline]
        lower = [(plot.x(step), plot.y(low)) for step, low, _ in outline]
        if len(outline) > 1 and upper != lower:
            plot.add("band", style, element("path", d=band(upper, lower), class_="b"))
    for _, group in groupby(thinned(steps), key=lambda step: bisect_left(starts, step[0])):
        spots = [(plot.x(step), plot.y(mean)) for step, mean, _, _ in group]
        if len(spots) == 1:  # a line of one point has no length: give it some
            spots = [(spots[0][0] - 2, spots[0][1]), (spots[0][0] + 2, spots[0][1])]
        plot.add("line", style, element("path", d=line(spots), class_="l"))
    last = steps[-1]
    title = element("title", escape(f"{brief(name)}: {short(last[1], 4)} after step {short(last[0], 4)}"))
    at = plot.x(last[0]), plot.y(last[1])
    plot.add("line", style, element("circle", title, cx=at[0], cy=at[1], r=2.5, class_="f"))
    plot.name(name, style, *at)


def _description(what: str, lines: Mapping[str, Sequence[Step]]) -> str:
    longest = max(steps[-1][0] for steps in lines.values())
    ends = sorted((steps[-1][1], brief(name), steps) for name, steps in lines.items())
    texts = [f"{name} from {short(steps[0][1], 4)} to {short(end, 4)}" for end, name, steps in ends]
    shown = texts if len(texts) <= 8 else [*texts[:4], *texts[-4:]]
    return " ".join(map(sentence, [f"{what} of {len(lines)} lines over {short(longest, 4)} steps", "; ".join(shown)]))
