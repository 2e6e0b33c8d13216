"""Which jobs go to a cluster together."""

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest

from harness.executors.base import Job
from harness.executors.job_batches import EVALUATION_SECONDS, Batch, pack
from harness.stages.graph import PlannedCell, Stage
from harness.suites.slurm_options import SlurmOptions

SHORT = 600.0


def cell(method: str = "m") -> SimpleNamespace:
    return SimpleNamespace(architecture="a", method=method)


def stage(name: str, *needs: str, method: str = "m") -> Job:
    return Job(name, Stage(name, cell(method), (), 0, None, False, None, None), needs)


def evaluation(name: str, *needs: str, method: str = "m") -> Job:
    return Job(name, PlannedCell(name, cell(method), (), None, None), needs)


def packed(jobs: list[Job], seconds: dict[str, float], outside: dict[str, str] | None = None, **options) -> list[Batch]:
    request = SlurmOptions.model_validate(options).request
    return pack(jobs, request, seconds, SHORT, outside or {})


def names(batches: list[Batch]) -> list[list[str]]:
    return [[job.id for job in batch.jobs] for batch in batches]


def test_a_long_stage_goes_alone_and_takes_its_evaluations() -> None:
    jobs = [stage("x"), evaluation("ex1", "x"), stage("y"), evaluation("ey", "y"), evaluation("ex2", "x")]
    batches = packed(jobs, {"x": 1000, "y": 1000})
    assert names(batches) == [["x", "ex1", "ex2"], ["y", "ey"]]
    assert [batch.after for batch in batches] == [(), ()]
    assert batches[0].seconds == 1000 + 2 * EVALUATION_SECONDS


def test_short_ones_share_until_there_is_enough() -> None:
    jobs = [stage(f"s{i}") for i in range(10)]
    batches = packed(jobs, {job.id: 200 for job in jobs})
    assert names(batches) == [["s0", "s1", "s2"], ["s3", "s4", "s5"], ["s6", "s7", "s8"], ["s9"]]


def test_side_by_side_a_batch_takes_more() -> None:
    jobs = [stage(f"s{i}") for i in range(8)]
    batches = packed(jobs, {job.id: 200 for job in jobs}, cells_per_gpu=2)
    assert names(batches) == [["s0", "s1", "s2", "s3", "s4", "s5"], ["s6", "s7"]]


def test_a_short_chain_is_one_batch_and_a_long_one_waits() -> None:
    jobs = [stage("a"), stage("b", "a"), evaluation("eb", "b"), stage("c", "b"), evaluation("ec", "c")]
    assert names(packed(jobs, {"a": 10, "b": 10, "c": 10})) == [["a", "b", "eb", "c", "ec"]]
    batches = packed(jobs, {"a": 1000, "b": 1000, "c": 10})
    assert names(batches) == [["a"], ["b", "eb"], ["c", "ec"]]
    assert batches[1].after == (batches[0],) and batches[2].after == (batches[1],)


def test_what_waits_for_two_comes_after_both() -> None:
    jobs = [stage("a"), stage("b"), stage("c", "a", "b"), stage("d", "a", "b")]
    batches = packed(jobs, {"a": 1000, "b": 1000, "c": 1, "d": 1})
    assert names(batches) == [["a"], ["b"], ["c", "d"]]
    assert batches[2].after == (batches[0], batches[1])


def test_different_requests_do_not_share() -> None:
    jobs = [stage("a"), stage("b", method="big"), stage("c"), stage("d", "a", method="big"), stage("e", "a")]
    batches = packed(jobs, {job.id: 1 for job in jobs}, methods={"big": {"gpus": 1}})
    assert names(batches) == [["a", "c", "e"], ["b"], ["d"]]
    assert [batch.request.gpus_per_node for batch in batches] == [None, 1, 1]
    assert batches[2].after == (batches[0],)


def test_what_waits_for_something_handed_in_before() -> None:
    jobs = [stage("a", "old"), stage("b", "old"), stage("c"), stage("d", "a", "old2")]
    batches = packed(jobs, {job.id: 1 for job in jobs}, {"old": "7_1", "old2": "9"})
    assert names(batches) == [["a", "b"], ["c"], ["d"]]
    assert [batch.outside for batch in batches] == [("7_1",), (), ("9",)]
    assert batches[2].after == (batches[0],)


@pytest.mark.parametrize("seed", range(20))
def test_any_graph_is_packed_once_and_in_an_order_that_can_be_done(seed: int) -> None:
    chance = random.Random(seed)
    jobs: list[Job] = []
    for i in range(60):
        needs = chance.sample(
            [job.id for job in jobs if isinstance(job.work, Stage)] or ["?"], k=min(i, chance.randrange(3))
        )
        make = stage if i < 2 or chance.random() < 0.6 else evaluation
        jobs.append(make(f"j{i}", *needs, method=chance.choice("mn")))
    batches = packed(jobs, {job.id: chance.choice([1, 300, 900]) for job in jobs}, methods={"n": {"time": 7}})
    assert sorted(job.id for batch in batches for job in batch.jobs) == sorted(job.id for job in jobs)
    done: set[str] = set()
    for number, batch in enumerate(batches):
        assert all(parent in batches[:number] for parent in batch.after)
        before = {job.id for parent in batch.after for job in parent.jobs}
        for job in batch.jobs:
            assert set(job.needs) <= before | done, "everything it needs is done in this batch or in one it waits for"
            done.add(job.id)
        done = set()


def test_long_stages_that_may_be_packed_share_a_batch_for_each_pack() -> None:
    jobs = [replace(stage(f"s{i}"), pack="p") for i in range(5)] + [stage("other")]
    for job in jobs:
        job.work.cell.training = SimpleNamespace(pack=2)
    seconds = {job.id: 1000 for job in jobs}
    assert names(packed(jobs, seconds)) == [["s0", "s1"], ["s2", "s3"], ["s4"], ["other"]]
    assert names(packed(jobs, seconds, gpus=2)) == [[job.id] for job in jobs], "of several processes, alone"
