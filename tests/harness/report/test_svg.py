"""SVG text: what is written is XML whatever the strings hold, and numbers are where they belong."""

import math
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from scipy.optimize import minimize

from harness.report.figures.scale import Scale, fit, labels, short, wide
from harness.report.figures.spread import spread
from harness.report.svg import (
    MARKERS,
    band,
    brief,
    clean,
    coordinate,
    drawable,
    element,
    escape,
    line,
    marker,
    shorten,
    text_width,
)

EVIL = [
    "<script>alert(1)</script>",
    "a\"b'c&d;",
    "\u202eabc\x00\ud800\ufffe\x1b[0m",
    "]]><!--",
    "多" * 300,
    "\U0001f600" * 50,
    "e\u0301" * 900,
    "",
]


@pytest.mark.parametrize("number", range(len(EVIL)))
def test_any_string_is_content_of_an_element(number: int) -> None:
    made = element("text", escape(EVIL[number]), class_="a")
    parsed = ET.fromstring(made.encode("utf8"))
    assert len(parsed) == 0
    assert (parsed.text or "") == clean(EVIL[number])


def test_control_characters_are_gone_and_spaces_are_one() -> None:
    assert clean("a\n\t b\x00\x1b\u200b\u202e\ud800c ") == "a bc"


def test_attributes_are_escaped_and_not_cut() -> None:
    path = "M0 0" + "l1 1" * 5000
    parsed = ET.fromstring(element("path", d=path, text_anchor='"<&', x=1.26))
    assert parsed.attrib == {"d": path, "text-anchor": '"<&', "x": "1.3"}


@pytest.mark.parametrize("number", range(len(EVIL)))
def test_shortened_text_fits(number: int) -> None:
    for width in (30.0, 80.0, 170.0):
        assert text_width(shorten(EVIL[number], width, 12), 12) <= width


def test_text_that_fits_is_left_whole() -> None:
    assert shorten("random", 200, 12) == "random"
    assert shorten("random_per_layer", 60, 12).endswith("\N{HORIZONTAL ELLIPSIS}")
    assert brief("x" * 60) == "x" * 60
    assert brief("x" * 61) == "x" * 59 + "\N{HORIZONTAL ELLIPSIS}"


