"""Figures: marks lie where the numbers say, names do not overlap, all is inside, and nothing hostile gets out."""

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from result_files import write_series

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.pareto import efficient
from harness.report.comparisons import pareto
from harness.report.costs import COSTS, TIME
from harness.report.figures import frontier, layer_densities, performance_profile, pruning_curve, training_curves
from harness.report.figures.layer_densities import connection_densities
from harness.report.figures.scale import alike
from harness.report.figures.series import RowCurves, training_series
from harness.report.figures.training_curves import POINTS, RUNS, averaged, envelope, thinned
from harness.report.palette import palette
from harness.report.svg import text_width
from harness.results.cell_record import CellRecord
from harness.results.record_parts import ConnectionCounts, Density
from harness.results.store import ResultStore

SVG = "{http://www.w3.org/2000/svg}"
EVIL = ["<script>alert(1)</script>", "a\"b'c&d;", "\u202e\x00\ud800x", "]]>", "多" * 300, "W" * 400, "", "#p .x{}"]
METHODS = ["connectome", "genome", "magnitude", "random"]


def row(method: str, density: float, mean: float, half: float | None = 0.02, **others: Any) -> ComparisonRow:
    made: dict[str, Any] = {
        "suite": "s",
        "experiment": "main",
        "trained_on": "digits",
        "protocol": "test",
        "method": method,
        "density_mask": density,
        "density_low": density,
        "density_high": density,
        "density_total": density,
        "density_scope": "maskable",
        "parameters": 1e6,
        "mean": mean,
        "ci_low": None if half is None else mean - half,
        "ci_high": None if half is None else mean + half,
        "n": 1 if half is None else 3,
        "metric": "accuracy",
        "unit": "fraction",
        "direction": "max",
        "architecture": "mlp",
        "benchmark": "digits",
        "baseline": "dense",
        "cells": [],
    }
    return ComparisonRow(**made | others)


def sweep() -> list[ComparisonRow]:
    """A baseline and four methods at four densities."""
    curves = [
        row(method, density, 0.9 - 0.01 * i - 0.2 * (1 - density) ** 3, 0.01 + 0.01 * i)
        for i, method in enumerate(METHODS)
        for density in (0.5, 0.25, 0.125, 0.0625)
    ]
    return [row("dense", 1.0, 0.95), *curves]


def looks(table: list[ComparisonRow]) -> Any:
    return palette([row.method for row in table], "dense")


def parse(svg: str | None) -> ET.Element:
    assert svg is not None
    root = ET.fromstring(svg.encode("utf8"))
    check(root)
    return root


def check(root: ET.Element) -> None:
    """What holds for every figure: names of texts, ids, and all marks and texts inside the viewBox."""
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    assert (float(root.attrib["width"]), float(root.attrib["height"])) == pytest.approx((width, height), abs=1)
    assert root.attrib["role"] == "img"
    ids = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
    assert len(ids) == len(set(ids))
    for name in root.attrib["aria-labelledby"].split():
        assert len("".join(e.text or "" for e in root.iter() if e.attrib.get("id") == name)) > 10
    assert {e.tag.removeprefix(SVG) for e in root.iter()} <= {
        *("svg", "title", "desc", "style", "g", "path", "text", "circle")
    }
    for x, y in [spot for e in root.iter(SVG + "path") for spot in spots(e.attrib["d"])]:
        assert 0 <= x <= width
        assert 0 <= y <= height
    for left, right, _ in boxes(root):
        assert left >= 0
        assert right <= width


def spots(path: str) -> list[tuple[float, float]]:
    """Absolute points of path data, without the outlines of markers (which begin with a relative move)."""
    found = []
    for start, moves in re.findall(r"M([-\d. ]+)(?:l([-\d. ]*))?", path):
        x, y = map(float, start.split())
        found.append((x, y))
        numbers = [float(n) for n in moves.replace("-", " -").split()]
        for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
            x, y = x + dx, y + dy
            found.append((x, y))
    return found


def boxes(root: ET.Element) -> list[tuple[float, float, float]]:
    """Left, right and baseline of each text that is not turned."""
    found = []
    for text in root.iter(SVG + "text"):
        if "transform" in text.attrib:
            continue
        size = 11 if text.attrib.get("class") == "s" else 12
        width, x = text_width(text.text or "", size), float(text.attrib["x"])
        left = x - {"end": width, "middle": width / 2}.get(text.attrib.get("text-anchor", ""), 0.0)
        found.append((left, left + width, float(text.attrib["y"])))
    return found


def drawn(root: ET.Element) -> dict[str, tuple[float, float]]:
    """By tooltip: the centre of the point of a mean, the first corner of an arrow."""
    return {
        title.text or "": spots(e.attrib["d"])[0]
        for e in root.iter(SVG + "path")
        if e.attrib.get("class") in ("p", "h", "f")
        and "transform" not in e.attrib
        and (title := e.find(SVG + "title")) is not None
    }


def axis(root: ET.Element, anchor: str) -> list[tuple[float, float]]:
    """Pixels and numbers of the ticks of the y axis ("end") or the x axis ("middle")."""
    units = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    found = []
    for text in root.iter(SVG + "text"):
        if text.attrib.get("text-anchor") == anchor and text.attrib.get("class") == "s":
            words = (text.text or "").replace("\N{MINUS SIGN}", "-")
            value = float(words[:-1]) * units[words[-1]] if words[-1] in units else float(words)
            found.append((float(text.attrib["y"]) - 4 if anchor == "end" else float(text.attrib["x"]), value))
    return found


def read(pixel: float, ticks: list[tuple[float, float]]) -> float:
    """The number that an axis with two ticks or more shows at a pixel."""
    (x0, v0), (x1, v1) = ticks[0], ticks[-1]
    return v0 + (v1 - v0) * (pixel - x0) / (x1 - x0)


def test_points_of_a_pruning_curve_lie_where_the_axis_says() -> None:
    table = sweep()
    root = parse(pruning_curve(table, looks(table)))
    ticks = sorted(axis(root, "end"))
    points = drawn(root)
    assert len(points) == 16
    for one in table[1:]:
        place = points[f"{one.method}, density {one.density_mask:.4g}: {one.mean:.4f} ± {_half(one):.4f} (n = 3)"]
        assert read(place[1], ticks) == pytest.approx(one.mean, abs=0.002)
        nearest = min(axis(root, "middle"), key=lambda tick: abs(tick[0] - place[0]))
        assert nearest[1] == pytest.approx(one.density_mask, rel=0.01)


