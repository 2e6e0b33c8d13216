"""What a suite asks, and which method is the control of which."""

from __future__ import annotations

import pytest

from harness.errors import SuiteError
from harness.results.parsing import parse_plan
from harness.results.suite_plan import SuitePlan
from harness.stages.graph import compile_graph
from harness.suites.comparisons import Comparisons
from harness.suites.question import Question
from harness.suites.suite import Suite

HEAD = """\
architectures: [mlp]
benchmarks: digits
training: {steps: 40, batch_size: 32}
methods:
  dense:
  connectome: {generations: 2}
  magnitude: {density: [0.1, 0.02]}
  random: {density: [0.1, 0.02, 0.01]}
  matched: {use: random, density: {match: connectome}}
  shuffle: {source: connectome}
"""


def only(found: Suite) -> Comparisons:
    (comparisons,) = found.comparisons.values()
    return comparisons


def pairs(comparisons: Comparisons) -> list[str]:
    return [str(question) for question in comparisons.questions]


# --- questions -----------------------------------------------------------------------------------


def test_questions_in_words(suite):
    found = only(
        suite(
            HEAD
            + """
questions:
  - magnitude against random at 2e-2
  - magnitude   against dense
  - connectome against shuffle
  - {as published: connectome against matched}
smallest_difference: 0.01
"""
        )
    )
    assert found.asked and found.questions == [
        Question(method="magnitude", control="random", density=0.02),
        Question(method="magnitude", control="dense"),
        Question(method="connectome", control="shuffle"),
        Question(method="connectome", control="matched", name="as published"),
    ]
    assert pairs(found)[0] == "magnitude against random at 0.02"
    assert found.smallest_difference == {"digits": 0.01}


def test_questions_stand_at_the_top_for_all_experiments_that_ask_none_of_their_own(suite):
    text = HEAD + "questions: [magnitude against random]\nsmallest_difference: {digits: 2}\nexperiments:\n  a: {}\n"
    found = suite(text + "  b: {questions: [magnitude against dense at 0.1], smallest_difference: 3}\n").comparisons
    assert {name: pairs(experiment) for name, experiment in found.items()} == {
        "a": ["magnitude against random"],
        "b": ["magnitude against dense at 0.1"],
    }
    assert [found[name].smallest_difference["digits"] for name in "ab"] == [2, 3]


@pytest.mark.parametrize(
    ("question", "column", "message"),
    [
        ("magnitude vs random", 4, "a question is METHOD against METHOD, perhaps at DENSITY"),
        ("magnitude against random at 2%", 4, "a question is METHOD against METHOD, perhaps at DENSITY"),
        ("magnitude against random at 2", 4, "(a fraction between 0 and 1)"),
        ("{a: magnitude against random, b: magnitude against dense}", 4, "{as published: genome against random}"),
        ("magnitude against randm", 4, "unknown method 'randm'. Did you mean 'random'?"),
        ("{name: magnitud against random}", 11, "unknown method 'magnitud'. Did you mean 'magnitude'?"),
        ("random against random", 4, "'random against random' compares a method with itself: name two"),
        ("magnitude against random at 0.01", 4, "is about a density that the suite has not: 'magnitude' has 0.1, 0.02"),
        ("connectome against shuffle at 0.1", 4, "both have a density of their own or a matched one: leave out 'at'"),
    ],
)
def test_a_question_without_answer_is_an_error_with_its_line(suite, question, column, message):
    with pytest.raises(SuiteError) as error:
        suite(HEAD + f"questions:\n - magnitude against random\n - {question}\n")
    assert str(error.value).startswith(f"{error.value}"[: str(error.value).index("s.yaml")] + f"s.yaml:13:{column}: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("questions: [magnitude against random, random against magnitude]", "is asked twice, first as question 1"),
        (
            "exclude: [{method: magnitude, density: 0.1}]\nquestions: [magnitude against random at 0.1]",
            "have no architecture, benchmark, seed and protocol in common",
        ),
        (
            "seeds: 2\nexclude: [{method: random, seed: 1}, {method: magnitude, seed: 0}]\n"
            "questions: [magnitude against random]",
            "have no architecture, benchmark, seed and protocol in common",
        ),
        (
            "smallest_difference: 0",
            "s.yaml:11:22: smallest_difference is a number above 0 in the unit",
        ),
        ("smallest_difference: {digits: -1}", "smallest_difference is a number above 0"),
        ("smallest_difference: {digit: 0.1}", "unknown benchmark 'digit'. Did you mean 'digits'?"),
    ],
)
def test_other_things_that_do_not_go_together(suite, rest, message):
    with pytest.raises(SuiteError) as error:
        suite(HEAD + rest + "\n")
    assert message in str(error.value)


def test_methods_of_other_protocols_or_densities_do_not_meet(suite):
    soft = HEAD.replace("{density: [0.1, 0.02]}", "{density: [0.1, 0.02], evaluation: {masks: soft}}")
    with pytest.raises(SuiteError, match="'magnitude against random' has no answer: the two have no architecture"):
        suite(soft + "questions: [magnitude against random]\n")
    apart = HEAD.replace("{density: [0.1, 0.02]}", "{density: 0.5}")
    with pytest.raises(SuiteError, match=r"no density is in both; 'magnitude' has 0.5, 'random' has 0.1, 0.02, 0.01"):
        suite(apart + "questions: [magnitude against random]\n")