@pytest.mark.parametrize(
    ("value", "expected"), [(1, "1"), (1.04, "1"), (1.06, "1.1"), (-0.04, "0"), (-3.25, "-3.2"), (720.0, "720")]
)
def test_coordinates_are_rounded_to_tenths(value: float, expected: str) -> None:
    assert coordinate(value) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_reaches_a_figure(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        coordinate(value)
    assert not drawable(value)


@pytest.mark.parametrize("value", [None, "1", True, 1e200, [1]])
def test_what_is_no_number_is_not_drawable(value: object) -> None:
    assert not drawable(value)


def walk(path: str) -> list[tuple[float, float]]:
    """The points of path data of the kind that ``line`` writes."""
    start, _, moves = path.removesuffix("z").removeprefix("M").partition("l")
    x, y = map(float, start.split())
    points = [(x, y)]
    numbers = [float(n) for n in moves.replace("-", " -").split()]
    for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
        x, y = x + dx, y + dy
        points.append((x, y))
    return points


def test_a_long_line_ends_where_its_points_do() -> None:
    points = [(i * 0.7349, 100 * math.sin(i / 7.3) + i / 33) for i in range(2000)]
    walked = walk(line(points))
    assert walked[0] == pytest.approx(points[0], abs=0.051)
    assert walked[-1] == pytest.approx(points[-1], abs=0.051)
    assert len(walked) == len(points)
    assert max(math.dist(a, b) for a, b in zip(walked, points, strict=True)) < 0.08


def test_points_on_one_spot_are_written_once() -> None:
    assert line([(1, 1), (1.01, 1.01), (2, 1)]) == "M1 1l1 0"
    assert line([(3, 4)]) == "M3 4"


def test_a_band_goes_there_and_back() -> None:
    assert walk(band([(0, 0), (5, 1)], [(0, 3), (5, 4)])) == [(0, 0), (5, 1), (5, 4), (0, 3)]


def test_every_marker_starts_from_its_centre() -> None:
    assert all(marker(outline, 10, 20).startswith("M10 20m") for outline in MARKERS.values())
    assert len(set(MARKERS.values())) == len(MARKERS)


def test_a_linear_scale_maps_ends_and_middle() -> None:
    scale = Scale(2, 4).over(100, 300)
    assert [scale(v) for v in (2, 3, 4)] == [100, 200, 300]
    assert [scale(v) for v in (-9, 9)] == [100, 300]


def test_a_logarithmic_scale_maps_equal_ratios_to_equal_lengths() -> None:
    scale = Scale(1, 1000, True).over(0, 300)
    assert [scale(v) for v in (1, 10, 100, 1000)] == pytest.approx([0, 100, 200, 300])
    assert scale(0) == 0


@pytest.mark.parametrize(
    "values",
    [[], [3], [5, 5, 5], [0, 0], [-1e-3, 2], [1e99, -1e99], [1e-290, 2e-290], [math.nan, None, 1.0], [1e12, 1e12 + 1]],
)
def test_fitted_scales_hold_their_values_and_have_ticks(values: list[float | None]) -> None:
    scale = fit(values)
    shown = [v for v in values if v is not None and math.isfinite(v)]
    assert scale.high > scale.low
    assert all(scale.low <= v <= scale.high for v in shown)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 12
    assert all(a < b for a, b in pairwise(ticks))
    assert len(set(labels(ticks))) == len(ticks)
    assert math.isfinite(scale.over(0, 100)(scale.low))


@pytest.mark.parametrize("values", [[1e-99, 1e99], [0.2, 0.3], [7], [0, -1, 5, 6], [1, 2000], [300, 350]])
def test_logarithmic_scales_hold_what_is_positive(values: list[float]) -> None:
    scale = fit(values, log=True)
    ticks = scale.ticks()
    assert all(scale.low <= v <= scale.high for v in values if v > 0)
    assert 2 <= len(ticks) <= 12
    assert all(scale.low * (1 - 1e-9) <= tick <= scale.high * (1 + 1e-9) for tick in ticks)


def test_ticks_are_round() -> None:
    assert Scale(0.0, 1.0).ticks() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert Scale(0.02, 1.0, True).ticks(base=2) == [0.03125, 0.0625, 0.125, 0.25, 0.5, 1]
    assert Scale(0.5, 2e6, True).ticks() == [1, 10, 100, 1e3, 1e4, 1e5, 1e6]
    assert Scale(3.0, 60.0, True).ticks() == [5, 10, 20, 50]


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        ([0, 500, 1000], ["0", "0.5k", "1.0k"]),
        ([0.95, 0.975, 1.0], ["0.950", "0.975", "1.000"]),
        ([-2, 0, 2], ["\N{MINUS SIGN}2", "0", "2"]),
        ([1e6, 2e6], ["1M", "2M"]),
        ([1e-6, 2e-6], ["1e-6", "2e-6"]),
        ([0], ["0"]),
    ],
)
def test_ticks_in_words(ticks: list[float], expected: list[str]) -> None:
    assert labels(ticks) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (0.03125, "0.0312"),
        (1234, "1.23k"),
        (3.4e6, "3.4M"),
        (-0.5, "\N{MINUS SIGN}0.5"),
        (999.9, "1k"),
        (2e-6, "2e-6"),
        (1e20, "1e20"),
        (1e9, "1G"),
        (25.0, "25"),
    ],
)
def test_numbers_in_few_characters(value: float, expected: str) -> None:
    assert short(value) == expected


def test_only_positive_numbers_far_apart_are_wide() -> None:
    assert wide([1, 30])
    assert not wide([1, 10])
    assert not wide([0, 1, 30])
    assert not wide([])


@pytest.mark.parametrize(
    "positions",
    [[0, 1, 2, 3], [10, 10, 10], [0, 50, 51, 52, 100], [5], [], [90, 95, 99, 99.5], [0, 0, 0, 40, 41], [20, 26, 60]],
)
def test_spread_is_the_nearest_that_keeps_the_gap(positions: list[float]) -> None:
    """Compared with a general optimiser of the same problem."""
    gap, low, high = 8.0, -5.0, 100.0
    moved = spread(positions, gap, low, high)
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(moved))
    assert all(low - 1e-9 <= p <= high + 1e-9 for p in moved)
    if positions:
        rules = [{"type": "ineq", "fun": lambda p, i=i: p[i + 1] - p[i] - gap} for i in range(len(positions) - 1)]
        start = [low + i * (high - low) / len(positions) for i in range(len(positions))]
        found = minimize(
            lambda p: sum((a - b) ** 2 for a, b in zip(p, positions, strict=True)),
            start,
            bounds=[(low, high)] * len(positions),
            constraints=rules,
            method="SLSQP",
        )
        assert moved == pytest.approx(list(found.x), abs=1e-3)


def test_spread_shrinks_the_gap_where_there_is_no_room() -> None:
    assert spread([1, 1, 1], 10, 0, 4) == pytest.approx([0, 2, 4])