def _half(one: ComparisonRow) -> float:
    return (one.ci_high - one.ci_low) / 2


@pytest.mark.parametrize("densities", [[1.0, 0.5, 0.25, 0.125], [0.8, 0.6, 0.4]])
def test_points_of_one_method_stand_on_their_densities(densities: list[float]) -> None:
    table = [row("random", density, 0.9) for density in densities]
    root = parse(pruning_curve(table, looks(table)))
    ticks = axis(root, "middle")
    for text, (x, _) in drawn(root).items():
        density = float(text.split("density ")[1].split(":")[0])
        assert any(abs(x - pixel) <= 0.15 and value == pytest.approx(density) for pixel, value in ticks)


def test_intervals_reach_from_low_to_high() -> None:
    table = [row("random", 0.5, 0.9, 0.05), row("genome", 0.25, 0.8, None)]
    root = parse(pruning_curve(table, looks(table)))
    (bar,) = [spots(e.attrib["d"]) for e in root.iter(SVG + "path") if e.attrib.get("class") == "e"]
    values = [read(y, sorted(axis(root, "end"))) for _, y in bar[:2]]
    assert sorted(values) == pytest.approx([0.85, 0.95], abs=0.002)
    assert [e.attrib["class"] for e in root.iter(SVG + "path") if e.find(SVG + "title") is not None].count("h") == 1


def test_the_baseline_is_a_level_line_with_a_band() -> None:
    table = sweep()
    root = parse(pruning_curve(table, looks(table)))
    (area,) = [spots(e.attrib["d"]) for e in root.iter(SVG + "path") if e.attrib.get("class") == "a"]
    ticks = sorted(axis(root, "end"))
    assert read(max(y for _, y in area), ticks) == pytest.approx(0.93, abs=0.002)
    assert read(min(y for _, y in area), ticks) == pytest.approx(0.97, abs=0.002)


def test_points_of_many_methods_stand_on_their_densities() -> None:
    table = [row(f"m{i}", density, 0.9 - 0.001 * i) for i in range(8) for density in (0.4, 0.2, 0.05)]
    root = parse(pruning_curve(table, looks(table)))
    ticks, points = {value: x for x, value in axis(root, "middle")}, drawn(root)
    assert len(points) == 24
    for text, (x, _) in points.items():
        assert x == pytest.approx(ticks[float(text.split("density ")[1].split(":")[0])], abs=0.15)


def test_methods_at_one_density_are_rows() -> None:
    table = [row("dense", 1.0, 0.95), *(row(f"m{i}", 0.4, 0.9 - 0.01 * i) for i in range(3))]
    root = parse(pruning_curve(table, looks(table)))
    heights = _named(root)
    assert [name for name in sorted(heights, key=heights.__getitem__) if name in looks(table)] == [
        "dense",
        "m0",
        "m1",
        "m2",
    ]
    assert "density 0.4" in texts(root) and "A scale of logits." in texts(root) and "of its own" not in texts(root)
    points = {text.split(",")[0]: x for text, (x, _) in drawn(root).items()}
    assert points["m2"] < points["m1"] < points["m0"] < points["dense"]


def many(unit: str = "fraction", direction: str = "max") -> list[ComparisonRow]:
    """Twelve methods at two densities; m11 is far worse than all others at the lower one, m10 is cut there."""
    table = [row("dense", 1.0, 0.98, 0.002, unit=unit, direction=direction)]
    for i in range(12):
        table.append(row(f"m{i}", 0.05, 0.97 - 0.002 * i, 0.001, unit=unit, direction=direction))
        low = {10: 0.1, 11: 0.3}.get(i, 0.93 - 0.002 * (9 - i))
        cut = {10: {0: "cut", 1: "cut", 2: "cut"}}.get(i, {})
        table.append(row(f"m{i}", 0.02, low, 0.001, broken=cut, unit=unit, direction=direction))
    return table


def test_panels_are_named_by_the_usual_density_and_one_of_a_single_method_is_told_instead() -> None:
    table = [row("m0", 0.0506, 0.97, 0.001), *(one for one in many() if (one.method, one.density_mask) != ("m0", 0.05))]
    table.append(row("m3", 0.0089, 0.5, 0.001))
    root = parse(pruning_curve(table, looks(table)))
    said = texts(root)
    assert "density 0.05 " in f"{said} " and "density 0.0506" not in said and "density 0.0089" not in said
    assert "Not shown, for no other method has their density: m3 at 0.0089." in said
    assert "m0, density 0.0506" in {text.split(":")[0] for text in drawn(root)}


def test_many_methods_at_few_densities_are_rows_the_best_of_the_lowest_density_on_top() -> None:
    table = many()
    root = parse(pruning_curve(table, looks(table)))
    names = {text: y for text, y in _named(root).items() if text == "dense" or text.startswith("m")}
    assert sorted(names, key=names.__getitem__) == ["dense", *(f"m{i}" for i in range(9, -1, -1)), "m11", "m10"]
    points = {tuple(text.split(":")[0].split(", density ")): spot for text, spot in drawn(root).items()}
    for method in ("m0", "m9"):
        assert points[method, "0.05"][1] == points[method, "0.02"][1] == pytest.approx(names[method] - 4)
    # By hand, on logits of the panel's own scale: 0.97, 0.96 and 0.95 are at 3.4761, 3.1781 and 2.9444.
    x = {method: points[method, "0.05"][0] for method in ("m0", "m5", "m10")}
    assert (x["m0"] - x["m5"]) / (x["m5"] - x["m10"]) == pytest.approx((3.4761 - 3.1781) / (3.1781 - 2.9444), rel=0.02)
    assert x["m0"] > x["m5"] > x["m10"]
    said = texts(root)
    assert "density 0.05" in said and "density 0.02" in said
    assert "0.3" in said.split() and "0.1 cut 3/3" in said
    assert ("m10", "0.02") not in points and ("m11", "0.02") not in points
    assert "Each density has a scale of its own, of logits. Arrows: off the scale." in said and "Crossed" not in said


def _named(root: ET.Element) -> dict[str, float]:
    return {e.text or "": float(e.attrib["y"]) for e in root.iter(SVG + "text")}


def test_rows_of_what_is_no_share_and_is_to_be_lowered() -> None:
    table = [replace(one, mean=-math.log(one.mean), ci_low=None, ci_high=None) for one in many("nats", "min")]
    root = parse(pruning_curve(table, looks(table)))
    points = {text.split(":")[0]: x for text, (x, _) in drawn(root).items()}
    assert points["m0, density 0.05"] < points["m5, density 0.05"] < points["m10, density 0.05"]
    assert "of logits" not in texts(root)


