"""Sweeps: a list for an option that is a number, and what names the rows that it makes."""

from __future__ import annotations

import pytest

from harness.stages.graph import compile_graph
from harness.suites.cell import Cell
from harness.suites.sweeps import meant

HEAD = """
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
training: {steps: 40, batch_size: 32}
"""


def shared(values: str) -> str:
    return HEAD.replace("steps: 40", f"steps: 40, lr: {values}")


def rows(cells: list[Cell]) -> dict[str, tuple[float, int]]:
    return {cell.method: (cell.training.lr, cell.steps) for cell in cells}


def test_a_list_of_an_option_of_training_makes_a_row_of_every_method_for_each_value(suite) -> None:
    found = suite(shared("[1e-3, 0.25, 2]") + "methods: {dense: , random: {density: [0.5, 0.1]}}")
    assert rows(found.cells) == {
        "dense-lr-1e-3": (1e-3, 40),
        "dense-lr-25e-2": (0.25, 40),
        "dense-lr-2": (2.0, 40),
        "random-lr-1e-3": (1e-3, 40),
        "random-lr-25e-2": (0.25, 40),
        "random-lr-2": (2.0, 40),
    }
    assert len(found.cells) == 3 + 3 * 2
    assert {cell.experiment for cell in found.cells} == {"main"}, "so that they stand in one table"


def test_a_method_sweeps_its_own_options_and_its_own_training(suite) -> None:
    methods = "methods: {dense: , magnitude: {density: 0.5, recovery_steps: [5, 10], training: {lr: [1e-2, 1e-3]}}}"
    found = suite(HEAD + methods)
    own = {cell.method: (cell.training.lr, cell.method_part.options.recovery_steps) for cell in found.cells[1:]}
    assert own == {
        "magnitude-lr-1e-2-recovery_steps-5": (1e-2, 5),
        "magnitude-lr-1e-2-recovery_steps-10": (1e-2, 10),
        "magnitude-lr-1e-3-recovery_steps-5": (1e-3, 5),
        "magnitude-lr-1e-3-recovery_steps-10": (1e-3, 10),
    }
    assert found.cells[0].method == "dense"


def test_rows_are_those_of_a_suite_that_writes_them_out(suite, registry) -> None:
    text = "methods: {magnitude: {density: 0.5, recovery_steps: [5, 10]}, random: {density: {match: magnitude}}}"
    written = """
methods:
  magnitude-lr-1e-3-recovery_steps-5: {use: magnitude, density: 0.5, recovery_steps: 5, training: {lr: 1e-3}}
  magnitude-lr-1e-3-recovery_steps-10: {use: magnitude, density: 0.5, recovery_steps: 10, training: {lr: 1e-3}}
  magnitude-lr-1e-2-recovery_steps-5: {use: magnitude, density: 0.5, recovery_steps: 5, training: {lr: 1e-2}}
  magnitude-lr-1e-2-recovery_steps-10: {use: magnitude, density: 0.5, recovery_steps: 10, training: {lr: 1e-2}}
"""
    written += "".join(
        f"  random-{row}: {{use: random, density: {{match: magnitude-{row}}}, training: {{lr: {lr}}}}}\n"
        for lr in ("1e-3", "1e-2")
        for row in (f"lr-{lr}-recovery_steps-5", f"lr-{lr}-recovery_steps-10")
    )
    swept, plain = suite(shared("[1e-3, 1e-2]") + text), suite(HEAD + written)
    ids = [[one.id for one in compile_graph(found.cells, registry).cells] for found in (swept, plain)]
    assert ids[0] == ids[1] and len(ids[0]) == 8


def test_a_method_that_gives_the_option_itself_is_not_swept(suite) -> None:
    found = suite(shared("[1e-3, 1e-2]") + "methods: {dense: , fixed: {use: dense, training: {lr: 0.5}}}")
    assert rows(found.cells)["fixed"] == (0.5, 40)
    assert "dense" not in rows(found.cells)


