"""Methods as rows, with a panel for each density."""

import math
from dataclasses import replace

import pytest
from drawings import EVIL, drawn, looks, many, parse, row, row_names, texts

from harness.report.figures import pruning_curve


def test_methods_at_one_density_are_rows() -> None:
    table = [row("dense", 1.0, 0.95), *(row(f"m{i}", 0.4, 0.9 - 0.01 * i) for i in range(3))]
    root = parse(pruning_curve(table, looks(table)))
    heights = row_names(root)
    assert [name for name in sorted(heights, key=heights.__getitem__) if name in looks(table)] == [
        "dense",
        "m0",
        "m1",
        "m2",
    ]
    assert "density 0.4" in texts(root) and "A scale of logits." in texts(root) and "of its own" not in texts(root)
    points = {text.split(",")[0]: x for text, (x, _) in drawn(root).items()}
    assert points["m2"] < points["m1"] < points["m0"] < points["dense"]


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
    names = {text: y for text, y in row_names(root).items() if text == "dense" or text.startswith("m")}
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