@pytest.mark.parametrize("means", [[0.0], [1.0], [0.0, 1.0], [0.5]])
def test_rows_of_extreme_shares_are_drawn(means: list[float]) -> None:
    table = [row(f"m{i}", density, means[i % len(means)], None) for i in range(12) for density in (0.5, 0.1)]
    assert pruning_curve(table, looks(table)) == pruning_curve(table[::-1], looks(table[::-1]))
    parse(pruning_curve(table, looks(table)))


def test_rows_with_hostile_names_stay_text() -> None:
    table = [row(name, 0.1, 0.9, metric=name, unit=name) for name in EVIL] + many()[1:]
    assert all("script" not in e.tag for e in parse(pruning_curve(table, looks(table))).iter())


def test_density_zero_has_a_place_of_its_own() -> None:
    table = [row("random", density, 0.9) for density in (0.5, 0.1, 0.02, 0.0)]
    root = parse(pruning_curve(table, looks(table)))
    ticks = axis(root, "middle")
    (zero,) = [x for x, value in ticks if value == 0]
    assert zero == max(x for x, _ in ticks)
    assert drawn(root)["random, density 0: 0.9000 ± 0.0200 (n = 3)"][0] == pytest.approx(zero, abs=0.2)


def test_the_description_says_who_is_best() -> None:
    table = sweep()
    text = parse(pruning_curve(table, looks(table))).findtext(SVG + "desc") or ""
    assert "Without mask dense has 0.9500 ± 0.0200 (n = 3)." in text
    assert "At density 0.25: best mean connectome" in text
    lowered = [replace(one, direction="min") for one in table]
    text = parse(pruning_curve(lowered, looks(table))).findtext(SVG + "desc") or ""
    assert "At density 0.25: best mean random" in text


def mixed(method: str, densities: list[float], values: list[float], **others: Any) -> ComparisonRow:
    """A row of one seed at each density, whose mean must not be seen."""
    given: dict[str, Any] = {
        "mixed": True,
        "density_low": min(densities),
        "density_high": max(densities),
        "values": np.array(values),
        "densities": np.array(densities),
        "seeds": list(range(len(values))),
        "n": len(values),
    }
    return row(method, sum(densities) / len(densities), 0.123, **(given | others))


def small(root: ET.Element) -> dict[str, tuple[float, float]]:
    """By tooltip: the centre of each point of one seed."""
    found = {}
    for e in root.iter(SVG + "path"):
        if "transform" in e.attrib:
            x, y = re.findall(r"translate\(([-\d.]+) ([-\d.]+)\)", e.attrib["transform"])[0]
            found[e.findtext(SVG + "title") or ""] = float(x), float(y)
    return found


def texts(root: ET.Element) -> str:
    return " ".join(e.text or "" for e in root.iter(SVG + "text"))


def test_a_row_of_mixed_densities_is_a_point_a_seed_without_a_mean() -> None:
    table = [row("dense", 1.0, 0.95), mixed("genome", [0.25, 0.0625, 0.125], [0.9, 0.5, 0.75], broken={1: "cut"})]
    svg = pruning_curve(table, looks(table))
    root = parse(svg)
    assert drawn(root) == {}
    points, ticks = small(root), sorted(axis(root, "end"))
    assert [text.split(", ", 1)[1] for text in points] == [
        "seed 0, density 0.25: 0.9000",
        "seed 2, density 0.125: 0.7500",
        "seed 1, density 0.0625: 0.5000 (cut)",
    ]
    for (x, y), density, value in zip(points.values(), (0.25, 0.125, 0.0625), (0.9, 0.75, 0.5), strict=True):
        assert read(y, ticks) == pytest.approx(value, abs=0.002)
        assert min(axis(root, "middle"), key=lambda tick: abs(tick[0] - x)) == (pytest.approx(x, abs=0.2), density)
    assert [e.attrib["class"] for e in root.iter(SVG + "path") if "transform" in e.attrib] == ["p", "p", "k"]
    (thin,) = [spots(e.attrib["d"]) for e in root.iter(SVG + "path") if e.attrib.get("class") == "n"]
    assert thin == [pytest.approx(place, abs=0.2) for place in points.values()]
    assert not [
        e for e in root.iter(SVG + "path") if e.attrib.get("class") in ("e", "l") and e.find(SVG + "title") is None
    ]
    assert "there is no mean" in texts(root) and "Band: 95 % interval over seeds." in texts(root)
    description = root.findtext(SVG + "desc") or ""
    assert "genome from 0.5 to 0.9 at densities from 0.0625 to 0.25" in description
    assert svg is not None and "0.123" not in svg
    crosses = "Small crosses: seeds whose output does not depend on the input."
    table[1].broken = {}
    assert crosses in texts(root) and crosses not in texts(parse(pruning_curve(table, looks(table))))


def test_soft_masks_stand_at_density_one_under_their_own_name() -> None:
    hard = row("random", 0.05, 0.9)
    table = [row("dense", 1.0, 0.95), row("genome", 1.0, 0.94, mask_mean=0.1134), hard, row("random", 0.5, 0.92)]
    root = parse(pruning_curve(table, looks(table)))
    (x,) = [x for text, (x, _) in drawn(root).items() if text.startswith("genome (soft masks, mean 0.11), density 1:")]
    assert x == pytest.approx(next(pixel for pixel, value in axis(root, "middle") if value == 1), abs=0.2)
    assert "genome (soft masks, mean 0.11)" in texts(root) and "every weight takes part" in texts(root)


def test_the_frontier_leaves_out_rows_without_a_mean_and_says_so() -> None:
    table = [row("dense", 1.0, 0.95), row("random", 0.5, 0.9), mixed("genome", [0.1, 0.3], [0.99, 0.98])]
    root = parse(frontier(table, looks(table)))
    assert sorted(text.split(",")[0] for text in drawn(root)) == ["dense", "random"]
    assert "there is no mean: genome." in texts(root)
    assert "genome" not in (root.findtext(SVG + "desc") or "")
    assert frontier([table[0], table[2]], looks(table)) is None


def test_the_frontier_against_time_has_the_rows_that_were_measured() -> None:
    table = [row("dense", 1.0, 0.95), row("thin", 0.1, 0.9), row("random", 0.1, 0.8)]
    assert frontier(table, looks(table), cost=TIME) is None
    for one, speed in zip(table[:2], (1.0, 4.0), strict=True):
        one.speedup_measured = speed
    root = parse(frontier(table, looks(table), cost=TIME))
    assert sorted(text.split(",")[0] for text in drawn(root)) == ["dense", "thin"]
    assert "inference time, measured (1: dense)" in texts(root)
    assert "at 0.25" in (root.findtext(SVG + "desc") or "")


