"""One training phase: its checks, and which weights it ends with."""

from __future__ import annotations

import resource
from typing import Any

import pytest
import torch

from harness import Prune, Train
from harness.errors import BadScore
from harness.training.trainer import StepReport

SCORED = {"benchmarks": "{ramp: {}}", "training": "{steps: 30, batch_size: 16, lr: 0.05}"}
METHOD = "{m: {use: programmed, program: short}}"


def at_steps(lab, ends: tuple[int, ...]) -> list[dict[str, torch.Tensor]]:
    """Weights after so many steps of the same training, by running it with the last check there."""
    here = lab()
    weights = []
    original = here.runner.evaluate

    def kept(network, *arguments):
        weights.append({name: t.clone() for name, t in network.module.state_dict().items()})
        return original(network, *arguments)

    here.runner.evaluate = kept
    here.run(here.cells(METHOD, **SCORED, evaluation=f"{{checks: {len(ends)}}}")["m"])
    return weights


@pytest.mark.parametrize(
    ("select", "split", "chosen", "value"),
    [
        ("validation", "validation", 20, 1.0),  # 3, 1, 2: the smallest loss is at the second check
        ("best_test", "test", 30, 4.0),  # 5, 6, 4: at the third
    ],
)
def test_selection_goes_by_the_split_that_is_named_and_by_the_metrics_direction(
    lab, select: str, split: str, chosen: int, value: float
) -> None:
    after = dict(zip((10, 20, 30), at_steps(lab, (10, 20, 30)), strict=True))
    assert not torch.equal(after[20]["first.weight"], after[30]["first.weight"])
    here = lab()
    planned = here.run(here.cells(METHOD, **SCORED, evaluation=f"{{checks: 3, select: {select}}}")["m"])
    rows = here.store.series(planned.stages[-1].hash)["evaluations"]
    assert [row[1:3] for row in rows] == [[10, split], [20, split], [30, split], [chosen, "chosen"]]
    assert min(row[3]["loss"] for row in rows[:3]) == value == rows[chosen // 10 - 1][3]["loss"]
    state = here.store.state(planned.stages[-1].hash)["weights"]
    assert all(torch.equal(state[name], tensor) for name, tensor in after[chosen].items())


def test_the_last_weights_are_kept_where_nothing_is_selected(lab) -> None:
    after = at_steps(lab, (10, 20, 30))
    here = lab()
    planned = here.run(here.cells(METHOD, **SCORED, evaluation="{checks: 3, select: final}")["m"])
    state = here.store.state(planned.stages[-1].hash)["weights"]
    assert all(torch.equal(state[name], tensor) for name, tensor in after[-1].items())
    assert [row[2] for row in here.store.series(planned.stages[-1].hash)["evaluations"]] == ["validation"] * 3


def test_every_method_chooses_among_as_many_checkpoints_those_of_its_last_training(lab) -> None:
    """Before, a program of three trainings was chosen from three times."""
    methods = "{one: {use: programmed, program: train}, three: {use: programmed, program: rewind_earlier}}"
    ends: dict[str, list[dict[str, torch.Tensor]]] = {}
    for select in ("validation", "final"):
        here = lab()
        cells = here.cells(methods, evaluation=f"{{checks: 4, select: {select}}}")
        for label, last in (("one", 0), ("three", 4)):
            rows = here.store.series(here.run(cells[label]).stages[-1].hash)["evaluations"]
            assert [row[0] for row in rows if row[2] == "chosen"] == ([last] if select == "validation" else [])
            assert len([row for row in rows if row[0] == last and row[2] == "validation"]) == 4
        ends[select] = [here.store.state(stage.hash)["weights"] for stage in cells["three"].stages[:-1]]
    for kept, final in zip(ends["validation"], ends["final"], strict=True):
        assert all(torch.equal(kept[name], tensor) for name, tensor in final.items())  # earlier ones: the last weights


def test_scores_that_are_no_number_are_never_the_best_and_end_nothing(lab) -> None:
    """Nan, inf, 2."""
    broken = {**SCORED, "benchmarks": "{ramp: {fault: infinite}}"}
    here = lab()
    planned = here.run(here.cells(METHOD, **broken, evaluation="{checks: 3, select: validation}")["m"])
    rows = here.store.series(planned.stages[-1].hash)["evaluations"]
    assert [row[3] for row in rows] == [{}, {}, {"loss": 2.0}, {}]
    assert rows[-1][1:3] == [30, "chosen"]
    for select in ("validation", "best_test"):
        with pytest.raises(BadScore, match=f"{select}.*'ramp' had no finite score to choose by at any check"):
            here = lab()
            here.run(here.cells(METHOD, **broken, evaluation=f"{{checks: 2, select: {select}}}")["m"])


def test_a_phase_without_steps_has_densities_at_its_start_and_no_checks(lab) -> None:
    here = lab()
    planned = here.run(here.cells("{m: {use: alternating}}", training="{steps: 0, batch_size: 16}")["m"])
    series = here.store.series(planned.stages[-1].hash)
    (row,) = series["densities"]
    assert row[:2] == [0, 0] and len(row[2]) == 4 and all(pair == [1.0, None] for pair in row[2].values())
    assert series["evaluations"] == series["loss"] == []


def test_what_a_stage_says_of_its_training(lab) -> None:
    here = lab()
    planned = here.run(here.cells("{m: {use: programmed, program: dynamic, density: 0.5}}")["m"])
    manifest = here.store.manifest(planned.stages[-1].hash)
    assert manifest["trained"]["examples"] == 45 * 16
    assert manifest["trained"]["soft"] is False and manifest["trained"]["dense_gradients"] == 0.0
    sizes = {"first": 60, "second": 80, "out.first": 30, "out.second": 24}
    kept = sum(density * sizes[name] for name, density in manifest["trained"]["densities"].items())
    assert kept == pytest.approx(97)


SEEN = """
from harness import Entry, Prune, Rewind, SparsityMethod, Train, hookimpl

SEEN = []

class Seeing(SparsityMethod):
    def program(self, budget):
        return [Train(2, hooks=False), Prune(exponent=0.5), Rewind(0), Train(2), Prune(), Train(0)]

    def attach(self, context):
        SEEN.append((context.phase, context.running))

    def scores(self, context):
        SEEN.append((context.phase, context.running))
        return {c.name: context.weight(c).abs() for c in context.connections}

    def after_step(self, context):
        SEEN.append((context.phase, context.running, context.step))

@hookimpl
def harness_register_methods():
    return [Entry("seeing", Seeing)]
"""


def test_hooks_see_which_phase_of_the_program_runs(lab) -> None:
    """Each of the two stages with hooks attaches the method anew."""
    here = lab(SEEN)
    here.run(here.cells("{m: {use: seeing, density: 0.25}}")["m"])
    seen = here.registry.get("method", "seeing").attach.__globals__["SEEN"]
    early, train, late = Prune(exponent=0.5), Train(2), Prune()
    assert seen == [(-1, None), (1, early), (3, train, 0), (3, train, 1), (-1, None), (4, late)]


def test_a_long_phase_keeps_some_points_of_its_loss_and_the_last_one(lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """190 steps are 9 windows of 20: for two points, every fourth of them."""
    monkeypatch.setattr("harness.stages.training_run.POINTS", 2)
    here = lab()
    training = "{steps: 190, batch_size: 16, lr: 0.02}"
    planned = here.run(here.cells("{m: {use: random, density: 0.5}}", training=training, evaluation="{checks: 1}")["m"])
    loss = here.store.series(planned.stages[-1].hash)["loss"]
    assert [(phase, step) for phase, step, *_ in loss] == [(1, 80), (1, 160), (1, 190)]


def reports_of(lab, methods: str, **keys: str) -> tuple[list[StepReport], list[list[Any]]]:
    """What was reported while the stages of a cell ran, and the evaluations that its series holds in the end."""
    here = lab()
    planned = here.cells(methods, **keys)["m"]
    seen: list[StepReport] = []
    for stage in planned.stages:
        here.runner.run(stage, seen.append)
    return seen, here.store.series(planned.stages[-1].hash)["evaluations"]


def test_reports_show_the_newest_scores_and_density(lab) -> None:
    """Looked at just before the checks at 10, 20, 30 and 40; half of the weights is masked between 10 and 20."""
    seen, evaluations = reports_of(lab, "{m: {use: alternating, interval: 10}}")
    assert [(report.step, report.density) for report in seen] == [(10, 1.0), (20, 0.5), (30, 1.0), (40, 0.5)]
    assert [report.validation for report in seen] == [{}, *(scores for *_, scores in evaluations[:3])]
    assert len({scores["loss"] for *_, scores in evaluations}) == 4


def test_reports_show_no_scores_of_another_phase_and_none_of_the_test(lab) -> None:
    checks = "{checks: 1}"
    seen, _ = reports_of(lab, "{m: {use: programmed, program: prune, density: 0.5}}", evaluation=checks)
    assert {report.step for report in seen} == {20, 25, 40, 45}
    assert all(report.validation == {} and report.density is None for report in seen)
    seen, evaluations = reports_of(lab, METHOD, **SCORED, evaluation="{checks: 3, select: best_test}")
    assert evaluations[0][2:] == ["test", {"loss": 5.0}] and all(report.validation == {} for report in seen)


def test_peak_memory_is_what_the_system_says_in_bytes(lab) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    record = lab().records(METHOD)["m"]
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert before * 1024 <= record["spent"]["peak_memory_bytes"] <= after * 1024  # Linux counts in KiB
