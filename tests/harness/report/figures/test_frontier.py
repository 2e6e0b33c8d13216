"""The frontier of score and cost: what no other row dominates, and where it stands."""

import math
from dataclasses import replace

import numpy as np
import pytest
from drawings import SVG, drawn, looks, mixed, parse, row, spots, texts

from harness.analysis.pareto import efficient
from harness.report.comparisons import pareto
from harness.report.costs import COSTS, TIME
from harness.report.figures import frontier, pruning_curve


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


def test_nothing_dominated_covers_an_efficient_point() -> None:
    """Each of two methods has an efficient row and one that is dominated by the other one's."""
    table = [row("a", 0.5, 0.9), row("a", 0.2, 0.7), row("b", 0.5, 0.899), row("b", 0.2, 0.71), row("dense", 1.0, 0.95)]
    text = frontier(table, looks(table), cost=COSTS["density"])
    places = {name: text.rindex(f"<title>{name}:") for name in ("a, density 0.5", "b, density 0.5", "a, density 0.2")}
    assert places["a, density 0.5"] > max(places["b, density 0.5"], places["a, density 0.2"])
    assert text.rindex("<title>b, density 0.2:") > places["a, density 0.2"]
