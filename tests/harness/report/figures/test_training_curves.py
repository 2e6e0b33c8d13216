"""Curves over training: averaged step by step, thinned, broken where phases begin."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from drawings import SVG, axis, looks, parse, read, row, spots, texts
from result_files import write_series

from harness.report.figures import training_curves
from harness.report.figures.series import RowCurves, training_series
from harness.report.figures.training_curves import POINTS, RUNS, averaged, envelope, thinned
from harness.report.palette import palette
from harness.results.store import ResultStore


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
