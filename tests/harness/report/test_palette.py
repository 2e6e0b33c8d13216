"""Looks of methods: distinct, readable on light and dark pages, and the same whatever the order of names."""

import itertools
import math

import pytest

from harness.report.palette import COLOURS, INK, NEUTRAL, PAPER, apart, dashes, palette

Colour = tuple[float, float, float]

# Machado, Oliveira and Fernandes 2009, severity 1; on linear RGB.
VISION = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def linear(colour: str) -> Colour:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return r, g, b


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio."""
    dark, light = sorted(
        sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear(x), strict=True)) for x in (one, other)
    )
    return (light + 0.05) / (dark + 0.05)


def lab(colour: str, vision: str) -> Colour:
    seen = [min(max(sum(m * c for m, c in zip(row, linear(colour), strict=True)), 0), 1) for row in VISION[vision]]
    matrix = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [
        sum(m * c for m, c in zip(row, seen, strict=True)) / white
        for row, white in zip(matrix, (0.9505, 1, 1.089), strict=True)
    ]
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("mode", [0, 1])
def test_colours_stand_out_from_the_page(mode: int) -> None:
    assert all(contrast(both[mode], PAPER[mode]) >= 3 for both in COLOURS)
    assert contrast(INK[mode], PAPER[mode]) >= 10
    assert contrast(NEUTRAL["soft"][mode], PAPER[mode]) >= 4.5


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("vision", sorted(VISION))
def test_colours_differ_for_every_eye(mode: int, vision: str) -> None:
    seen = [lab(both[mode], vision) for both in (*COLOURS, INK)]
    least = ((30, 36) if vision == "normal" else (18, 20))[mode]
    assert min(math.dist(a, b) for a, b in itertools.combinations(seen, 2)) >= least


def test_no_colour_is_read_as_black() -> None:
    for light, _ in COLOURS:
        lightness, a, b = lab(light, "normal")
        assert 40 <= lightness <= 72
        assert math.hypot(a, b) >= 30


def test_the_order_of_names_does_not_matter() -> None:
    names = [f"m{i}" for i in range(30)]
    assert palette(names, "m3") == palette([*reversed(names), "m5"], "m3")


def test_the_reference_has_the_ink_and_takes_no_colour() -> None:
    styles = palette(["a", "dense", "b"], "dense")
    assert (styles["dense"].light, styles["dense"].dark) == INK
    assert styles["a"].light != INK[0] != styles["b"].light
    assert set(palette(["a"])) == {"a"}
    assert "dense" in palette(["a"], "dense")


def test_a_method_keeps_its_colour_in_every_report() -> None:
    names = [f"m{i}" for i in range(40)]
    whole = palette(names)
    assert len({style.light for style in whole.values()}) == len(COLOURS)
    for name in names:
        assert palette([name])[name].light == whole[name].light
        assert palette([*names[:20], name, "x", "y"], "x")[name].light == whole[name].light


def test_up_to_twelve_methods_have_each_a_colour_and_only_the_later_of_a_colour_moves() -> None:
    alone = {f"m{i}": palette([f"m{i}"])[f"m{i}"].light for i in range(12)}
    styles = palette(alone)
    assert len({style.light for style in styles.values()}) == 12
    firsts = {colour: name for name, colour in sorted(alone.items(), reverse=True)}
    assert all(styles[name].light == colour for colour, name in firsts.items())
    assert 6 <= len(firsts) < 12


def test_methods_of_one_colour_differ_in_shape_and_their_lines_in_dashes() -> None:
    styles = palette([f"{i:03}" for i in range(60)])
    assert len({style.key for style in styles.values()}) == 60
    for light, _ in COLOURS:
        alike = [style for style in styles.values() if style.light == light]
        assert len({style.marker for style in alike[:7]}) == len(alike[:7])
        assert len(set(dashes(alike[:4]).values())) == len(alike[:4])
    assert set(dashes(next(s for s in styles.values() if s.light == light) for light, _ in COLOURS).values()) == {""}
    assert palette(["\ud800", ""])


def test_names_of_one_suite_differ_and_others_may_look_alike() -> None:
    suites = [[f"{letter}{i}" for i in range(30)] for letter in "abc"]
    styles = palette([name for suite in suites for name in suite], None, suites)
    assert all(len({(styles[name].light, styles[name].marker) for name in suite}) == 30 for suite in suites)
    assert len({style.key for style in styles.values()}) < 90
    assert len({(style.key, style.light, style.marker) for style in styles.values()}) == len(
        {style.key for style in styles.values()}
    )


def test_of_a_figure_with_no_more_methods_than_colours_each_has_its_own() -> None:
    names = [f"m{i}" for i in range(42)]
    styles = palette([*names, "dense"], "dense")
    for size in (2, 7, len(COLOURS)):
        drawn = ["dense", *names[-size:]]
        looks = apart(styles, reversed(drawn))
        assert set(looks) == set(drawn) and looks["dense"] == styles["dense"]
        assert (
            len({style.light for style in looks.values()}) == len({style.key for style in looks.values()}) == size + 1
        )
        assert not any(dashes(looks.values()).values())
        first = {styles[name].light: name for name in sorted(drawn, reverse=True)}
        assert all(looks[name] == styles[name] for name in first.values()), "the first of a colour keeps it"
    assert apart(styles, names) == {name: styles[name] for name in names}, "more than colours: as elsewhere"
