"""Everybody who asks whether a cell is done gets the same answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from harness.cli.logs import command as logs
from harness.cli.status import command as status
from harness.cli.watch import SuiteWatch
from harness.executors import slurm_queue
from harness.executors.base import Job
from harness.executors.completion import Completion
from harness.executors.dispatch import Dispatch
from harness.executors.local import LocalExecutor
from harness.executors.planning import make_plan
from harness.executors.slurm_job import JobView
from harness.executors.submissions import Element, Submissions
from harness.executors.submitter import Submitter
from harness.registry.plugins import load
from harness.results.store import SCHEMA, ResultStore
from harness.stages.graph import Graph, compile_graph
from harness.stages.store import StageStore
from harness.suites.slurm_options import SlurmOptions
from harness.suites.suite import load_suite

PLUGIN = Path(__file__).parents[1] / "toy_plugin.py"
SUITE = """
architectures: net
benchmarks: blobs
training: {steps: 4, batch_size: 16, lr: 0.01}
evaluation: {checks: 1}
methods:
  none:        {use: random, density: 0.1}
  unreadable:  {use: random, density: 0.2}
  done:        {use: random, density: 0.3}
  diverged:    {use: random, density: 0.4}
  failed:      {use: random, density: 0.5}
  unheard_of:  {use: random, density: 0.6}
"""
FAILURE = {"type": "Diverged", "message": "the loss became nan at step 3", "traceback": "", "step": 3}


class Expected(NamedTuple):
    """Of one record: what it says, whether a run leaves the cell alone, whether it counts as a failure now."""

    completion: Completion
    settled: bool
    failure: bool


TABLE = {
    "none": Expected(Completion.TO_DO, False, False),
    "unreadable": Expected(Completion.TO_DO, False, False),
    "done": Expected(Completion.DONE, True, False),
    "diverged": Expected(Completion.DIVERGED, True, True),
    "failed": Expected(Completion.FAILED, False, True),
    "unheard_of": Expected(Completion.FAILED, False, True),
}


class Told:
    """A view that remembers how jobs ended."""

    def __init__(self) -> None:
        self.ended: dict[str, Mapping[str, Any] | None] = {}

    def started(self, job: Job) -> None: ...

    def progress(self, job: Job, step: int, loss: float, more: Mapping[str, Any]) -> None: ...

    def finished(self, job: Job) -> None:
        self.ended[job.id] = None

    def failed(self, job: Job, failure: Mapping[str, Any]) -> None:
        self.ended[job.id] = failure

    def note(self, text: str) -> None: ...


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    """One cell per row of the table; a plan of them all; no records."""
    path = tmp_path / "s.yaml"
    path.write_text(SUITE)
    registry = load([PLUGIN])
    graph = compile_graph(load_suite(path, registry).cells, registry)
    results = ResultStore(tmp_path / "results")
    results.write_plan("s", {"suite": "s", "cells": [cell.id for cell in graph.cells], "baselines": {}})
    return graph


@pytest.fixture
def results(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


@pytest.fixture
def record(graph: Graph, results: ResultStore) -> Callable[[], None]:
    """Write the records of the table."""

    def write() -> None:
        for cell in graph.cells:
            row = cell.cell.method
            if row == "unreadable":
                results.cell_path("s", cell.id).parent.mkdir(parents=True, exist_ok=True)
                results.cell_path("s", cell.id).write_text("{")
            elif row != "none":
                head = dict.fromkeys(("method", "architecture", "benchmark", "metrics", "density", "seed"))
                failure = None if row == "done" else FAILURE
                mine = {"schema": SCHEMA, "cell": cell.id, "suite": "s", "status": row, "failure": failure}
                results.write(head | mine)

    return write


def by_row(graph: Graph) -> dict[str, str]:
    return {cell.cell.method: cell.id for cell in graph.cells}


def test_the_table(graph, results, record):
    record()
    stages = StageStore(results.work)
    assert by_row(graph).keys() == TABLE.keys()
    for cell in graph.cells:
        found = Completion.of(cell, results, stages)
        assert (found, found.settled) == TABLE[cell.cell.method][:2], cell.cell.method
        assert Completion.of(cell.stages[-1], results, stages) is Completion.TO_DO
    last = graph.cells[0].stages[-1]
    stages.finish(last.hash, {}, {}, {"stage": last.hash})
    assert Completion.of(last, results, stages) is Completion.DONE


def test_a_plan_leaves_alone_what_is_settled(graph, results, record):
    record()
    plan = make_plan(graph, results)
    assert {cell.cell.method for cell in plan.finished} == {row for row, due in TABLE.items() if due.settled}
    settled_failures = {by_row(graph)[row]: FAILURE for row, due in TABLE.items() if due.settled and due.failure}
    assert plan.diverged == settled_failures
    assert len(make_plan(graph, results, force=True).finished) == 0


def test_a_slurm_job_leaves_alone_what_is_settled(graph, results, record, tmp_path):
    jobs = [job for job in make_plan(graph, results).jobs if job.id in by_row(graph).values()]
    for cell in graph.cells:
        StageStore(results.work).finish(cell.stages[-1].hash, {}, {}, {"stage": cell.stages[-1].hash})
    record()
    ready = JobView(tmp_path / "results", "s", load([PLUGIN]), None).ready(jobs)
    assert {job.work.cell.method for job in ready} == {row for row, due in TABLE.items() if not due.settled}


def test_who_follows_a_slurm_job_takes_settled_cells_as_ended(graph, results, record, tmp_path, monkeypatch):
    """A record of ``failed`` may be of an earlier run; of this one the job's own file says so."""
    monkeypatch.setattr(slurm_queue, "max_array_size", lambda: 1000)
    jobs = make_plan(graph, results).jobs
    record()
    view = Told()
    follows = Dispatch(Submitter(tmp_path / "results", "s", SlurmOptions(), {}), jobs, view, None)
    follows._collect(Element("1", tuple(by_row(graph).values()), (), 10))
    assert view.ended.keys() == {by_row(graph)[row] for row, due in TABLE.items() if due.settled}
    for row, due in TABLE.items():
        if due.settled:
            failure = view.ended[by_row(graph)[row]]
            assert (failure is not None) == due.failure and (failure is None or failure["type"] == "Diverged"), row
    assert follows.outcome.failures.keys() == {by_row(graph)["diverged"]}