def test_networks_that_do_not_work_are_crossed_last_and_never_efficient() -> None:
    lost = row("cut off", 0.05, 0.97, broken=dict.fromkeys(range(3), "cut"))
    table = [row("dense", 1.0, 0.95), lost, row("random", 0.05, 0.1, n=5, broken={0: "cut", 3: "cut"})]
    table.append(row("random", 0.5, 0.9))
    for figure in (pruning_curve, frontier):
        root = parse(figure(table, looks(table)))
        (cross,) = [e for e in root.iter(SVG + "path") if e.attrib.get("class") == "k"]
        assert "(n = 3, cut 3/3)" in (cross.findtext(SVG + "title") or "")
        assert sum("(n = 5, cut 2/5)" in text for text in drawn(root)) == 1
        assert "in no seed does the output depend on the input" in texts(root)
    (steps,) = [spots(e.attrib["d"]) for e in root.iter(SVG + "path") if e.attrib.get("class") == "o"]
    centre = spots(cross.attrib["d"])[0]
    assert all(math.dist(corner, centre) > 5 for corner in steps)
    description = parse(pruning_curve(table, looks(table))).findtext(SVG + "desc") or ""
    assert "At density 0.05: best mean random" in description and "last cut off" in description


def test_a_smaller_network_stands_where_a_mask_leaves_as_many_parameters() -> None:
    # Of 1,000,000 parameters 900,000 are maskable: density 0.125 leaves 212,500.
    masked = [row("random", d, 0.9, density_total=0.1 + 0.9 * d) for d in (0.5, 0.25, 0.0625)]
    little = row("narrow", 1.0, 0.85, density_asked=0.125, small=True, parameters=212_500.0, density_total=1.0)
    table = [row("dense", 1.0, 0.95), *masked, little]
    root = parse(pruning_curve(table, looks(table)))
    place = next(at for text, at in drawn(root).items() if text.startswith("narrow (smaller network), density 1"))
    assert place[0] == pytest.approx(next(x for x, value in axis(root, "middle") if value == 0.125), abs=0.3)
    (ring,) = root.iter(SVG + "circle")
    assert (float(ring.attrib["cx"]), float(ring.attrib["cy"])) == pytest.approx(place, abs=0.2)
    assert "Ringed: a smaller network without mask" in texts(root)
    assert "At density 0.125: narrow (smaller network) 0.8500" in (root.findtext(SVG + "desc") or "")


def test_the_note_says_what_intervals_are_over() -> None:
    table = [row("dense", 1.0, 0.95), row("random", 0.5, 0.9, over="seeds and examples"), row("genome", 0.25, 0.8)]
    for figure in (pruning_curve, frontier):
        said = texts(parse(figure(table[:2], looks(table)))), texts(parse(figure(table, looks(table))))
        assert "interval over seeds or over seeds and examples." in said[1]
    assert "Bars and band: 95 % interval over seeds" in texts(parse(pruning_curve(table, looks(table))))


def test_the_axis_begins_where_the_densities_do_and_names_them() -> None:
    def ticks(*densities: float) -> list[float]:
        table = [row("random", density, 0.9) for density in densities]
        return [value for _, value in sorted(axis(parse(pruning_curve(table, looks(table))), "middle"))]

    assert ticks(0.07, 0.03, 0.01) == [0.07, 0.03, 0.01]
    halvings = [0.125, 0.0625, 0.0312, 0.0156]
    assert ticks(0.07, 0.03, 0.028, 0.01) == halvings  # labels of two would touch
    most = [density for density in (0.07, 0.03, 0.01) for _ in range(3)]
    assert ticks(*most, 0.028) == [0.07, 0.03, 0.01]
    assert ticks(*[0.07] * 5, 0.03, 0.01) == halvings  # one tick would be no axis
    assert ticks(0.1612, *[0.16] * 4, 0.061, *[0.06] * 4) == [0.16, 0.06]  # not the densities of one
    assert ticks(*[0.3] * 3, 0.16004, 0.15996, 0.1612, 0.1612, 0.16) == [0.3, 0.16]  # as they are written
    assert ticks(0.9, 0.9, 0.7061, 0.7, 0.7) == [0.9, 0.7]  # without halvings


@pytest.mark.parametrize("figure", [pruning_curve, frontier])
def test_networks_that_do_not_work_in_some_seeds_are_named(figure: Any) -> None:
    def said(broken: dict[int, str], mean: float = 0.8, methods: int = 1) -> str:
        rows = [row(f"m{i}", 0.05, mean, broken=broken) for i in range(methods)]
        table = [row("dense", 1.0, 0.95), row("good", 0.05, 0.9), row("fair", 0.05, 0.85), *rows]
        return texts(parse(figure(table, looks(table))))

    expected = "Output that does not depend on the input: m0 at 0.0500 (constant or cut 2/3)."
    assert expected in said({0: "cut", 2: "constant"})
    assert "not depend" not in said({})
    crossed = said(dict.fromkeys(range(3), "cut"))  # its mark says so
    assert "Crossed: in no seed does the output depend" in crossed and "not depend" not in crossed
    small = row("narrow", 1.0, 0.8, small=True, density_asked=0.1, parameters=9e4, broken={0: "cut"})
    table = [row("dense", 1.0, 0.95), row("good", 0.1, 0.9), row("fair", 0.05, 0.85), small]
    assert "narrow (smaller network) for 0.1 (cut 1/3)." in texts(parse(figure(table, looks(table))))
    many = said({0: "cut"}, methods=12)
    assert "m7 at 0.0500 (cut 1/3) and 4 others." in many


def test_a_network_off_the_scale_that_does_not_work_is_named() -> None:
    table = [row("dense", 1.0, 0.95), *(row(f"m{i}", 0.1, 0.9 + i / 100) for i in range(4))]
    table.append(row("lame", 0.1, 0.2, broken=dict.fromkeys(range(3), "cut")))
    assert "Output that does not depend on the input: lame at 0.1000 (cut 3/3)." in texts(
        parse(frontier(table, looks(table)))
    )


def test_an_interval_that_is_not_even_keeps_both_ends() -> None:
    table = [row("dense", 1.0, 0.95), row("random", 0.5, 2e-4, ci_low=1e-4, ci_high=9e-4)]
    assert "random, density 0.5: 0.0002000 (0.0001000 to 0.0009000) (n = 3)" in drawn(
        parse(pruning_curve(table, looks(table)))
    )


