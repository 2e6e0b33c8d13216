"""Which trial is chosen, from records alone, and what waits until one is."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.frame import load as load_frame
from harness.analysis.frame import missing
from harness.analysis.tuning import TuningRow, tuning_rows
from harness.errors import UserError
from harness.executors.tuning import settle, with_trials
from harness.registry.plugins import load
from harness.report.html.data import page_data
from harness.report.tuning import tuning_tables
from harness.results.cell_record import CellRecord
from harness.results.store import ResultStore
from harness.results.suite_plan import SuitePlan
from harness.results.trial_score import TrialScore, best
from harness.results.tuned_method import TrialCells, TunedMethod
from harness.stages.graph import PlannedCell, compile_graph
from harness.suites.cell import Cell
from harness.suites.suite import Suite, load_suite

SUITE = """
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
seeds: 2
training: {steps: 10, batch_size: 32}
tune: {trials: 4, space: {lr: [1e-4, 3e-3, 1e-2]}}
methods:
  dense:
  random: {density: 0.1}
  magnitude: {density: 0.1, recovery_steps: 5}
  control: {use: random, density: {match: magnitude}, budget: {match: magnitude}}
"""
METHODS = {"dense", "random", "magnitude", "control"}
Score = float | None | str
"""A validation score; none; or another status."""


@pytest.fixture(scope="module")
def registry():
    return load([])


@pytest.fixture
def suite(tmp_path: Path, registry) -> Suite:
    (tmp_path / "s.yaml").write_text(SUITE)
    return load_suite(tmp_path / "s.yaml", registry)


def record(planned: PlannedCell, score: Score, direction: str = "max", constant: bool = False) -> CellRecord:
    cell = planned.cell
    metric = {"direction": direction, "primary": True, "unit": "fraction"}
    status = score if isinstance(score, str) else "done"
    content: dict[str, Any] = {
        "status": status,
        "cell": planned.id,
        "suite": cell.suite,
        "experiment": cell.experiment,
        "seed": cell.seed,
        "density": {"mask": 0.1} if status == "done" else {},
        "architecture": {"label": cell.architecture},
        "method": {"label": cell.method},
        "benchmark": {"label": cell.benchmark},
        "trained_on": cell.training_part.label,
        "metrics": {"accuracy": {"value": 0.9, **metric}} if status == "done" else {},
        "training": cell.training.model_dump(mode="json"),
        "validation": {"accuracy": {"value": score, **metric}} if isinstance(score, float) else {},
        "spent": {"steps": 10, "flops": {"training": 100.0}} if status == "done" else None,
        "connectivity": {"size": 10, "predictions": 1} if constant else None,
        "failure": None if status == "done" else {"type": "Diverged", "message": "the loss became nan"},
    }  # fmt: skip
    return CellRecord.model_validate(content, strict=False)


@pytest.fixture
def results(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def give(suite: Suite, results: ResultStore, method: str, scores: Mapping[int, tuple[Score, ...]], **more: Any) -> None:
    """Records of a method's trials: number -> the score of each seed of tuning."""
    for planned in compile_graph(suite.cells, suite.registry).cells:
        cell = planned.cell
        if cell.trial and cell.method == method and cell.trial.number in scores:
            results.write(record(planned, scores[cell.trial.number][cell.seed - 1000], **more))


def chosen(suite: Suite, results: ResultStore) -> dict[str, int | None]:
    return {one.method: one.chosen for one in settle(suite, results)[1]}


@pytest.mark.parametrize(
    ("scores", "direction", "expected"),
    [
        ({1: (0.5, 0.6), 2: (0.7, 0.5), 3: (0.4, 0.7), 4: (0.6, 0.55)}, "max", 2),
        ({1: (0.5, 0.6), 2: (0.7, 0.5), 3: (0.4, 0.7), 4: (0.6, 0.55)}, "min", 1),  # of 1 and 3, equal, the first
        ({1: (0.5, 0.5), 2: (0.5, 0.5), 3: (0.5, 0.5), 4: (0.5, 0.5)}, "max", 1),
        ({1: (0.1, 0.1), 2: (0.9, "diverged"), 3: (0.2, 0.1), 4: ("diverged", "diverged")}, "max", 3),
        ({1: (0.1, 0.1), 2: (0.9, None), 3: (0.2, 0.1), 4: (None, None)}, "min", 1),
        ({1: ("diverged",) * 2, 2: ("diverged",) * 2, 3: ("diverged",) * 2, 4: ("diverged",) * 2}, "max", 1),
    ],
)
def test_the_best_mean_on_validation_data_is_chosen(suite, results, scores, direction, expected) -> None:
    give(suite, results, "dense", scores, direction=direction)
    assert chosen(suite, results) == dict.fromkeys(METHODS) | {"dense": expected}


