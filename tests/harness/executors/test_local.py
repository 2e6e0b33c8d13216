"""Jobs in real worker processes: failures stay where they are, and deaths are survived."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.executors import local
from harness.executors.base import Job
from harness.executors.fork_server import THREADS
from harness.executors.local import LocalExecutor, visible_gpu
from harness.executors.planning import make_plan
from harness.registry.plugins import load
from harness.results.store import ResultStore
from harness.stages.graph import Stage, compile_graph
from harness.suites.suite import load_suite

HERE = Path(__file__).parents[1]
PLUGINS = (HERE / "toy_plugin.py", HERE.parent / "e2e" / "fates.py")
HEAD = """
architectures: net
benchmarks: blobs
training: {steps: 60, batch_size: 16, lr: 0.01}
evaluation: {checks: 3}
methods:
"""


class Events:
    """A view that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.failures: dict[str, Mapping[str, Any]] = {}
        self.notes: list[str] = []
        self.steps: dict[str, list[int]] = {}

    def started(self, job: Job) -> None:
        self.seen.append(("started", job.label))

    def progress(self, job: Job, step: int, loss: float, more: Mapping[str, Any]) -> None:
        self.steps.setdefault(job.label, []).append(step)

    def finished(self, job: Job) -> None:
        self.seen.append(("finished", job.label))

    def failed(self, job: Job, failure: Mapping[str, Any]) -> None:
        self.seen.append(("failed", job.label))
        self.failures[job.label] = failure

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FATES_FOLDER", str(tmp_path))
    return tmp_path


@pytest.fixture
def jobs(tmp_path):
    def make(methods: str) -> Sequence[Job]:
        path = tmp_path / "s.yaml"
        path.write_text(HEAD + methods)
        registry = load(PLUGINS)
        graph = compile_graph(load_suite(path, registry).cells, registry)
        return make_plan(graph, ResultStore(tmp_path / "results")).jobs

    return make


def executor(tmp_path: Path, workers: int) -> LocalExecutor:
    return LocalExecutor(tmp_path / "results", workers, plugins=PLUGINS, checkpoint_seconds=0)


@pytest.mark.slow
def test_each_job_meets_its_own_fate(jobs, tmp_path):
    todo = jobs("""
  dense:
  raises: {use: fate, fate: raise, density: 0.5}
  waits: {use: random, density: {match: raises}}
  waits_longer: {use: shuffle, source: waits}
  diverges: {use: dense, training: {lr: 1e30, optimizer: sgd}}
  exits: {use: fate, fate: exit}
  killed: {use: fate, fate: kill}
""")
    view = Events()
    outcome = executor(tmp_path, 2).run(todo, view)
    assert not outcome.interrupted
    assert {job.label for job in todo if job.id in outcome.failures} == set(view.failures)
    done = {label for kind, label in view.seen if kind == "finished"}
    assert done == {f"net {name} seed 0{part}" for name in ("dense", "exits") for part in ("", ": evaluate")}
    assert {job.label for job in todo} == done | set(view.failures)

    raises, cell = (view.failures[f"net raises 0.5 seed 0{part}"] for part in ("", ": evaluate"))
    assert raises["type"] == "RuntimeError" and raises["message"] == cell["message"]
    assert raises["message"] == f"boom at the scores ({PLUGINS[1]}:37)"
    assert "fates.py" in raises["traceback"] and raises["step"] is None
    for name in ("waits", "waits_longer"):
        for part in ("", ": evaluate"):
            blocked = view.failures[f"net {name} 0.5 seed 0{part}"]
            assert blocked["message"] == f"blocked by net raises 0.5 seed 0 ({raises['message']})"
    assert not [label for kind, label in view.seen if kind == "started" and "waits" in label]

    diverged = view.failures["net diverges seed 0"]
    assert diverged["type"] == "Diverged" and 1 <= diverged["step"] <= 20

    text = "net exits seed 0: its worker process died with exit code 7; trying again from its last checkpoint"
    assert text in view.notes
    steps = view.steps["net exits seed 0"]
    # Died at step 30, and went on from the checkpoint at step 20.
    assert steps == sorted(set(steps)) and steps[0] == 20 and steps[-1] == 60
    assert (tmp_path / "trained").read_text().count("exit ") == 1

    died = view.failures["net killed seed 0"]
    assert died["type"] == "WorkerDied"
    assert died["message"] == "its worker process died with exit code -9 (killed: perhaps out of memory)"
    assert [kind for kind, label in view.seen if label == "net killed seed 0"] == ["started", "started", "failed"]
    assert not [process for process in multiprocessing.active_children() if process.name.startswith("worker-")]