def test_nothing_masked_is_nothing_to_draw() -> None:
    table = [row("dense", 1.0, 0.9), row("genome", 1.0, 0.8)]
    assert pruning_curve(table, looks(table)) is None
    assert pruning_curve([], {}) is None
    assert frontier([row("dense", 1.0, 0.9)], looks(table)) is None
    assert frontier([], {}) is None
    assert training_curves({}, {}) is None
    assert training_curves({"a": RowCurves("a", [[(1, math.nan)]])}, palette("a")) is None
    assert performance_profile({"a": []}, palette("a"), 2) is None
    assert layer_densities({"a": {"x": [1.0]}}, palette("a")) is None


@pytest.mark.parametrize("count", [1, 2, 8, 40])
def test_names_never_overlap(count: int) -> None:
    table = [row("dense", 1.0, 0.95)]
    table += [row(f"method {i}", d, 0.9 - 0.1 * i / count) for i in range(count) for d in (0.5, 0.1)]
    for figure in (pruning_curve, frontier):
        root = parse(figure(table, looks(table)))
        margin = [box for box in boxes(root) if box[1] - box[0] > 20]
        assert sum(1 for e in root.iter(SVG + "text") if (e.text or "").startswith("method ")) == count
        for a, b in combinations(margin, 2):
            assert abs(a[2] - b[2]) >= 10.9 or a[1] < b[0] or b[1] < a[0]


@pytest.mark.parametrize(
    "means",
    [[0.5], [0.5, 0.5, 0.5], [-3.0, 2.0, 0.0], [1e-9, 1e9, 1.0], [1e99, -1e99, 0.0], [0.0, 0.0], [3, 4e6, 2e12]],
)
@pytest.mark.parametrize("direction", ["max", "min", "none"])
def test_any_range_of_numbers(means: list[float], direction: str) -> None:
    table = [row("dense", 1.0, means[0], direction=direction)]
    table += [row(f"m{i}", 0.5**i, mean, abs(mean) * 10, direction=direction) for i, mean in enumerate(means, 1)]
    assert len(drawn(parse(pruning_curve(table, looks(table))))) >= len(means)
    if direction == "none":  # nothing is efficient
        assert frontier(table, looks(table)) is None
    else:
        parse(frontier(table, looks(table)))


def test_what_is_no_number_is_left_out() -> None:
    bad = [math.nan, math.inf, 1e300]
    table = [row("random", 0.5, 0.9), row("genome", 0.25, 0.8, ci_low=math.nan)]
    table += [row("shuffle", 0.5, value) for value in bad]
    table += [row("shuffle", value, 0.9) for value in bad]
    for figure in (pruning_curve, frontier):
        svg = figure(table, looks(table))
        assert len(drawn(parse(svg))) == 2
        assert svg is not None
        assert not re.search(r"\b(nan|inf|None)\b", svg)


def test_hostile_strings_stay_text() -> None:
    table = [row("dense", 1.0, 0.95)]
    for i, name in enumerate(EVIL):
        table += [
            row(name, d, 0.9 - 0.01 * i, metric=name, unit=name, benchmark=name, architecture=name) for d in (0.5, 0.1)
        ]
    styles = looks(table)
    series = {name: RowCurves(name, [[(1, 2.0), (2, 1.0)]]) for name in EVIL}
    layers = {name: {other: [0.5] for other in EVIL} for name in EVIL}
    svgs = [
        pruning_curve(table[2:], styles),
        frontier(table, styles),
        training_curves(series, styles, what=EVIL[0], unit=EVIL[1]),
        performance_profile({name: [(1.0, 0.5), (2.0, 1.0)] for name in EVIL}, styles, 2),
        layer_densities(layers, styles),
    ]
    for svg in svgs:
        assert all("script" not in e.tag for e in parse(svg).iter())
        assert svg is not None
        assert len(svg) < 40_000


def test_equal_input_gives_equal_bytes_whatever_the_order() -> None:
    table = sweep()
    for figure in (pruning_curve, frontier):
        assert figure(table, looks(table)) == figure(table[::-1], looks(table[::-1]))


def test_prefixes_keep_two_figures_apart() -> None:
    table = sweep()
    one, two = (pruning_curve(table, looks(table), prefix) or "" for prefix in ("a1", "b1"))
    ids = [e.attrib["id"] for svg in (one, two) for e in ET.fromstring(svg).iter() if "id" in e.attrib]
    assert len(ids) == len(set(ids))
    style = ET.fromstring(one).findtext(SVG + "style") or ""
    rules = re.findall(r"[^{}]+(?=\{[^{}]*\})", re.sub(r"@(media|supports) ?\(.*?\)\)?\{", "", style))
    assert len(rules) > 30
    assert all("#a1" in rule for rule in rules)
    with pytest.raises(ValueError, match="id"):
        pruning_curve(table, looks(table), 'a"b')


def test_the_theme_of_the_page_comes_after_that_of_the_system() -> None:
    table = sweep()
    style = parse(pruning_curve(table, looks(table), "p")).findtext(SVG + "style") or ""
    system, light, dark = (style.index(x) for x in ("@media", "[data-theme=light] #p", "[data-theme=dark] #p"))
    assert system < light < dark
    assert style.count("--ink:#1f2328") == 2
    assert style.count("--ink:#e6edf3") == 2


def test_programs_without_custom_properties_read_plain_rules() -> None:
    table = sweep()
    style = parse(pruning_curve(table, looks(table))).findtext(SVG + "style") or ""
    plain, live = style.split("@", 1)
    assert "var(" not in plain and "--" not in plain
    depth = [style[:i].count("{") - style[:i].count("}") for i, c in enumerate(style) if c == "}"]
    assert max(depth) == 2 and depth[-1] == 1  # what Inkscape's parser bears
    assert all(style.rfind("@", 0, at.start()) > 0 for at in re.finditer(r"[{;]--", style))
    assert "height:auto" in live


@pytest.mark.parametrize("width", [227.0, 321.0, 529.0, 1500.0])
def test_figures_of_any_width_hold_their_marks_and_names_apart(width: float) -> None:
    few, hostile = sweep(), [row("dense", 1.0, 0.95)]
    hostile += [row(name, d, 0.9, metric=name, unit=name, benchmark=name) for name in EVIL for d in (0.5, 0.1)]
    profile = {name: [(1.0, 0.5), (2.0, 1.0)] for name in METHODS}
    for table in (few, many(), hostile):
        svgs = [figure(table, looks(table), width=width) for figure in (pruning_curve, frontier)]
        for svg in [*svgs, performance_profile(profile, palette(METHODS), 2, width=width)]:
            root = parse(svg)
            assert float(root.attrib["width"]) == width
            for a, b in combinations(boxes(root), 2):
                assert abs(a[2] - b[2]) >= 10 or a[1] <= b[0] + 0.1 or b[1] <= a[0] + 0.1, (a, b)