def test_what_names_a_swept_method_means_the_row_with_the_same_values(suite) -> None:
    methods = """
methods:
  magnitude: {density: 0.5, recovery_steps: [5, 10]}
  random: {density: {match: magnitude}, budget: {match: magnitude}}
  shuffle: {source: {method: magnitude}}
  one: {use: random, density: {match: magnitude-lr-1e-2-recovery_steps-5}}
"""
    cells = suite(shared("[1e-3, 1e-2]") + methods).cells
    for cell in cells:
        base, dash, values = cell.method.partition("-")
        if base == "random":
            assert cell.match.method == f"magnitude-{values}"
            assert cell.steps == 40 + int(values.rpartition("-")[2])
        if base == "shuffle":
            assert cell.source.method == f"magnitude-{values}"
        if base == "one":
            assert cell.match.method == "magnitude-lr-1e-2-recovery_steps-5" and dash
    assert [cell.method for cell in cells if cell.method.startswith("one")] == ["one-lr-1e-3", "one-lr-1e-2"]
    assert len(cells) == 4 + 4 + 4 + 2


def test_steps_are_swept_and_a_matched_budget_follows(suite) -> None:
    text = HEAD.replace("steps: 40", "steps: [40, 80]")
    found = suite(
        text + "methods: {magnitude: {density: 0.5, recovery_steps: 5}, as: {use: dense, budget: {match: magnitude}}}"
    )
    assert {label: steps for label, (_, steps) in rows(found.cells).items()} == {
        "magnitude-steps-40": 40,
        "magnitude-steps-80": 80,
        "as-steps-40": 45,
        "as-steps-80": 85,
    }


def test_questions_and_selectors_mean_every_row_of_a_label(suite) -> None:
    rest = """
methods: {dense: , magnitude: {density: 0.5, recovery_steps: [5, 10]}, random: {density: 0.5}}
questions:
  - magnitude against random
  - {why: magnitude-lr-1e-3-recovery_steps-5 against dense-lr-1e-2}
  - {how: magnitude-lr-1e-3-recovery_steps-10 against dense}
exclude: [{method: dense, seed: 1}]
seeds: 2
"""
    found = suite(shared("[1e-3, 1e-2]") + rest)
    asked = found.comparisons["main"].questions
    assert [(question.method, question.control) for question in asked] == [
        *((f"magnitude-lr-{lr}-recovery_steps-{n}", f"random-lr-{lr}") for lr in ("1e-3", "1e-2") for n in (5, 10)),
        ("magnitude-lr-1e-3-recovery_steps-5", "dense-lr-1e-2"),
        ("magnitude-lr-1e-3-recovery_steps-10", "dense-lr-1e-3"),
    ]
    assert [question.name for question in asked[-2:]] == ["why", "how"]
    assert {cell.seed for cell in found.cells if cell.method.startswith("dense")} == {0}
    assert found.rows_of("dense") == ["dense-lr-1e-3", "dense-lr-1e-2"]
    assert found.rows_of("dense-lr-1e-3") == ["dense-lr-1e-3"]


def test_lists_that_are_lists_stay_lists(suite) -> None:
    text = HEAD.replace("steps: 40", "steps: 40, betas: [0.8, 0.9]")
    cells = suite(text + "methods: {random: {density: [0.5, 0.1]}}").cells
    assert [(cell.method, cell.training.betas) for cell in cells] == [("random", (0.8, 0.9))] * 2
    assert cells[0].architecture_part.options.hidden == [8]


def test_a_label_means_the_rows_that_its_sweep_makes(suite) -> None:
    methods = "methods: {dense: , magnitude: {density: 0.5, recovery_steps: [5, 10], training: {lr: [1e-2, 0.25]}}}"
    names = [cell.method for cell in suite(HEAD + methods).cells]
    assert len(names) == 5 and meant("magnitude", names) == names[1:]
    assert meant("dense", names) == ["dense"] and meant("magnitude-lr", names) == meant("magn", names) == []
    rows = ["set-lr-1e-2", "set-lr-25e-2-interval-10", "set-0.5"]
    assert meant("set-lr-0.01", rows) == meant("set-lr-10e-3", rows) == rows[:1]
    assert meant("set-lr-0.25-interval-10.0", rows) == rows[1:2]
    assert meant("set-0.5", rows) == rows[2:] and meant("set-lr-0.02", rows) == []
    assert meant("magnitude", [*names, "magnitude"]) == ["magnitude"], "the label itself comes first"
    assert meant("set", ["set-lr-1e-3", "set-lr", "reset-lr-1e-3", "set-of-two"]) == ["set-lr-1e-3"]