@pytest.mark.parametrize("last", [(0.5,), (0.9, "failed")])
def test_nothing_is_chosen_while_a_trial_has_no_result(suite, results, last) -> None:
    scores = {1: (0.5, 0.5), 2: (0.6, 0.6), 3: (0.7, 0.7)}
    give(suite, results, "dense", scores)
    assert chosen(suite, results)["dense"] is None
    if len(last) == 2:
        give(suite, results, "dense", {4: last})
    assert chosen(suite, results)["dense"] is None
    give(suite, results, "dense", {4: (0.1, "diverged")})
    assert chosen(suite, results)["dense"] == 3


def test_broken_networks_come_after_intact_ones_and_before_diverged_training() -> None:
    intact, broken, lost = (0.1, 0.1), (0.4, 0.4), (0.9, math.nan)
    scores = [TrialScore(lost, 0, 1), TrialScore(broken, 1, 1), TrialScore(intact, 0, 1)]
    assert best(scores) == 3
    assert best(scores[:2]) == 2
    assert best([*scores[:2], TrialScore((0.5, 0.5), 2, 1)]) == 3  # among broken ones the score decides


def test_a_network_that_is_constant_is_broken(suite, results) -> None:
    give(suite, results, "dense", {1: (0.1, 0.1), 2: (0.1, 0.1), 3: (0.1, 0.1)})
    give(suite, results, "dense", {4: (0.3, 0.3)}, constant=True)
    assert chosen(suite, results)["dense"] == 1


def test_a_benchmark_without_validation_scores_is_told(suite, results) -> None:
    give(suite, results, "dense", dict.fromkeys((1, 2, 3, 4), (None, None)))
    with pytest.raises(UserError, match="no trial has a validation score: 'digits' gives none"):
        settle(suite, results)


def test_settled_methods_are_reported_while_others_wait(suite, results) -> None:
    scores = {1: (0.5, 0.5), 2: (0.6, 0.6), 3: (0.7, 0.7), 4: (0.6, 0.6)}
    for done, waiting in (("control", METHODS), ("dense", METHODS - {"dense"}), ("random", {"magnitude", "control"})):
        give(suite, results, done, scores)
        assert {cell.method for cell in settle(suite, results)[0].pending} == waiting
    give(suite, results, "magnitude", scores)
    settled, _ = settle(suite, results)
    assert not settled.pending
    lr = settled.tuning("main")[2].settings["dense"]["lr"]
    assert {cell.training.lr for cell in settled.cells if not cell.trial} == {lr}


def test_who_wants_a_cell_wants_the_trials_that_it_waits_for(suite, results) -> None:
    def needed(wanted: Callable[[Cell], bool]) -> set[tuple[str, int]]:
        also = with_trials(suite, wanted)
        return {(cell.method, cell.trial.number) for cell in suite.cells if cell.trial and also(cell)}

    every = range(1, 5)
    assert needed(lambda cell: cell.method == "dense" and cell.seed == 0) == {("dense", n) for n in every}
    assert needed(lambda cell: cell.method == "control" and cell.seed == 1) == {
        (method, n) for method in ("control", "magnitude") for n in every
    }
    assert needed(lambda cell: cell.experiment == "main-trial2" and cell.method == "random") == {("random", 2)}


# --- what is told of it ----------------------------------------------------------------------------


@pytest.fixture
def told(suite, results) -> ResultStore:
    """``dense`` is tuned, ``random`` half, one trial of each has diverged."""
    give(suite, results, "dense", {1: (0.5, 0.6), 2: (0.7, 0.9), 3: (0.4, "diverged"), 4: (0.7, 0.5)})
    give(suite, results, "random", {1: (0.5, 0.6), 2: ("diverged", "diverged")})
    settled, tuned = settle(suite, results)
    graph = compile_graph(settled.cells, suite.registry)
    reported = [one for one in graph.cells if one.cell.trial is None]
    assert {one.cell.method for one in reported} == {"dense"}
    for one in reported:
        results.write(record(one, 0.8))
    names = [one.id for one in graph.cells]
    results.write_plan("s", SuitePlan(suite="s", cells=names, tuning=tuned, waiting=len(settled.pending)))
    return results


def test_trials_are_in_no_table_and_are_not_missing(told) -> None:
    frame, left = load_frame(told, ["s"])
    assert set(frame["experiment"]) == {"main"}
    assert set(frame["settings"]) == {"lr 0.01 (trial 2 of 4)"}
    assert len(left) == 3 and not any(item.of for item in left)
    unfinished = missing(told, "s", frame, left)
    assert len(unfinished) == 2 * (2 + 4 + 4) and all("trial" in name for name in unfinished)


