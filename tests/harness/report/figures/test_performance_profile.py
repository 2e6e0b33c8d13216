"""Performance profiles rise in steps."""

import math

import pytest
from drawings import SVG, axis, parse, read, spots, texts

from harness.report.figures import performance_profile
from harness.report.palette import palette


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
