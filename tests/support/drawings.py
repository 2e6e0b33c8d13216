"""Drawn figures, read back: rows to draw, and where marks, names and axes are."""

import math
import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from harness.analysis.comparison_row import ComparisonRow
from harness.report.palette import palette
from harness.report.svg import text_width

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


def read(pixel: float, ticks: list[tuple[float, float]], share: bool = False) -> float:
    """The number that an axis with two ticks or more shows at a pixel; a ``share`` is on logits."""
    (x0, v0), (x1, v1) = ticks[0], ticks[-1]
    if share:
        v0, v1 = math.log(v0 / (1 - v0)), math.log(v1 / (1 - v1))
    found = v0 + (v1 - v0) * (pixel - x0) / (x1 - x0)
    return 1 / (1 + math.exp(-found)) if share else found


def half_of(one: ComparisonRow) -> float:
    return (one.ci_high - one.ci_low) / 2


def many(unit: str = "fraction", direction: str = "max") -> list[ComparisonRow]:
    """Twelve methods at two densities; m11 is far worse than all others at the lower one, m10 is cut there."""
    table = [row("dense", 1.0, 0.98, 0.002, unit=unit, direction=direction)]
    for i in range(12):
        table.append(row(f"m{i}", 0.05, 0.97 - 0.002 * i, 0.001, unit=unit, direction=direction))
        low = {10: 0.1, 11: 0.3}.get(i, 0.93 - 0.002 * (9 - i))
        cut = {10: {0: "cut", 1: "cut", 2: "cut"}}.get(i, {})
        table.append(row(f"m{i}", 0.02, low, 0.001, broken=cut, unit=unit, direction=direction))
    return table


def row_names(root: ET.Element) -> dict[str, float]:
    return {e.text or "": float(e.attrib["y"]) for e in root.iter(SVG + "text")}


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