# --- controls ------------------------------------------------------------------------------------


def test_controls_are_found_by_what_they_take_from(suite):
    found = only(suite(HEAD))
    assert found.controls == {"matched": "connectome", "shuffle": "connectome"}
    assert found.control_methods == ["random", "matched", "shuffle"]
    assert found.control_of == {"connectome": "matched", "magnitude": "random"}
    assert not found.asked
    assert pairs(found) == ["connectome against matched", "connectome against shuffle", "magnitude against random"]


def test_a_method_matched_to_another_shares_its_control_and_one_without_has_the_baseline(suite):
    text = HEAD.replace("{density: [0.1, 0.02]}", "{density: {match: connectome}}") + "  other: {use: connectome}\n"
    found = only(suite(text))
    assert found.control_of["magnitude"] == "matched" and "other" not in found.control_of
    assert pairs(found)[-2:] == ["magnitude against matched", "other against dense"]


def test_rows_of_a_sweep_are_compared_with_those_of_their_own_values(suite):
    text = HEAD.replace("{density: [0.1, 0.02]}", "{density: 0.1}").replace("40", "40, lr: [1e-3, 1e-2]")
    found = only(suite(text + "  fixed: {use: dense, training: {lr: 0.1}}\n"))
    assert found.baselines["magnitude-lr-1e-2"] == "dense-lr-1e-2" and "magnitude-lr-1e-3" not in found.baselines
    assert "fixed" not in found.baselines, "it has the first row's"
    assert found.control_of["magnitude-lr-1e-2"] == "random-lr-1e-2"
    swept = suite(text, "baseline=random")
    assert swept.reported["main"].baseline == "random-lr-1e-3"
    assert only(swept).baselines["magnitude-lr-1e-2"] == "random-lr-1e-2"


def test_a_control_of_a_control_is_one_of_its_method_and_a_suite_may_say_otherwise(suite):
    text = HEAD + "  again: {use: reinit, source: matched}\n  longer: {use: dense, controls: magnitude}\n"
    found = only(suite(text))
    assert found.controls["again"] == "connectome" and found.controls["longer"] == "magnitude"
    assert found.control_of["magnitude"] == "longer" and "longer" in found.control_methods
    with pytest.raises(SuiteError, match=r"(?s)s.yaml:11:34: unknown method to control 'magnitud'"):
        suite(HEAD + "  longer: {use: dense, controls: magnitud}\n")


def test_controls_of_what_comes_from_another_experiment(suite):
    found = suite("""\
architectures: mlp
benchmarks: digits
training: {steps: 40, batch_size: 32}
experiments:
  learn:
    methods: {connectome: {generations: 2}}
  use:
    methods:
      reinit: {source: {method: connectome, experiment: learn}}
      continued: {source: {method: connectome, experiment: learn}}
""").comparisons
    assert found["learn"].questions == []
    assert found["use"].controls == {"reinit": "continued"} and pairs(found["use"]) == ["continued against reinit"]


def test_the_curve_of_a_matched_method_is_the_same_one_over_densities_of_its_own(suite):
    """Not one that trains otherwise, has other options, or one density only; counts per layer are another method."""
    text = (
        HEAD
        + """
  m: {use: magnitude, density: {match: connectome}, recovery_steps: 7, training: {steps: 3}}
  per_layer: {use: random, density: {match: connectome, by: per_layer}}
  other_steps: {use: magnitude, density: [0.1, 0.02], recovery_steps: 8, training: {steps: 3}}
  other_training: {use: magnitude, density: [0.1, 0.02], recovery_steps: 7}
  single: {use: magnitude, density: 0.1, recovery_steps: 7, training: {steps: 3}}
"""
    )
    assert only(suite(text)).curves == {"matched": "random"}
    curve = "  curve: {use: magnitude, density: [0.1, 0.02], recovery_steps: 7, training: {steps: 3}}\n"
    assert only(suite(text + curve)).curves == {"matched": "random", "m": "curve"}


def test_what_keeps_everything_is_dense_and_meets_every_density(suite):
    text = (
        HEAD + "  all: {use: magnitude, density: 1.0}\nquestions: [magnitude against all at 0.02, random against all]\n"
    )
    assert pairs(only(suite(text))) == ["magnitude against all at 0.02", "random against all"]


# --- in the plan ---------------------------------------------------------------------------------


def test_nothing_of_it_enters_a_hash(suite, registry):
    text = HEAD + "  longer: {use: dense%s}\n%s"
    plain = compile_graph(suite(text % ("", "")).cells, registry)
    rest = "questions: [magnitude against random]\nsmallest_difference: 0.01\n"
    asked = compile_graph(suite(text % (", controls: magnitude", rest)).cells, registry)
    assert [cell.id for cell in plain.cells] == [cell.id for cell in asked.cells]
    assert list(plain.stages) == list(asked.stages)


def test_the_plan_comes_back_as_it_was_written_and_old_ones_have_none(suite):
    found = suite(HEAD + "questions: [{why: magnitude against random at 0.1}]\nsmallest_difference: 0.5\n").comparisons
    plan = SuitePlan(suite="s", cells=[], comparisons=found)
    assert parse_plan(plan.model_dump_json().encode()).comparisons == found
    assert parse_plan(b'{"suite": "s", "cells": []}').comparisons == {}
