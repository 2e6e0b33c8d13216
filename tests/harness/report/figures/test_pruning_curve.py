"""Pruning curves: points stand on their densities, intervals reach from low to high."""

from dataclasses import replace

import pytest
from drawings import SVG, axis, drawn, half_of, looks, mixed, parse, read, row, small, spots, sweep, texts

from harness.report.figures import frontier, pruning_curve


def test_points_of_a_pruning_curve_lie_where_the_axis_says() -> None:
    table = sweep()
    root = parse(pruning_curve(table, looks(table)))
    ticks = sorted(axis(root, "end"))
    points = drawn(root)
    assert len(points) == 16
    for one in table[1:]:
        place = points[f"{one.method}, density {one.density_mask:.4g}: {one.mean:.4f} ± {half_of(one):.4f} (n = 3)"]
        assert read(place[1], ticks, share=True) == pytest.approx(one.mean, abs=0.002)
        nearest = min(axis(root, "middle"), key=lambda tick: abs(tick[0] - place[0]))
        assert nearest[1] == pytest.approx(one.density_mask, rel=0.01)


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
    values = [read(y, sorted(axis(root, "end")), share=True) for _, y in bar[:2]]
    assert sorted(values) == pytest.approx([0.85, 0.95], abs=0.002)
    assert [e.attrib["class"] for e in root.iter(SVG + "path") if e.find(SVG + "title") is not None].count("h") == 1


def test_the_baseline_is_a_level_line_with_a_band() -> None:
    table = sweep()
    root = parse(pruning_curve(table, looks(table)))
    (area,) = [spots(e.attrib["d"]) for e in root.iter(SVG + "path") if e.attrib.get("class") == "a"]
    ticks = sorted(axis(root, "end"))
    assert read(max(y for _, y in area), ticks, share=True) == pytest.approx(0.93, abs=0.002)
    assert read(min(y for _, y in area), ticks, share=True) == pytest.approx(0.97, abs=0.002)


def test_points_of_many_methods_stand_on_their_densities() -> None:
    table = [row(f"m{i}", density, 0.9 - 0.001 * i) for i in range(8) for density in (0.4, 0.2, 0.05)]
    root = parse(pruning_curve(table, looks(table)))
    ticks, points = {value: x for x, value in axis(root, "middle")}, drawn(root)
    assert len(points) == 24
    for text, (x, _) in points.items():
        assert x == pytest.approx(ticks[float(text.split("density ")[1].split(":")[0])], abs=0.15)


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
        assert read(y, ticks, share=True) == pytest.approx(value, abs=0.002)
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
    assert ticks(*[0.07] * 5, 0.03, 0.01) == [0.07, 0.03, 0.01]  # also where most have the first alone
    assert ticks(*[0.07] * 5, 0.03, 0.028, 0.01) == halvings  # one tick would be no axis
    assert ticks(0.1612, *[0.16] * 4, 0.061, *[0.06] * 4) == [0.16, 0.06]  # not the densities of one
    assert ticks(*[0.3] * 3, 0.16004, 0.15996, 0.1612, 0.1612, 0.16) == [0.3, 0.16]  # as they are written
    assert ticks(0.9, 0.9, 0.7061, 0.7, 0.7) == [0.9, 0.7]  # without halvings


def test_an_interval_that_is_not_even_keeps_both_ends() -> None:
    table = [row("dense", 1.0, 0.95), row("random", 0.5, 2e-4, ci_low=1e-4, ci_high=9e-4)]
    assert "random, density 0.5: 0.0002000 (0.0001000 to 0.0009000) (n = 3)" in drawn(
        parse(pruning_curve(table, looks(table)))
    )
