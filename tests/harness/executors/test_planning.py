"""What is left to do: finished work is not done again, shared work once."""

from __future__ import annotations

import json

import pytest

from harness.executors.planning import Plan, forget, make_plan, summary
from harness.results.cell_record import CellRecord
from harness.results.store import ResultStore
from harness.stages.graph import PlannedCell, Stage
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


def finish(results: ResultStore, work: Stage | PlannedCell, status: str = "done") -> None:
    if isinstance(work, Stage):
        StageStore(results.work).finish(work.hash, {}, {}, {"stage": work.hash})
    else:
        part = {"label": "x"}
        metrics = {"accuracy": {"value": 0.5, "direction": "max"}} if status == "done" else {}
        record = {"status": status, "cell": work.id, "suite": work.cell.suite, "seed": 0, "metrics": metrics}
        parts = {"architecture": part, "method": part, "benchmark": part, "density": {"mask": 0.5}}
        results.write(CellRecord.model_validate(record | parts))


def in_order(plan: Plan) -> bool:
    done: set[str] = set()
    for job in plan.jobs:
        if not set(job.needs) <= done or job.id in done:
            return False
        done.add(job.id)
    return True


def test_everything_is_planned_once_in_an_order_in_which_it_could_run(graph, results):
    plan = make_plan(graph, results)
    assert len(plan.selected) == 10 and plan.finished == []
    # Per seed: one dense training, two prunings of it, two random ones that wait for those; then the cells.
    assert len(plan.stages) == 2 * 5 and len(plan.jobs) == 2 * 5 + 10
    assert plan.steps == 2 * (10 + 2 * 5 + 2 * 10)
    assert in_order(plan)
    assert summary(graph, plan) == [
        "10 runs, 0 finished, 10 to do",
        "10 stages to train (4 shared), 80 optimizer steps",
    ]


def test_planning_writes_nothing(graph, results):
    make_plan(graph, results, force=True)
    assert not results.root.exists()


def test_finished_work_is_left_out_and_needs_say_only_what_is_missing(graph, results):
    dense = graph.cells[0]
    for work in (*dense.stages, dense):
        finish(results, work)
    plan = make_plan(graph, results)
    assert plan.finished == [dense]
    assert dense.stages[0] not in plan.stages and len(plan.jobs) == 18
    assert all(dense.stages[0].hash not in job.needs for job in plan.jobs)
    assert in_order(plan)


def test_a_finished_cell_needs_none_of_its_stages(graph, results):
    for cell in graph.cells:
        finish(results, cell)
    plan = make_plan(graph, results)
    assert plan.jobs == [] and plan.finished == graph.cells


def test_a_finished_stage_needs_none_of_those_before_it(graph, results):
    cell = next(planned for planned in graph.cells if planned.cell.method == "random")
    finish(results, cell.stages[-1])
    plan = make_plan(graph, results, lambda other: other is cell.cell)
    assert [job.work for job in plan.jobs] == [cell] and plan.jobs[0].needs == ()


@pytest.mark.parametrize(("status", "again"), [("done", False), ("diverged", False), ("failed", True)])
def test_which_records_are_results(graph, results, status, again):
    finish(results, graph.cells[0], status)
    plan = make_plan(graph, results)
    assert (graph.cells[0] not in plan.finished) == again
    assert list(plan.diverged) == ([graph.cells[0].id] if status == "diverged" else [])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 99, "status": "done"}'])
def test_a_record_that_cannot_be_read_is_no_result(graph, results, text):
    path = results.file("s", "cells", graph.cells[0].id).path
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert make_plan(graph, results).finished == []


@pytest.mark.parametrize("damage", ["state.safetensors", "stage.json"])
def test_a_stage_of_which_a_part_is_missing_runs_again(graph, results, damage):
    stage = graph.cells[0].stages[0]
    finish(results, stage)
    assert stage not in make_plan(graph, results).stages
    (StageStore(results.work).folder(stage.hash) / damage).unlink()
    assert stage in make_plan(graph, results).stages


def test_only_takes_along_what_the_selected_cells_refer_to(graph, results):
    plan = make_plan(graph, results, lambda cell: cell.method == "random" and cell.density == 0.1 and cell.seed == 1)
    assert [planned.cell.method for planned in plan.selected] == ["random"]
    assert [stage.cell.method for stage in plan.stages] == ["dense", "magnitude", "random"]
    assert len(plan.jobs) == 4 and in_order(plan)
    assert summary(graph, plan)[-1] == "selected from 10 runs by --only"


def test_force_runs_the_selected_cells_anew_and_nothing_else(graph, results):
    for stage in graph.stages.values():
        finish(results, stage)
    for cell in graph.cells:
        finish(results, cell)
    plan = make_plan(graph, results, lambda cell: cell.method == "random" and cell.seed == 0, force=True)
    assert [stage.cell.method for stage in plan.stages] == ["random", "random"] and len(plan.jobs) == 4
    assert len(make_plan(graph, results).finished) == 10
    forget(plan, results)
    after = make_plan(graph, results)
    assert len(after.finished) == 8 and {job.id for job in after.jobs} == {job.id for job in plan.jobs}


def test_records_of_other_suites_do_not_count(graph, results):
    for cell in graph.cells:
        finish(results, cell)
    path = results.file("s", "cells", graph.cells[0].id).path
    other = results.file("other", "cells", graph.cells[0].id).path
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps(json.loads(path.read_text())))
    path.unlink()
    assert len(make_plan(graph, results).finished) == 9