def test_names_stand_below_a_narrow_figure_from_the_top_down() -> None:
    table = sweep()
    root = parse(pruning_curve(table, looks(table), width=321.0))
    label = max(y for text, y in _named(root).items() if text in ("weights kept)", "maskable weights kept)"))
    found = {
        e.text: (float(e.attrib["y"]), float(e.attrib["x"])) for e in root.iter(SVG + "text") if e.text in looks(table)
    }
    assert sorted(found, key=found.__getitem__) == ["dense", *METHODS]
    assert all(y > label for y, _ in found.values())


def test_a_usual_figure_is_small() -> None:
    table = sweep()
    assert all(len(figure(table, looks(table)) or "") < 15_000 for figure in (pruning_curve, frontier))


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize("grid", [3, 10, 1000])
def test_efficient_rows_are_those_that_no_other_dominates(direction: str, grid: int) -> None:
    generator = np.random.default_rng(grid)
    for size in (1, 2, 7, 40):
        cost, value = generator.integers(0, grid, (2, size)) / 7.0
        value[generator.random(size) < 0.1] = math.nan
        gain = value if direction == "max" else -value
        better = (cost[:, None] <= cost) & (gain[:, None] >= gain) & ((cost[:, None] < cost) | (gain[:, None] > gain))
        expected = (np.isfinite(value) & ~better.any(axis=0)).tolist()
        assert efficient(cost, value, direction).tolist() == expected


def test_efficient_refuses_what_makes_no_sense() -> None:
    assert not efficient([1, 2], [1, 2], "none").any()
    assert efficient([], [], "max").shape == (0,)
    assert efficient([1, math.inf, math.nan], [1, 9, 9], "max").tolist() == [True, False, False]
    with pytest.raises(ValueError, match="direction"):
        efficient([1], [1], "up")
    with pytest.raises(ValueError, match="length"):
        efficient([1], [1, 2], "max")


def test_the_frontier_moves_nothing_sideways_and_names_what_is_far_off() -> None:
    table = [row("dense", 1.0, 0.95), *(row(f"m{i}", 0.1, 0.9 + i / 100) for i in range(4)), row("lame", 0.1, 0.2)]
    root = parse(frontier(table, looks(table)))
    places = {text.split(",")[0]: place for text, place in drawn(root).items()}
    assert len({round(places[f"m{i}"][0], 2) for i in range(4)}) == 1
    assert abs(places["lame"][0] - places["m0"][0]) <= 4 and places["lame"][1] > places["m0"][1]
    texts = [e.text for e in root.iter(SVG + "text")]
    assert "lame (0.2)" in texts and "m0" in texts
    assert any("Arrows: off the scale." in (text or "") for text in texts)


def test_the_frontier_joins_the_efficient_points() -> None:
    table = [row(m, d, v) for m, d, v in [("a", 0.1, 0.5), ("b", 0.2, 0.4), ("c", 0.4, 0.8), ("d", 1.0, 0.9)]]
    root = parse(frontier(table, looks(table)))
    (steps,) = [spots(e.attrib["d"]) for e in root.iter(SVG + "path") if e.attrib.get("class") == "o"]
    places = {text.split(",")[0]: place for text, place in drawn(root).items()}
    near = {name: min(math.dist(place, corner) for corner in steps) < 0.2 for name, place in places.items()}
    assert near == {"a": True, "b": False, "c": True, "d": True}
    assert "parameters left" in "".join(e.text or "" for e in root.iter(SVG + "text"))
    priced = [replace(one, inference_flops_sparse=1e9 * one.density_mask) for one in table]
    assert "inference FLOPs" in (frontier(priced, looks(table)) or "")
    priced[0].inference_flops_sparse = None
    assert "parameters left" in (frontier(priced, looks(table)) or "")


def test_the_frontier_has_the_cost_that_is_asked_for_and_the_rows_of_its_table() -> None:
    amounts = {"dense": (8e6, 5e9), "thin": (1e6, 9e9), "long": (2e6, 2e9), "old": (4e6, None), "empty": (0.0, 3e9)}
    densities = {"dense": 1.0, "thin": 0.1, "long": 0.2, "old": 0.3, "empty": 0.4}
    scores = {"dense": 0.9, "thin": 0.8, "long": 0.7, "old": 0.6, "empty": 0.5}
    table = [
        row(name, densities[name], scores[name], id=i, inference_flops_sparse=once, flops_sparse=all_steps)
        for i, (name, (once, all_steps)) in enumerate(amounts.items())
    ]
    left_out = {"density": set(), "flops": {"empty"}, "training-flops": {"old"}}
    assert left_out.keys() == COSTS.keys()
    for name, gone in left_out.items():
        root = parse(frontier(table, looks(table), cost=COSTS[name]))
        assert f"{COSTS[name].title}, lower is better" in texts(root)
        places = {text.split(",")[0]: place for text, place in drawn(root).items()}
        assert places.keys() == amounts.keys() - gone
        assert sorted(places, key=lambda method: places[method][0]) == sorted(
            places, key=lambda method: COSTS[name].of(next(one for one in table if one.method == method), table) or 0.0
        )
        assert ("Not shown: 1 of 5 rows, whose cost is 0 or not known." in texts(root)) == bool(gone)
        (shown,) = pareto([table], name)
        front = {cells[1] for cells in shown.rows if cells[0]} - gone
        (steps,) = [spots(e.attrib["d"]) for e in root.iter(SVG + "path") if e.attrib.get("class") == "o"]
        assert {m for m, place in places.items() if min(math.dist(place, one) for one in steps) < 0.2} == front


def test_the_frontier_says_where_a_smaller_network_stands_among_densities() -> None:
    small = row("narrow", 1.0, 0.7, small=True, parameters=5e4, inference_flops_sparse=9e4)
    table = [
        row("dense", 1.0, 0.9, inference_flops_sparse=1e6),
        row("thin", 0.1, 0.8, inference_flops_sparse=1e5),
        small,
    ]
    said = {name: texts(parse(frontier(table, looks(table), cost=COSTS[name]))) for name in ("density", "flops")}
    assert ["A smaller network stands where a mask" in text for text in said.values()] == [True, False]