def test_what_is_asked_of_a_cluster_for_a_method_holds_for_its_rows(suite) -> None:
    found = suite(
        shared("[1e-3, 1e-2]") + "methods: [dense, {random: {density: 0.5}}]\nslurm: {methods: {dense: {time: 5}}}"
    )
    minutes = {label: found.slurm.request("mlp", label).minutes for label in rows(found.cells)}
    assert minutes == {"dense-lr-1e-3": 5, "dense-lr-1e-2": 5, "random-lr-1e-3": 240, "random-lr-1e-2": 240}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (shared("[1e-3, fast]") + "methods: dense", "lr is a number, above 0, not"),
        (shared("[1e-3, 1e-3]") + "methods: dense", "lr is a number, above 0, not"),
        (shared("[1e-3, -1]") + "methods: dense", "lr is a number, above 0, not -1"),
        (HEAD + "methods: {dense: {training: {lr: [1e-3, -1]}}}", "lr is a number, above 0, not -1"),
        (HEAD + "methods: {magnitude: {density: 0.5, recovery_steps: [5, -5]}}", "recovery_steps is a whole"),
        (HEAD + "methods: {magnitude: {density: 0.5, distribution: [global, erk]}}", "distribution is '"),
        (
            shared("[1e-3, 1e-2]")
            + "methods: {dense: , as: {use: dense, training: {lr: [1e-3, 0.5]}, budget: {match: dense}}}",
            "'as-lr-5e-1' names 'dense', which has no such row; it has dense-lr-1e-3, dense-lr-1e-2",
        ),
        (
            shared("[1e-3, 1e-2]")
            + "methods: {dense: , as: {use: dense, training: {lr: 1e-3}, budget: {match: dense}}}",
            "'as' has one lr and names 'dense', which is swept over it: name a row of it",
        ),
        (
            shared("[1e-3, 1e-2]") + "methods: {dense: , dense-lr-1e-3: {use: dense, training: {lr: 1}}}",
            "a row of the sweep is called 'dense-lr-1e-3', and so is another one: rename it",
        ),
        (
            shared("[1e-3, 1e-2]") + "baseline: dens\nmethods: dense",
            "unknown method 'dens'. Did you mean 'dense'? Known: dense, dense-lr-1e-2",
        ),
        (
            shared("[1e-3, 1e-2]") + "tune: {trials: 2, space: {lr: [1, 2]}}\nmethods: dense",
            "'lr' is swept over, so that each row has a value of its own: take it out of the space",
        ),
        (
            HEAD + "tune: {trials: 2}\n"
            "methods: {magnitude: {density: 0.5, recovery_steps: [5, 6], space: {recovery_steps: [7]}}}",
            "'recovery_steps' is swept over: take it out of one of the two",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told_with_its_line(refusal, text: str, message: str) -> None:
    told = refusal(text)
    assert message in told
    assert told.split(":")[1].isdigit(), told


def test_a_sweep_is_tuned_row_by_row(suite) -> None:
    text = HEAD.replace("steps: 40", "steps: 40, weight_decay: [0, 0.1]")
    found = suite(text + "tune: {trials: 3, space: {lr: [1e-2, 3e-2]}}\nmethods: dense")
    trials = {(cell.method, cell.trial.number): cell.training for cell in found.cells if cell.trial}
    assert {(label, number, t.weight_decay) for (label, number), t in trials.items()} == {
        (f"dense-weight_decay-{name}", number, decay)
        for name, decay in (("0", 0.0), ("1e-1", 0.1))
        for number in (1, 2, 3)
    }


@pytest.mark.parametrize("wrong", ["randm against dense", "{why: random against dens}", "random vs dense"])
def test_a_question_behind_swept_ones_is_told_at_its_own_line(refusal, wrong: str) -> None:
    text = f"{shared('[1e-3, 1e-2]')}methods: {{dense: , random: {{density: 0.5}}}}\nquestions:\n"
    line = text.count("\n") + 2
    told = refusal(f"{text}  - random against dense\n  - {wrong}\n")
    assert f"s.yaml:{line}:5: " in told and f"  - {wrong}\n" in told
    assert "METHOD against METHOD" in told or "Known: dense, dense-lr-1e-2, dense-lr-1e-3, random, " in told