def test_what_tuning_found_and_took(told) -> None:
    dense, random, *others = tuning_rows(told, "s")
    assert (dense.method, dense.chosen.number, dense.chosen.mean) == ("dense", 2, pytest.approx(0.8))
    assert dense.seeds == (1000, 1001)
    assert [round(trial.mean, 12) for trial in dense.trials if trial.number != 3] == [0.55, 0.8, 0.6]
    assert dense.expected[1] == dense.expected.get(1) == -math.inf
    assert dense.expected[2] == pytest.approx((3 * 0.8 + 2 * 0.6 + 0.55) / 6)  # the diverged one never wins a pair
    assert dense.expected[4] == pytest.approx(0.8)
    assert (dense.steps, dense.flops) == (7 * 10, 7 * 100.0)
    assert dense.untold == 1, "a cell that diverged does not say what it took"
    assert random.chosen is None and random.expected == {} and len(random.trials) == 2
    assert [row.trials for row in others] == [(), ()]
    assert dense.ends == {"lr": 1} and random.ends == {}


def test_its_table(told) -> None:
    (table,) = tuning_tables(told, "s")
    assert table.title == "Tuning of main: mlp on digits"
    assert table.answer == [
        "Tuning changed the validation accuracy of dense by +0.2500, on the seeds of tuning.",
        "At an end of what was tried, so that a better value may lie beyond: the highest lr for dense.",
        "Not chosen yet: random, magnitude and control.",
    ]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["dense"][:3] == ["lr 0.01 \N{UPWARDS ARROW}", "2 of 4", "0.8000"]
    assert rows["dense"][-2:] == ["> 70", "> 7.00e+02"] and rows["control"][-1] == "\N{EN DASH}"
    assert rows["random"][:2] == ["not chosen yet", "2 of 4 finished"]
    trials = [row for row in table.detail.rows if row[0] == "dense"]
    assert [row[1:5] for row in trials[1:3]] == [
        ["2", "lr 0.01", "0.8000", "0.7000, 0.9000"],
        ["3", trials[2][2], "\N{EN DASH}", "0.4000, \N{EN DASH}"],
    ]
    assert [row[-1] for row in trials] == ["", "chosen", "no score in 1 of 2 seeds", ""]


@pytest.mark.parametrize(
    ("settings", "default", "chosen", "ends"),
    [
        ([{}, {"lr": 0.1}, {"lr": 0.3}], {"lr": 0.01}, 2, {}),
        ([{}, {"lr": 0.1}, {"lr": 0.3}], {"lr": 0.01}, 1, {"lr": -1}),
        ([{}, {"lr": 0.1}, {"lr": 0.3}], {"lr": 1.0}, 3, {}),  # the default was higher
        ([{}, {"lr": 0.1}, {"lr": 0.3}], {"lr": 1.0}, 2, {"lr": -1}),
        ([{}, {"decay": 0}, {"decay": 0.3}], {"decay": 0.1}, 2, {}),  # nothing is below 0
        ([{}, {"decay": 0.3}, {"decay": 0.3}], {"decay": 0.3}, 2, {}),  # nothing else was tried
        ([{}, {"score": "b"}, {"nesterov": True}], {"score": "a", "nesterov": False}, 2, {}),
        (
            [{}, {"lr": 0.1, "decay": 0.2}, {"lr": 0.3, "decay": 0.1}],
            {"lr": 0.1, "decay": None},
            3,
            {"lr": 1, "decay": -1},
        ),
    ],
)
def test_a_value_is_at_an_end_if_none_beyond_was_tried(tmp_path, settings, default, chosen, ends) -> None:
    trials = [TrialCells(settings=one, cells=[f"t{number}"]) for number, one in enumerate(settings)]
    assert found_ends(tmp_path, trials, default, {}, chosen).ends == ends


@pytest.mark.parametrize(
    ("space", "default", "chosen", "untried"),
    [
        ([0.1, 0.3], 0.2, 3, False),
        ([0.1, 0.3, 1.0], 0.2, 3, True),
        ([0.1, 0.3, 0.01], 0.2, 3, False),  # at the other end
        ([0.1, 0.3, 0.01], 0.2, 2, True),
        ([0.1, 0.3, 0.01], 2.0, 1, False),  # the default is higher than all of the space
        ([0.1, 0.3, 3.0], 2.0, 1, True),
        ([], 2.0, 1, False),  # a plan of an earlier version
    ],
)
def test_whether_the_space_has_more_beyond_an_end(tmp_path, space, default, chosen, untried) -> None:
    trials = [TrialCells(settings=one, cells=[f"t{n}"]) for n, one in enumerate([{}, {"lr": 0.1}, {"lr": 0.3}])]
    row = found_ends(tmp_path, trials, {"lr": default}, {}, chosen, space={"lr": space} if space else {})
    assert set(row.ends) == {"lr"} and row.untried == ({"lr"} if untried else set())


