"""Seconds per step of what has finished: medians of a kind, of this kind of machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.executors.pace import ENOUGH, Pace
from harness.executors.step_kind import StepKind, StepKinds
from harness.results.cell_record import CellRecord
from harness.results.store import ResultStore
from harness.stages.graph import Graph, PlannedCell, Stage
from harness.stages.store import StageStore
from harness.suites.suite import Suite

SUITE = """
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
training: {steps: 10, batch_size: 32}
seeds: 5
methods: {dense: , genome: }
"""


def cells(graph: Graph, method: str) -> list[PlannedCell]:
    return [planned for planned in graph.cells if planned.cell.method == method]


def kind(suite: Suite, graph: Graph, method: str) -> StepKind:
    return StepKinds(suite).of(cells(graph, method)[0].stages[0])


def finish(results: ResultStore, stage: Stage, seconds: float, processor: str | None = "mine") -> None:
    environments = [{"device_name": "another"}, {"device_name": processor}] if processor else []
    manifest = {"stage": stage.hash, "seconds_per_step": seconds, "trained_by": environments}
    StageStore(results.work).finish(stage.hash, {}, {}, manifest)


def record(results: ResultStore, planned: PlannedCell, seconds: float, processor: str = "mine") -> None:
    part = {"label": "x"}
    content: dict[str, Any] = {
        "status": "done",
        "cell": planned.id,
        "suite": planned.cell.suite,
        "seed": 0,
        "metrics": {"accuracy": {"value": 0.5, "direction": "max"}},
        **dict.fromkeys(("architecture", "method", "benchmark"), part),
        "density": {"mask": 0.5},
        "spent": {"steps": 10, "seconds": 10 * seconds},
        "trained_by": [{"device_name": processor}],
    }
    results.write(CellRecord.model_validate(content))


def learned(suite: Suite, graph: Graph, results: ResultStore, processor: str | None = "mine") -> Pace:
    pace = Pace(StepKinds(suite), results, processor)
    pace.learn(graph.stages.values(), graph.cells)
    return pace


def test_it_is_the_median_of_a_kinds_stages(suite, graph, tmp_path: Path) -> None:
    results = ResultStore(tmp_path)
    for planned, seconds in zip(cells(graph, "dense"), (2.0, 99.0, 3.0), strict=False):
        finish(results, planned.stages[0], seconds)
    pace = learned(suite, graph, results)
    assert pace.of(kind(suite, graph, "dense")) == 3.0
    assert pace.of(kind(suite, graph, "genome")) is None
    assert pace.of_network(kind(suite, graph, "genome")) == 3.0
    assert pace.of_network(StepKind("another")) is None


def test_other_machines_tell_nothing_unless_jobs_run_elsewhere(suite, graph, tmp_path: Path) -> None:
    results = ResultStore(tmp_path)
    dense = cells(graph, "dense")
    finish(results, dense[0].stages[0], 9.0, "theirs")
    record(results, dense[1], 9.0, "theirs")
    assert learned(suite, graph, results).of(kind(suite, graph, "dense")) is None
    assert learned(suite, graph, results, None).of(kind(suite, graph, "dense")) == 9.0
    finish(results, dense[2].stages[0], 1.0, None)  # an older one does not say
    assert learned(suite, graph, results).of(kind(suite, graph, "dense")) == 1.0


def test_records_tell_where_no_stage_of_a_kind_is_kept(suite, graph, tmp_path: Path, monkeypatch) -> None:
    results = ResultStore(tmp_path)
    for planned in graph.cells:
        record(results, planned, 4.0 if planned.cell.method == "genome" else 7.0)
    finish(results, cells(graph, "dense")[0].stages[0], 1.0)
    read: list[str] = []
    reading = ResultStore.read
    monkeypatch.setattr(ResultStore, "read", lambda self, suite, cell: read.append(cell) or reading(self, suite, cell))
    pace = learned(suite, graph, results)
    assert pace.of(kind(suite, graph, "genome")) == 4.0 and pace.of(kind(suite, graph, "dense")) == 1.0
    assert read == [planned.id for planned in cells(graph, "genome")][:ENOUGH]