def test_seeds_are_averaged_step_by_step() -> None:
    seeds = [[(1, 1.0), (2, 2.0), (3, 9.0)], [(1, 3.0), (2, math.nan)], [(1, 5.0), (2, 4.0)]]
    assert averaged(seeds) == [(1, 3.0, 1.0, 5.0), (2, 3.0, 2.0, 4.0)]


def test_thinning_keeps_ends_and_extremes() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=5000)
    values[1234], values[3210] = 50, -50
    steps = [(float(i), float(v), v - 1.0, v + 2.0) for i, v in enumerate(values)]
    kept = thinned(steps)
    assert len(kept) <= POINTS
    assert {steps[0], steps[-1], steps[1234], steps[3210]} <= set(kept)
    assert all(a[0] < b[0] for a, b in pairwise(kept))
    outline = envelope(steps)
    assert len(outline) <= RUNS + 1
    assert (outline[0][0], outline[-1][0]) == (0, 4999)
    assert min(low for _, low, _ in outline) == -51
    assert max(high for *_, high in outline) == 52
    assert thinned(steps[:5]) == steps[:5]
    assert envelope(steps[:2]) == [(0.0, values[0] - 1, values[0] + 2), (1.0, values[1] - 1, values[1] + 2)]


def test_training_curves_break_where_phases_begin() -> None:
    seeds = [[(float(s), 2.0 + k - s / 100) for s in range(10, 101, 10)] for k in (0, 1)]
    series = {"a": RowCurves("a", seeds, [50.0]), "b": RowCurves("b", seeds[:1], [])}
    root = parse(training_curves(series, palette("ab"), what="loss", unit="nats"))
    lines = [spots(e.attrib["d"]) for e in root.iter(SVG + "path") if e.attrib.get("class") == "l"]
    assert sorted(map(len, lines)) == [5, 5, 10]
    ticks = sorted(axis(root, "middle"))
    steps = [round(read(x, ticks), 1) for x, _ in min(lines, key=lambda points: points[0][0])]
    assert steps[0] == pytest.approx(10, abs=0.3)
    hairlines = [
        spots(e.attrib["d"])[0][0] for e in root.iter(SVG + "path") if "phase" in (e.findtext(SVG + "title") or "")
    ]
    assert [read(x, ticks) for x in hairlines] == pytest.approx([50], abs=0.3)
    assert sum(e.attrib.get("class") == "b" for e in root.iter(SVG + "path")) == 2


@pytest.mark.parametrize(("count", "shaded"), [(12, 12), (13, 0)])
def test_many_training_curves_have_no_bands(count: int, shaded: int) -> None:
    series = {f"m{i}": RowCurves(f"m{i}", [[(1, 2.0), (9, 1.0)], [(1, 3.0), (9, 1.5)]]) for i in range(count)}
    root = parse(training_curves(series, palette(list(series), None)))
    assert sum(e.attrib.get("class") == "b" for e in root.iter()) == shaded
    assert ("Shaded" in texts(root)) == bool(shaded)


