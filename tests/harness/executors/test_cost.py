"""What a plan takes in all: operations, bytes, seconds."""

from __future__ import annotations

import pytest
import torch

from harness.executors import step_times
from harness.executors.cost import START_SECONDS, Cost, estimate
from harness.executors.planning import Plan, make_plan
from harness.executors.step_times import EVALUATION_SECONDS, STAGE_SECONDS
from harness.stages.store import StageStore

SUITE = """
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
training: {steps: 10, batch_size: 32}
seeds: 2
methods:
  dense:
  magnitude: {density: [0.5, 0.1], recovery_steps: 5}
  random: {density: {match: magnitude}}
"""
CPU = torch.device("cpu")


def test_operations_and_bytes_are_counted(graph, suite, results) -> None:
    plan = make_plan(graph, results)
    cost = estimate(plan, suite, results, CPU)
    weights = 64 * 8 + 8 * 10
    # 2 operations a weight forward, twice that backward; biases and activations are small.
    assert cost.flops == pytest.approx(3 * 2 * weights * 32 * plan.steps, rel=0.1)
    assert cost.tokens == 32 * plan.steps
    assert cost.disk_bytes == 4 * (weights + 18) * 10
    assert cost.checkpoint_bytes == 3 * 3 * 4 * (weights + 18)
    assert cost.memory["mlp"] == cost.memory_bytes > 4 * 4 * (weights + 18)
    assert "GFLOP/s" in cost.basis and min(cost.stage_seconds.values()) > STAGE_SECONDS


def test_seconds_are_those_of_finished_stages(graph, suite, results) -> None:
    stage = graph.cells[0].stages[0]
    StageStore(results.work).finish(stage.hash, {}, {}, {"stage": stage.hash, "seconds_per_step": 0.5})
    plan = make_plan(graph, results)
    cost = estimate(plan, suite, results, CPU)
    assert cost.basis == "finished stages"
    assert cost.stage_seconds == {one.hash: STAGE_SECONDS + 0.5 * one.steps for one in plan.stages}
    assert cost.cell_seconds.keys() == {job.id for job in plan.jobs} - cost.stage_seconds.keys()
    # 360 test examples in batches of 32, forward only; digits keeps 180 for validation.
    scored = (360 + 180) / 32 * 0.5 / 3
    assert cost.cell_seconds == {name: pytest.approx(EVALUATION_SECONDS + scored) for name in cost.cell_seconds}
    assert cost.job_seconds == {**cost.stage_seconds, **cost.cell_seconds}
    # In a row, of the other seed: a dense training, its pruning, a random network of that density, its evaluation.
    assert cost.longest == pytest.approx(3 * STAGE_SECONDS + 0.5 * (10 + 5 + 10) + EVALUATION_SECONDS + scored)


def test_more_workers_help_until_one_must_wait_for_another() -> None:
    cost = Cost(1, 1.0, {"a": 60.0, "b": 30.0}, 1.0, "", cell_seconds={"c": 10.0}, longest=40.0)
    assert [cost.seconds(workers) - START_SECONDS for workers in (1, 2, 4)] == [100.0, 50.0, 40.0]


@pytest.mark.parametrize("timed", [False, True])
def test_steps_are_timed_only_on_request(graph, suite, results, monkeypatch, timed: bool) -> None:
    asked: list[Plan] = []
    monkeypatch.setattr(step_times, "short_timings", lambda *given: asked.append(given) or {})
    estimate(make_plan(graph, results), suite, results, CPU, timed)
    assert bool(asked) is timed