@pytest.mark.slow
def test_after_enough_failures_nothing_new_is_started(jobs, tmp_path):
    todo = jobs("""
  first: {use: fate, fate: raise, density: 0.5}
  second: {use: fate, fate: raise, density: 0.4}
  third: {use: fate, fate: raise, density: 0.3}
  fourth: {use: fate, fate: raise, density: 0.2}
""")
    view = Events()
    outcome = executor(tmp_path, 1).run(todo, view, max_failures=2)
    assert [label for kind, label in view.seen if kind == "started"] == [
        "net first 0.5 seed 0",
        "net second 0.4 seed 0",
    ]
    assert len(outcome.failures) == 4 and not outcome.interrupted  # two stages, and their cells
    assert view.notes == ["stopped after 2 failures; 4 jobs left"]


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_has_nothing_to_do_is_replaced(jobs, tmp_path):
    class Killer(Events):
        """Kills one worker as soon as the only ready job runs, and remembers whether it was the busy one."""

        def progress(self, job: Job, step: int, loss: float, more: Mapping[str, Any]) -> None:
            super().progress(job, step, loss, more)
            busy = (tmp_path / "pid").read_text().strip()  # empty while it is being written
            if not self.victims and busy:
                self.victims = [p.pid for p in multiprocessing.active_children() if str(p.pid) != busy]
                for pid in self.victims:
                    os.kill(pid, signal.SIGKILL)

        victims: Sequence[int | None] = ()

    (tmp_path / "slow").touch()
    plugin = tmp_path / "busy.py"
    plugin.write_text(
        "import os\nfrom pathlib import Path\nfrom harness import Entry, SparsityMethod, hookimpl\n"
        "class Busy(SparsityMethod):\n"
        "    takes_density = 'never'\n"
        "    def on_gradients(self, context):\n"
        f"        Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "@hookimpl\ndef harness_register_methods():\n    return [Entry('busy', Busy)]\n"
    )
    path = tmp_path / "s.yaml"
    path.write_text(HEAD.replace("60", "400") + "  busy:\n  waits: {use: random, density: {match: busy}}\n")
    registry = load([*PLUGINS, plugin])
    graph = compile_graph(load_suite(path, registry).cells, registry)
    todo = make_plan(graph, ResultStore(tmp_path / "results")).jobs
    view = Killer()
    workers = LocalExecutor(tmp_path / "results", 2, plugins=(*PLUGINS, plugin), checkpoint_seconds=60)
    outcome = workers.run(todo, view)
    assert len(view.victims) == 1
    assert outcome.failures == {} and len([kind for kind, _ in view.seen if kind == "finished"]) == 4
    assert view.notes == []