def test_a_default_is_read_where_trials_have_the_option(tmp_path) -> None:
    trials = [TrialCells(settings=one, cells=[f"t{n}"]) for n, one in enumerate([{}, {"lr": 0.1}, {"lr": 0.3}])]
    own = [TrialCells(settings={f"method.{k}": v for k, v in one.settings.items()}, cells=one.cells) for one in trials]
    # Its own rate was 0.01, that of training 1: so 0.1 is the lowest of training's, and none of its own.
    assert found_ends(tmp_path / "shared", trials, {"lr": 1.0}, {"lr": 0.01}, 2).ends == {"lr": -1}
    for name, tried in (("named", own), ("own", trials)):
        assert found_ends(tmp_path / name, tried, {"lr": 1.0}, {"lr": 0.01}, 2, of_training=False).ends == {}


def found_ends(
    root: Path,
    trials: list[TrialCells],
    training: Mapping[str, Any],
    options: Mapping[str, Any],
    chosen: int,
    of_training: bool = True,
    space: Mapping[str, list[Any]] = {},
) -> TuningRow:
    """Of a method whose trials set options of training, or of its own."""
    store = ResultStore(root)
    for trial in trials:
        rates = {**training, **trial.settings} if of_training else training
        content = {
            **record_of("dense", trial.cells[0]),
            "training": rates,
            "method": {"label": "dense", "options": dict(options)},
        }
        store.write(CellRecord.model_validate(content, strict=False))
    tuned = TunedMethod(
        experiment="main",
        architecture="mlp",
        trained_on="digits",
        method="dense",
        trials=trials,
        space=dict(space),
        chosen=chosen,
    )
    store.write_plan("s", SuitePlan(suite="s", cells=[], tuning=[tuned]))
    (row,) = tuning_rows(store, "s")
    return row


def record_of(method: str, cell: str) -> dict[str, Any]:
    metric = {"value": 0.5, "direction": "max", "primary": True, "unit": "fraction"}
    return {
        "status": "done",
        "cell": cell,
        "suite": "s",
        "experiment": "main-trial",
        "seed": 1000,
        "density": {"mask": 0.1},
        "architecture": {"label": "mlp"},
        "method": {"label": method},
        "benchmark": {"label": "digits"},
        "metrics": {"accuracy": metric},
        "validation": {"accuracy": metric},
    }


@pytest.mark.parametrize("direction", ["max", "min"])
def test_methods_at_equal_trials(suite, results, direction) -> None:
    give(suite, results, "dense", {1: (0.6, 0.6), 2: (0.6, 0.6), 3: (0.5, 0.5), 4: (0.7, 0.7)}, direction=direction)
    give(suite, results, "random", {1: (0.1, 0.1), 2: (0.6, 0.6), 3: (0.7, 0.7), 4: (0.8, 0.8)}, direction=direction)
    settled, tuned = settle(suite, results)
    names = [one.id for one in compile_graph(settled.cells, suite.registry).cells]
    results.write_plan("s", SuitePlan(suite="s", cells=names, tuning=tuned))
    _, table = tuning_tables(results, "s")
    assert [column.name for column in table.columns] == ["method", "1 trial", "2 trials", "4 trials"]
    assert [row[0] for row in table.rows] == ["random", "dense"]
    cells = {row[0]: row[1:] for row in table.rows}
    if direction == "max":  # means of the best of the six pairs: 3.9 / 6 and 4.4 / 6
        assert cells == {
            "random": ["0.5500 (2)", "0.7333 (1)", "0.8000 (1)"],
            "dense": ["0.6000 (1)", "0.6500 (2)", "0.7000 (2)"],
        }
        assert table.answer == ["Pairs of methods in another order than after all 4 trials, of 1: 1 after 1."]
    else:
        assert cells == {
            "random": ["0.5500 (1)", "0.3667 (1)", "0.1000 (1)"],
            "dense": ["0.6000 (2)", "0.5500 (2)", "0.5000 (2)"],
        }
        assert table.answer == ["The order of methods is the same after 1, 2 and 4 trials."]


def test_its_table_stands_in_the_page(told) -> None:
    (table,) = tuning_tables(told, "s")
    index = json.loads(zlib.decompress(base64.b64decode(json.loads(page_data(told, ["s"]).scripts["data-index"]))))
    ((shown,),) = [suite["tuning"] for suite in index["suites"]]
    assert (shown["title"], shown["answer"], shown["rows"]) == (table.title, table.answer, table.rows)
    assert shown["columns"][0] == ["method", False] and ["steps", True] in shown["columns"]
    assert shown["detail"]["rows"] == table.detail.rows
