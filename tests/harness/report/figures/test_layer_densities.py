"""Densities of connections as bars."""

import re
from itertools import pairwise

import pytest
from drawings import SVG, parse, spots, texts

from harness.report.figures import layer_densities
from harness.report.figures.layer_densities import connection_densities
from harness.report.palette import palette
from harness.results.cell_record import CellRecord
from harness.results.record_parts import ConnectionCounts, Density


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