@pytest.mark.slow
def test_what_no_other_worker_could_do_better_ends_the_run(jobs, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_DEVICE", "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(HarnessError, match="HARNESS_DEVICE is 'cuda', but torch finds no GPU here"):
        executor(tmp_path, 1).run(jobs("  dense:\n"), Events())
    assert not [process for process in multiprocessing.active_children() if process.name.startswith("worker-")]


def _sleep(pipe: Any, stop: Any, settings: Any) -> None:
    """A worker that hears nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe.send(("ready",))
    time.sleep(600)


def test_a_worker_that_does_not_end_is_killed_and_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "main", _sleep)
    pool = local._Pool(executor(tmp_path, 1))
    pool.fill(1)
    ((pipe, (_, process)),) = pool.pipes.items()
    assert pipe.recv() == ("ready",)
    pool.close(0)
    assert process.exitcode == -signal.SIGKILL  # None as long as nobody has waited for it


def test_workers_that_were_started_end_where_a_later_one_cannot_be(jobs, tmp_path, monkeypatch):
    started = []
    start = local._Pool.start

    def fails_second(pool: Any, index: int) -> Any:
        if index:
            raise OSError("no more processes")
        pipe = start(pool, index)
        started.append(pool.pipes[pipe][1])
        return pipe

    monkeypatch.setattr(local, "main", _sleep)
    monkeypatch.setattr(local._Pool, "start", fails_second)
    monkeypatch.setattr(local._Pool.close, "__defaults__", (0,))
    with pytest.raises(OSError, match="no more processes"):
        executor(tmp_path, 2).run(jobs("  dense:\n"), Events())
    assert [process.exitcode for process in started] == [-signal.SIGKILL]


def test_the_longest_chain_goes_first(jobs):
    from harness.executors.local import _Schedule

    todo = jobs("""
  short: {use: fate, fate: live, training: {steps: 5}}
  long: {use: fate, fate: live, training: {steps: 90}}
  chain: {use: connectome, generations: 2, outer_steps: 50}
""")
    schedule = _Schedule(todo, Events(), None)
    order = [schedule._jobs[name].label for *_, name in sorted(schedule._ready)]
    assert order == ["net chain seed 0", "net long seed 0", "net short seed 0"]
    first = next(job for job in todo if job.label == "net chain seed 0")
    # Three trainings, the last one of 60 steps, and an evaluation; each job counts one more.
    assert schedule._chain[first.id] == 50 + 50 + 60 + 4
    # A cell whose stages are done is recorded before anything else is trained.
    schedule._done(next(job for job in todo if job.label == "net short seed 0"))
    assert schedule._jobs[min(schedule._ready)[-1]].label == "net short seed 0: evaluate"


def test_jobs_can_be_sent_to_a_process_and_name_what_they_need(jobs):
    import pickle

    todo = jobs("  magnitude: {density: 0.5, recovery_steps: 5}\n  random: {density: {match: magnitude}}\n")
    for job in todo:
        copy = pickle.loads(pickle.dumps(job.work))
        if isinstance(copy, Stage):
            assert (copy.hash, copy.needs, copy.phases) == (job.work.hash, job.work.needs, job.work.phases)
        assert copy.cell.key == job.work.cell.key
    assert json.dumps([list(job.needs) for job in todo]) == json.dumps(
        [[], [todo[0].id], [todo[1].id], [todo[1].id], [todo[3].id]]
    )


@pytest.mark.parametrize(
    ("listed", "names"),
    [(None, ["0", "1"]), ("", ["0", "1"]), ("3,5", ["3", "5"]), ("GPU-a,GPU-b", ["GPU-a", "GPU-b"])],
)
def test_workers_get_one_of_the_visible_gpus(monkeypatch, tmp_path, listed, names):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if listed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert [visible_gpu(index) for index in range(2)] == names
    workers = LocalExecutor(tmp_path, 3, gpus=2)
    assert [workers.settings(index).environment["CUDA_VISIBLE_DEVICES"] for index in range(3)] == [*names, names[0]]
    assert LocalExecutor(tmp_path, 1).settings(0).environment == os.environ | THREADS


@pytest.mark.slow
def test_a_pack_that_dies_goes_on_alone(jobs, tmp_path):
    """Both begin in one worker, which dies with them; the one that was to blame is given up, the other ends."""
    found = jobs("""
  dense: {training: {pack: 4}}
  killed: {use: fate, fate: kill, training: {pack: 4}}
""")
    todo = [replace(job, pack="p") if job.steps else job for job in found]
    view = Events()
    outcome = executor(tmp_path, 1).run(todo, view)
    assert {job.label for job in todo if job.id in outcome.failures} == {
        "net killed seed 0", "net killed seed 0: evaluate"
    }  # fmt: skip
    again = "its worker process died with exit code -9 (killed: perhaps out of memory); trying again"
    assert sum(again in note for note in view.notes) == 2
    kinds = [kind for kind, label in view.seen if not label.endswith("evaluate")]
    assert kinds[:2] == ["started", "started"] and len(kinds) == 6


@pytest.mark.slow
def test_what_cannot_be_packed_says_so(jobs, tmp_path):
    found = jobs("  dense: {training: {pack: 4}}\n  random: {density: 0.5, training: {pack: 4}}\n")
    todo = [replace(job, pack="p") if job.steps else job for job in found]
    view = Events()
    assert not executor(tmp_path, 1).run(todo, view).failures
    records = [json.loads(path.read_text()) for path in (tmp_path / "results" / "s" / "cells").iterdir()]
    assert [record["trained_by"][0].get("packed") for record in records] == [None, None], "the net has dropout"
    assert sum("trains alone, as it cannot be packed" in note for note in view.notes) == 2