@pytest.mark.slow
def test_workers_take_settled_cells_as_ended(graph, results, record, tmp_path):
    """The records come while the cells wait."""
    jobs = make_plan(graph, results).jobs
    record()
    before = {row: results.cell_path("s", name) for row, name in by_row(graph).items()}
    texts = {row: path.read_text() for row, path in before.items() if path.exists()}
    view = Told()
    outcome = LocalExecutor(tmp_path / "results", 1, plugins=(PLUGIN,)).run(jobs, view)
    assert outcome.failures == {by_row(graph)["diverged"]: FAILURE}
    for row, due in TABLE.items():
        if due.settled:
            assert before[row].read_text() == texts[row], row
            assert (view.ended[by_row(graph)[row]] is not None) == due.failure, row
        else:
            assert json.loads(before[row].read_text())["status"] == "done", row


def test_status_and_watch_count_alike(graph, results, record, tmp_path):
    record()
    shown = CliRunner().invoke(status, ["s", "--results", str(tmp_path / "results")]).output
    assert "1 done, 2 failed, 1 diverged, 2 to do" in shown
    listed = {line.partition(":")[0] for line in shown.splitlines() if FAILURE["message"] in line}
    assert listed == {by_row(graph)[row] for row, due in TABLE.items() if due.failure}
    watch = SuiteWatch(results, "s")
    watch.look()
    cells = watch.standing.bars[0]
    assert (cells.total, cells.done, cells.failed) == (6, 1, 3)
    assert cells.counts == "1/6 done, 3 failed, 2 to do"


@pytest.mark.parametrize("row", [row for row, due in TABLE.items() if due.settled])
def test_logs_do_not_wait_for_what_is_settled(graph, results, record, row):
    record()
    name = by_row(graph)[row]
    Submissions(results.work, "s").add([Element("7", (name,), (), 10)])
    assert CliRunner().invoke(logs, [name, "--follow", "--results", str(results.root)]).exit_code == 0