def test_series_files_become_curves(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    good = {
        "cell": "a",
        "loss": [[0, 10, 3.0, 0.1], [0, 20, 2.0, 0.1], [2, 10, 2.5, 0.1], [2, 15, 1.0, 0.1]],
        "evaluations": [
            [0, 20, "validation", {"accuracy": 0.5}],
            [2, 15, "test", {"accuracy": 0.9}],
            [2, 15, "validation", {"accuracy": 0.7}],
            [2, 15, "chosen", {}],
        ],
    }
    write_series(store, "s", "a", good)
    write_series(store, "s", "b", {"loss": [[0, 20, 4.0, 1], [0, 30, 1e300, 1]]})
    store.file("s", "series", "g").path.write_text(
        '{"loss": [[0, 10, 1.0, 1], [0, "x", 1.0, 1]], "evaluations": {"a": 1}}'
    )
    half = store.file("s", "series", "c").path
    half.write_text('{"loss": [[0, 10,')
    store.file("s", "series", "d").path.write_text('{"loss": [[0, 10, NaN, 1], [0, 20, Infinity, 1]]}')
    store.file("s", "series", "e").path.write_bytes(b"")
    store.file("s", "series", "f").path.write_text("[1, 2]")
    table = [
        row("random", 0.5, 0.9, cells=["a", "b", "c", "d", "e", "f", "g", "missing"]),
        row("genome", 0.5, 0.9, cells=["c", "missing"]),
        row("magnitude", 0.5, 0.9, cells=["a"]),
        row("magnitude", 0.25, 0.9, cells=["a"]),
    ]
    found = training_series(store, table)
    assert list(found) == ["random", "magnitude 0.5", "magnitude 0.25"]
    assert found["random"] == RowCurves("random", [[(10, 3.0), (20, 2.0), (30, 2.5), (35, 1.0)], [(20, 4.0)]], [20])
    assert found["magnitude 0.25"].method == "magnitude"
    accuracy = training_series(store, table, "accuracy")
    assert accuracy["random"].seeds == [[(20, 0.5), (35, 0.7)]]
    assert training_series(store, table, "nothing") == {}
    parse(training_curves(found, looks(table)))


def test_a_profile_rises_in_steps() -> None:
    profile = {"a": [(1.0, 0.5), (2.0, 1.0)], "b": [(1.5, 0.25), (math.inf, 1.0), (3.0, 0.75)]}
    root = parse(performance_profile(profile, palette("ab"), 2))
    lines = [spots(e.attrib["d"]) for e in root.iter(SVG + "path") if e.attrib.get("class") == "l"]
    y_ticks, x_ticks = sorted(axis(root, "end")), sorted(axis(root, "middle"))
    corners = [[(read(x, x_ticks), read(y, y_ticks)) for x, y in points] for points in lines]
    assert [y for _, y in corners[0]] == pytest.approx([0.5, 0.5, 1, 1], abs=0.01)
    assert [x for x, _ in corners[0]][:3] == pytest.approx([1, 2, 2], abs=0.02)
    assert [y for _, y in corners[1]] == pytest.approx([0, 0, 0.25, 0.25, 0.75, 0.75], abs=0.01)
    text = root.findtext(SVG + "desc") or ""
    assert "A: best on 50%, within a ratio of 2 on 100%." in text
    assert "B: best on 0%" in text


def test_a_profile_says_what_its_problems_are_and_who_is_not_on_all_of_them() -> None:
    profile = {"a": [(1.0, 0.5), (2.0, 1.0)], "b": [(1.5, 1 / 6), (3.0, 4 / 6)]}
    told = texts(parse(performance_profile(profile, palette("ab"), 6)))
    assert "Of 6 problems, each one network on one benchmark, with rows of equal density and training budget." in told
    assert "of 6 problems b has 4 (at most 0.67)." in told
    assert "fraction of problems within the ratio" in told and "fraction of benchmarks" not in told
    del profile["b"]
    assert "at most" not in texts(parse(performance_profile(profile, palette("a"), 6)))


def test_bars_are_as_high_as_densities() -> None:
    def record(**connections: tuple[int, int]) -> CellRecord:
        found = {name: ConnectionCounts(size=size, kept=kept) for name, (size, kept) in connections.items()}
        part = {"label": "m"}
        named = {"cell": "c", "suite": "s", "architecture": part, "method": part, "benchmark": part, "seed": 0}
        return CellRecord.model_validate(
            named | {"status": "failed", "metrics": {}, "density": Density(connections=found)}
        )

    records = [("a", record(x=(200, kept), y=(4, 4))) for kept in (97, 100)]
    records += [("a", record(y=(0, 0))), ("nothing", record()), ("dense", record(x=(10, 10)))]
    densities = connection_densities(records)
    assert densities == {"a": {"x": [0.485, 0.5], "y": [1.0, 1.0]}, "dense": {"x": [1.0]}}
    root = parse(layer_densities(densities, palette(["a", "dense"], "dense")))
    bars = [spots(e.attrib["d"]) for e in root.iter(SVG + "path") if e.attrib.get("class") == "f"]
    heights = [max(y for _, y in bar) - min(y for _, y in bar) for bar in bars]
    assert heights[0] / heights[1] == pytest.approx(0.4925, abs=0.01)
    assert [e.findtext(SVG + "title") for e in root.iter(SVG + "path") if e.attrib.get("class") == "f"] == [
        "a, x: 0.492 (0.485 to 0.5)",
        "a, y: 1",
    ]


def test_seeds_that_differ_have_a_bar_each_or_a_span() -> None:
    def bars(connections: int) -> tuple[list[tuple[float, float]], str]:
        by = {f"c{i}": [0.2, 0.4, 0.3] for i in range(connections)}
        root = parse(layer_densities({"a": by}, palette(["a"])))
        path = next(e for e in root.iter(SVG + "path") if e.attrib.get("class") == "f")
        assert path.findtext(SVG + "title").endswith(": 0.2, 0.4, 0.3 by seed, no mean")
        assert "a bar each" in texts(root) and not any(e.attrib.get("class") == "w" for e in root.iter(SVG + "path"))
        ys = [[y for _, y in spots("M" + part)] for part in path.attrib["d"].split("M")[1:]]
        return [(max(y), max(y) - min(y)) for y in ys], texts(root)

    found, _ = bars(2)
    floor = found[0][0]
    assert [height / found[0][1] for _, height in found] == pytest.approx([1, 2, 1.5], abs=0.05)
    assert {bottom for bottom, _ in found} == {floor}
    (span,) = bars(150)[0]
    assert span[1] == pytest.approx(found[0][1], abs=0.1) and span[0] == pytest.approx(floor - found[0][1], abs=0.1)


@pytest.mark.parametrize("connections", [1, 30, 1000])
def test_many_connections_fit(connections: int) -> None:
    by = {f"block{i}.attention.output.projection": [0.1, 0.9] for i in range(connections)}
    svg = layer_densities({f"m{i}": by for i in range(3)}, palette([f"m{i}" for i in range(3)]))
    root = parse(svg)
    assert sum(e.attrib.get("class") == "f" for e in root.iter(SVG + "path")) <= 3 * 160
    turned = [e.attrib["transform"] for e in root.iter(SVG + "text") if "transform" in e.attrib]
    places = [float(re.findall(r"[\d.]+", text)[0]) for text in turned]
    assert all(b - a >= 10 for a, b in pairwise(places))


@pytest.mark.parametrize("width", [227.0, 321.0, 529.0, 720.0])
@pytest.mark.parametrize("methods", [3, 14])
def test_names_are_never_cut(width: float, methods: int) -> None:
    """As curves, whose names stand beside or below, and as rows of panels."""
    names = [f"magnitude_with_a_very_long_name_of_a_variant-{i} (smaller network)" for i in range(methods)]
    table = [
        row("dense", 1.0, 0.95),
        *(row(name, d, 0.8 + i / 100) for i, name in enumerate(names) for d in (0.5, 0.1)),
    ]
    root = parse(pruning_curve(table, looks(table), width=width))
    shown = [node for node in root.iter(SVG + "text") if node.get("class") is None]
    told = "".join("".join(node.itertext()) for node in shown).replace(" ", "")
    assert all(name.replace(" ", "") in told for name in names) and "\N{HORIZONTAL ELLIPSIS}" not in told
    for node in shown:
        if node.get("text-anchor") is None:
            assert float(node.attrib["x"]) + text_width("".join(node.itertext()), 12) <= width + 1
        elif node.get("text-anchor") == "end":
            assert float(node.attrib["x"]) - text_width("".join(node.itertext()), 12) >= -1


def test_nothing_dominated_covers_an_efficient_point() -> None:
    """Each of two methods has an efficient row and one that is dominated by the other one's."""
    table = [row("a", 0.5, 0.9), row("a", 0.2, 0.7), row("b", 0.5, 0.899), row("b", 0.2, 0.71), row("dense", 1.0, 0.95)]
    text = frontier(table, looks(table), cost=COSTS["density"])
    places = {name: text.rindex(f"<title>{name}:") for name in ("a, density 0.5", "b, density 0.5", "a, density 0.2")}
    assert places["a, density 0.5"] > max(places["b, density 0.5"], places["a, density 0.2"])
    assert text.rindex("<title>b, density 0.2:") > places["a, density 0.2"]


@pytest.mark.parametrize(
    ("densities", "ticks"),
    [
        ([0.5, 0.1999, 0.0501], ["0.500", "0.200", "0.0501"]),
        ([0.5, 0.2, 0.05], ["0.5", "0.2", "0.05"]),
        ([1.0, 0.25, 0.1], ["1.0", "0.25", "0.10"]),
        ([0.5, 0.0], ["0.5", "0"]),
        ([0.5, 2e-6], ["0.5", "2e-6"]),
    ],
)
def test_densities_on_an_axis_have_equal_significant_digits(densities: list[float], ticks: list[str]) -> None:
    assert [text.replace("\N{MINUS SIGN}", "-") for text in alike(densities)] == ticks
