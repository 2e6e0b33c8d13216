"""What holds for every figure: names do not overlap, all is inside, nothing hostile gets out."""

import math
import re
import xml.etree.ElementTree as ET
from itertools import combinations
from typing import Any

import pytest
from drawings import EVIL, METHODS, SVG, boxes, drawn, looks, many, parse, row, row_names, sweep, texts

from harness.report.figures import frontier, layer_densities, performance_profile, pruning_curve, training_curves
from harness.report.figures.series import RowCurves
from harness.report.palette import palette
from harness.report.svg import text_width


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
    label = max(y for text, y in row_names(root).items() if text in ("weights kept)", "maskable weights kept)"))
    found = {
        e.text: (float(e.attrib["y"]), float(e.attrib["x"])) for e in root.iter(SVG + "text") if e.text in looks(table)
    }
    assert sorted(found, key=found.__getitem__) == ["dense", *METHODS]
    assert all(y > label for y, _ in found.values())


def test_a_usual_figure_is_small() -> None:
    table = sweep()
    assert all(len(figure(table, looks(table)) or "") < 15_000 for figure in (pruning_curve, frontier))


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
