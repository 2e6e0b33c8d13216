"""How long jobs take by what is known: in which order sources count, and what is never tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch

from harness.executors import step_times
from harness.executors.planning import Plan, make_plan
from harness.executors.step_kind import StepKind
from harness.executors.step_times import (
    COMPOSED,
    EFFICIENCY,
    EVALUATION_SECONDS,
    STAGE_SECONDS,
    STEP_SECONDS,
    StepTimes,
)
from harness.results.store import ResultStore
from harness.stages.graph import PlannedCell, Stage, compile_graph
from harness.stages.store import StageStore
from harness.suites.suite import load_suite

SUITE = """
architectures: {small: {use: mlp, hidden: [8]}, large: {use: mlp, hidden: [1024]}}
benchmarks: {digits: {validation_size: 300}}
training: {steps: 100, batch_size: 30}
evaluation: {checks: 4}
methods: {dense: , genome: , rigl: {density: 0.5}}
"""
CPU = torch.device("cpu")
SPEED = 1e9
"""Operations per second of a matrix product."""
SMALL, LARGE = (3 * 2 * (64 * hidden + 10 * hidden) * 30 for hidden in (8, 1024))
"""Operations of a step."""


Times = Callable[..., tuple[StepTimes, dict[str, Stage], dict[str, PlannedCell]]]


@pytest.fixture
def times(suite, results, monkeypatch) -> Times:
    """What is estimated with these timings, by architecture and method; and what was to be tried, in ``tried``."""
    monkeypatch.setattr(step_times, "matrix_speed", lambda device: SPEED)
    monkeypatch.setattr(step_times, "device_name", lambda device: "mine")

    def made(
        timings: Mapping[str, float] | None = None,
        tried: list[str] | None = None,
        device: Any = CPU,
        settings: Sequence[str] = (),
    ) -> Any:
        planned = load_suite(suite.path, suite.registry, settings)
        graph = compile_graph(planned.cells, planned.registry)
        asked = [] if tried is None else tried

        def timed(stages: Mapping[StepKind, Stage], *_: object) -> dict[StepKind, float]:
            names = {f"{stage.cell.architecture} {stage.cell.method}": kind for kind, stage in stages.items()}
            asked.extend(names)
            return {kind: timings[name] for name, kind in names.items() if timings and name in timings}

        monkeypatch.setattr(step_times, "short_timings", timed)
        plan: Plan = make_plan(graph, results)
        found = StepTimes(plan, planned, results, device, timings is not None)
        cells = {f"{one.cell.architecture} {one.cell.method}": one for one in graph.cells}
        return found, {name: one.stages[-1] for name, one in cells.items()}, cells

    return made


def finish(results: ResultStore, stage: Stage, seconds: float) -> None:
    manifest = {"stage": stage.hash, "seconds_per_step": seconds, "trained_by": [{"device_name": "mine"}]}
    StageStore(results.work).finish(stage.hash, {}, {}, manifest)


def test_without_any_knowledge_operations_are_counted(times) -> None:
    found, stages, cells = times()
    step = STEP_SECONDS + SMALL / (EFFICIENCY * SPEED)
    check = 300 * step / 3 / 30
    assert found.stage_seconds(stages["small dense"]) == pytest.approx(STAGE_SECONDS + 100 * step + 4 * check, rel=0.02)
    assert found.stage_seconds(stages["small genome"]) == pytest.approx(
        STAGE_SECONDS + COMPOSED * 100 * step + 4 * check, rel=0.02
    )
    scored = EVALUATION_SECONDS + (300 + 360) * step / 3 / 30  # digits has 360 test examples
    assert found.cell_seconds(cells["small genome"]) == pytest.approx(scored, rel=0.02)
    assert found.basis == "1 GFLOP/s at 50%" and found.guessed


def test_what_has_finished_includes_its_checks_and_goes_before_a_timing(times, results) -> None:
    _, stages, _ = times()
    finish(results, stages["small dense"], 0.5)
    tried: list[str] = []
    found, stages, _ = times({"small dense": 9.0, "small genome": 0.7}, tried)
    assert "small dense" not in tried and "small genome" in tried
    assert found.stage_seconds(stages["small dense"]) == STAGE_SECONDS + 50
    assert found.basis == "finished stages"
    check = 300 * 0.5 / 3 / 30
    assert found.stage_seconds(stages["small genome"]) == pytest.approx(STAGE_SECONDS + 70 + 4 * check)
    assert found.basis.startswith("61% short timings, 39% finished stages") and not found.guessed


def test_a_method_that_cannot_be_tried_takes_its_networks_time(times, results) -> None:
    found, stages, _ = times({"small dense": 0.1})
    check = 300 * 0.1 / 3 / 30
    assert found.stage_seconds(stages["small rigl"]) == pytest.approx(STAGE_SECONDS + 10 + 4 * check)
    assert found.stage_seconds(stages["small genome"]) == pytest.approx(STAGE_SECONDS + COMPOSED * 10 + 4 * check)
    finish(results, stages["small genome"], 2.0)
    found, stages, _ = times()
    assert found.stage_seconds(stages["small rigl"]) == STAGE_SECONDS + 200, "of the network, with another method"


def test_the_largest_network_is_tried_first_and_tells_the_speed_of_what_is_not_tried(times, monkeypatch) -> None:
    tried: list[str] = []
    found, stages, _ = times({"large genome": COMPOSED * 0.25}, tried)
    assert [name.split()[0] for name in tried] == ["large"] * 3 + ["small"] * 3
    step = STEP_SECONDS + SMALL * 0.25 / LARGE
    check = 300 * step / 3 / 30
    assert found.stage_seconds(stages["small dense"]) == pytest.approx(STAGE_SECONDS + 100 * step + 4 * check, rel=0.02)
    assert found.basis == f"1 GFLOP/s at {LARGE / 0.25 / SPEED:.0%}"
    monkeypatch.setattr(step_times, "TELLING", 1.0)
    found, stages, _ = times({"large dense": 0.25})
    assert found.stage_seconds(stages["small dense"]) == pytest.approx(
        STAGE_SECONDS + (100 + 4 * 300 / 3 / 30) * (STEP_SECONDS + SMALL / (EFFICIENCY * SPEED)), rel=0.02
    ), "too small to tell anything of others"


@pytest.mark.parametrize(("name", "value"), [("LONGEST", LARGE / SPEED), ("BUILDING", 1e-4)])
def test_what_is_too_large_is_not_tried(times, monkeypatch, name: str, value: float) -> None:
    """By its operations: at half of the speed its step takes twice as long. By its 76,810 parameters: 7.7 s."""
    monkeypatch.setattr(step_times, name, value)
    tried: list[str] = []
    times({}, tried)
    assert {one.split()[0] for one in tried} == {"small"}


def test_a_batch_that_takes_long_to_make_is_not_made(times, monkeypatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(step_times, "BUILDING", 0.5 / (30 * 64))  # the parameters of the small one are 610
    times({}, tried)
    assert tried == []
    monkeypatch.setattr(step_times, "BUILDING", 0.5 / (30 * 64 + 1000))
    times({}, tried)
    assert {one.split()[0] for one in tried} == {"small"}


def test_what_must_be_compiled_is_not_tried(times) -> None:
    tried: list[str] = []
    times({}, tried, settings=["training.compile=true"])
    assert tried == []


@pytest.mark.parametrize("elsewhere", [False, True])
def test_nothing_is_tried_where_a_run_waits_or_jobs_run_elsewhere(times, results, elsewhere: bool) -> None:
    tried: list[str] = []
    found, stages, _ = times({} if elsewhere else None, tried, None if elsewhere else CPU)
    assert tried == [] and found.stage_seconds(stages["small dense"]) > STAGE_SECONDS


def test_the_speed_of_a_product_is_that_of_the_machine(monkeypatch) -> None:
    ticks = iter([0.0, 4.0, 4.0, 5.0, 5.0, 7.0, 7.0, 9.0, 9.0, 99.0])
    monkeypatch.setattr(step_times, "perf_counter", lambda: next(ticks))
    assert step_times.matrix_speed(CPU) == 2 * 512**3 / 1.0, "the best of five"
