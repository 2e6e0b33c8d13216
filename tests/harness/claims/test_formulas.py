"""Arithmetic over published numbers: what it gives, and that it is arithmetic only."""

import pytest

from harness.claims.formulas import evaluate, names

PUBLISHED = {"a": 6.0, "b": 4.0, "c": 4.0}


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("a / b", 1.5),
        ("1 - a / (b + c)", 0.25),
        ("-a + 2 ** 3", 2.0),
        ("min(a / b, c / a, 1)", 2 / 3),
        ("max(a, b) * mean(a, b, c, 2)", 24.0),
        ("8 * 8 + 8 ** 2 + 2 + 2 * 50 * 8", 930.0),
    ],
)
def test_values(formula, value):
    assert evaluate(formula, PUBLISHED) == pytest.approx(value)


def test_names():
    assert names("min(a, b) / (a - c)") == {"a", "b", "c"}
    assert names("2 + 2") == set()


@pytest.mark.parametrize(
    "formula",
    [
        "a.real",
        "a[0]",
        "a if b else c",
        "lambda: 1",
        "open(a)",
        "'text'",
        "True",
        "a < b",
        "min()",
        "min(*a)",
        "a +",
        "",
    ],
)
def test_nothing_else_is_a_formula(formula):
    with pytest.raises(ValueError, match="formula"):
        names(formula)


@pytest.mark.parametrize("formula", ["a / (b - c)", "(0 - a) ** 0.5", "9 ** 9 ** 9", "1e308 * 10"])
def test_no_number(formula):
    with pytest.raises(ValueError, match="'"):
        evaluate(formula, PUBLISHED)
