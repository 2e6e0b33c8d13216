"""How often each method is near the best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.report.figures.document import WIDTH
from harness.report.figures.plot import Plot, sentence
from harness.report.figures.scale import Scale
from harness.report.palette import Style
from harness.report.svg import Point, brief, drawable, element, escape, line
from harness.report.table_answers import PROBLEM, missing_answer

_WIDE = 4.0  # ratios beyond this: a logarithmic axis


def performance_profile(
    profile: Mapping[str, Sequence[Point]],
    palette: Mapping[str, Style],
    problems: int,
    prefix: str = "profile",
    width: float = WIDTH,
) -> str | None:
    """A step curve a method: the fraction of problems on which it is within a ratio of the best method.

    ``profile``: by method, (ratio >= 1, fraction in [0, 1]) rising, the fraction reached at each ratio, of so many
    ``problems``. None without a point.
    Source: Dolan and More 2002, "Benchmarking optimization software with performance
    profiles", Math. Programming 91.
    """
    steps = {
        name: sorted((ratio, min(max(share, 0.0), 1.0)) for ratio, share in points if _usable(ratio, share))
        for name, points in profile.items()
    }
    steps = {name: points for name, points in sorted(steps.items()) if points}
    if not steps:
        return None
    furthest = max(points[-1][0] for points in steps.values())
    furthest = 1 + (furthest - 1) * 1.05 if furthest > 1 else 1.1
    plot = Plot(
        prefix,
        Scale(1.0, furthest, furthest > _WIDE),
        Scale(0.0, 1.03),
        "ratio to the best method of each problem (1 is best)",
        "fraction of problems within the ratio, higher is better",
        list(steps),
        " ".join([f"Of {problems} problems, each {PROBLEM}.", *missing_answer(steps, problems)]),
        width=width,
    )
    for name, points in steps.items():
        style = palette[name]
        corners: list[Point] = [(1.0, points[0][1] if points[0][0] == 1 else 0.0)]
        for ratio, share in points:
            corners += [(ratio, corners[-1][1]), (ratio, share)]
        corners.append((furthest, corners[-1][1]))
        spots = [(plot.x(ratio), plot.y(share)) for ratio, share in corners]
        title = element("title", escape(_words(name, points)))
        plot.add("line", style, element("path", title, d=line(spots), class_="l"))
        plot.name(name, style, *spots[-1])
    ordered = sorted(steps.items(), key=lambda item: (-_wins(item[1]), item[0]))
    texts = [_words(name, points) for name, points in ordered[:8]]
    description = [f"Performance profiles of {len(steps)} methods", *texts]
    return plot.render("performance profile", " ".join(map(sentence, description)))


def _usable(ratio: float, share: float) -> bool:
    return drawable(ratio) and drawable(share) and ratio >= 1


def _wins(points: Sequence[Point]) -> float:
    """The fraction of problems on which the method is the best."""
    return max((share for ratio, share in points if ratio == 1), default=0.0)


def _words(name: str, points: Sequence[Point]) -> str:
    end = points[-1]
    return f"{brief(name)}: best on {_wins(points):.0%}, within a ratio of {end[0]:.3g} on {end[1]:.0%}"
