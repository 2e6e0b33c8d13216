"""A plan in rows: every cell once, shared work counted once, and not more rows than one can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.executors.plan_rows import MANY, PlanRow, plan_rows
from harness.executors.planning import make_plan
from harness.registry.plugins import load
from harness.results.cell_record import CellRecord
from harness.results.store import ResultStore
from harness.stages.graph import compile_graph
from harness.suites.suite import load_suite

SUITE = """
architectures: {mlp: {hidden: [8]}}
benchmarks: {digits: , again: {use: digits}}
train_on: digits
training: {steps: 10, batch_size: 32}
seeds: 2
methods:
  dense:
  magnitude: {density: DENSITIES, recovery_steps: 5}
  random: {density: {match: magnitude}}
  shorter: {use: dense, training: {steps: 4}}
"""


@pytest.fixture(scope="module")
def registry():
    return load()


def rows(folder: Path, registry, densities: list[float], finished: str = "") -> list[PlanRow]:
    path = folder / "s.yaml"
    path.write_text(SUITE.replace("DENSITIES", str(densities)))
    graph = compile_graph(load_suite(path, registry).cells, registry)
    results = ResultStore(folder / "results")
    done = [planned for planned in graph.cells if planned.cell.method == finished]
    for planned in done:
        score = {"accuracy": {"value": 0.5, "direction": "max"}}
        parts = {name: {"label": "x"} for name in ("architecture", "method", "benchmark")}
        about = {"status": "done", "cell": planned.id, "suite": "s", "seed": 0, "density": {"mask": 0.5}}
        results.write(CellRecord.model_validate({**about, **parts, "metrics": score}))
    plan = make_plan(graph, results)
    evaluations = {job.id: 0.25 for job in plan.jobs if job.id not in graph.stages}
    assert len(evaluations) == len(graph.cells) - len(done)
    each = plan_rows(plan, evaluations)
    assert [row.seconds for row in each] == [0.25 * (row.cells - row.finished) for row in each]
    found = plan_rows(plan, {stage.hash: float(stage.steps) for stage in plan.stages})
    assert sum(row.cells for row in found) == len(graph.cells)
    assert sum(row.finished for row in found) == len(done)
    assert sum(row.seconds for row in found) == plan.steps, "each stage counts once"
    return found


def test_a_row_for_each_method_and_density(tmp_path: Path, registry) -> None:
    found = rows(tmp_path, registry, [0.5, 0.1])
    assert [(row.method, row.densities, row.as_method) for row in found] == [
        ("dense", (), None),
        ("magnitude", (0.5,), None),
        ("magnitude", (0.1,), None),
        ("random", (0.5,), "magnitude"),
        ("random", (0.1,), "magnitude"),
        ("shorter", (), None),
    ]
    assert all((row.seeds, row.cells, row.benchmarks) == (2, 4, ("digits", "again")) for row in found)
    assert [row.steps[0] for row in found] == [10, 15, 15, 10, 10, 4]
    # The training of `dense`, of two seeds, is also what both rows of `magnitude` begin with.
    assert [(row.shared, row.stages) for row in found[:3]] == [(2, 2), (2, 4), (2, 4)]
    assert [row.seconds for row in found] == [20, 10, 10, 20, 20, 8]


def test_what_is_finished_costs_nothing(tmp_path: Path, registry) -> None:
    found = rows(tmp_path, registry, [0.5], finished="dense")
    assert [row.finished for row in found] == [4, 0, 0, 0]
    assert [row.seconds for row in found] == [0, 30, 20, 8], "what others still need of it counts with them"


def test_many_densities_share_a_row(tmp_path: Path, registry) -> None:
    densities = [round(0.01 * i, 2) for i in range(1, MANY // 2 + 1)]
    found = rows(tmp_path, registry, densities)
    assert [row.method for row in found] == ["dense", "magnitude", "random", "shorter"]
    assert found[1].densities == tuple(densities) and found[1].cells == 4 * len(densities)
