"""Suites on a real SLURM: the same results as here, whatever happens to jobs, nodes and whoever watches."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.storage import checkpoint

pytestmark = pytest.mark.slow

Compare = Callable[[Path, Path], None]

SUITE = """
architectures:
  skip_mlp: {hidden: [48, 48]}
benchmarks: digits
seeds: SEEDS
training: {steps: STEPS, batch_size: 64, optimizer: adam, lr: 1e-3}
methods:
  dense:
  genome: {cost_weight: 0.01, temperature_end: 10, lr: 3e-3}
  random: {density: {match: genome, by: per_layer}}
  magnitude: {density: [0.5, 0.1], recovery_steps: 100}
slurm: {mem: 2G, time: 10, poll_seconds: 1}
"""
CELLS_A_SEED = 5
CHAOS_SEEDS = int(os.environ.get("HARNESS_CHAOS_CELLS", "20")) // CELLS_A_SEED
CHAOS_EVENTS = int(os.environ.get("HARNESS_CHAOS_EVENTS", "8"))

PLUGIN = '''
import time

import torch

from harness import Entry, SparsityMethod, Train, hookimpl


class Explodes(SparsityMethod):
    """Raises in training."""

    takes_density = "never"

    def program(self, budget):
        return [Train(budget.steps)]

    def after_step(self, context):
        if context.step == 5:
            raise ValueError("boom at step 5")
        return None


class ExplodesInOne(Explodes):
    """Raises in one of two processes; the other loses its peer."""

    def after_step(self, context):
        if torch.distributed.get_rank() == 1:
            raise ValueError("boom in one of two")
        return None


class Hungry(Explodes):
    """Takes 3 GB."""

    def after_step(self, context):
        if context.step == 5:
            self.hoard = torch.ones(3 * 2**30 // 4)
            time.sleep(60)
        return None


@hookimpl
def harness_register_methods():
    return [
        Entry("explodes", Explodes, "raises"),
        Entry("explodes_in_one", ExplodesInOne, "raises"),
        Entry("hungry", Hungry, "takes memory"),
    ]
'''


def write(folder: Path, text: str, name: str = "small", **values: int) -> Path:
    for key, value in values.items():
        text = text.replace(key.upper(), str(value))
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "harness", *map(str, arguments)]


def harness(*arguments: object, code: int = 0, seconds: float = 150) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=seconds)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def logs(results: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in sorted(results.glob(".work/slurm/*/logs/*_log.out")))


def lines(results: Path, word: str) -> Counter[str]:
    """How often each stage or cell was begun, or done, according to the logs."""
    return Counter(re.findall(rf"^[-\d]+ [:\d]+ {word}: .* \(([\w.-]+)\)$", logs(results), re.MULTILINE))


def until(seconds: float, what: str, holds: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)
    return found


def queue(cluster: Any, *states: str) -> list[str]:
    """Ids of the jobs in these states."""
    listed = cluster.run("squeue", "--noheader", "--array", "--format=%F_%K %T").split("\n")
    pairs = [line.split() for line in listed if line]
    return [job.removesuffix("_N/A") for job, state in pairs if state in states]


@pytest.fixture
def background() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``harness`` commands that do not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command(*arguments), text=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def nothing_stays(cluster: Any) -> Iterator[None]:
    yield
    cluster.up()
    cluster.run("scancel", "--me", "--signal=KILL")
    cluster.run("scancel", "--me")
    until(30, "an empty queue", lambda: not cluster.run("squeue", "--noheader"))


def test_the_results_are_those_of_a_local_run(cluster: Any, tmp_path: Path, assert_same: Compare) -> None:
    suite = write(tmp_path, SUITE, seeds=1, steps=300)
    harness("run", suite, "--results", tmp_path / "here")
    shown = harness("run", suite, "--results", tmp_path / "there", "--executor", "slurm")
    assert "handed in to SLURM: 10 stages and evaluations as 1 job" in shown.stderr.replace("\n", " ")
    assert "main: skip_mlp on digits" in shown.stdout and "method  " in shown.stdout
    assert_same(tmp_path / "here", tmp_path / "there")
    again = harness("run", suite, "--results", tmp_path / "there", "--executor", "slurm")
    assert "5 finished, 0 to do" in again.stderr and "handed in" not in again.stderr
    assert "5 done" in harness("status", "small", "--results", tmp_path / "there").stdout
    log = harness("logs", "genome.s0", "--results", tmp_path / "there").stdout
    assert "begins: skip_mlp genome seed 0" in log and "done: skip_mlp genome seed 0: evaluate" in log


def test_what_goes_wrong_is_told_with_slurms_reason(cluster: Any, tmp_path: Path, background: Any) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    suite = write(
        tmp_path,
        """
        architectures: {skip_mlp: {hidden: [16]}}
        benchmarks: digits
        training: {steps: 20, batch_size: 64}
        methods:
          dense:
          explodes:
          hungry:
          shuffle: {source: explodes}
          huge: {use: dense, training: {lr: 0.5}}
        slurm: {mem: 1500M, time: 10, poll_seconds: 1, min_job_minutes: 0, methods: {huge: {sbatch: {nodes: 9}}}}
        """,
    )
    results = tmp_path / "results"
    run = background("run", suite, "--results", results, "--plugin", plugin, "--executor", "slurm")

    def status() -> str:
        done = subprocess.run(command("status", "small", "--results", results), capture_output=True, text=True)
        return done.stdout

    until(90, "the failure", lambda: "explodes.s0" in status() and "failed: boom at step 5" in status())
    hungry = r"hungry\S+ failed: SLURM job \S+ ended as OUT_OF_MEMORY: it needs more than it asked for"
    text = until(
        30, "the reasons", lambda: (t := status()) and re.search(hungry, t) and "PartitionNodeLimit" in t and t
    )
    assert "shuffle" in text and "failed: blocked by skip_mlp explodes seed 0 (boom at step 5 (" in text
    assert re.search(r"1 SLURM job waiting: PartitionNodeLimit", text)
    assert "1 done, 3 failed, 1 queued" in text
    assert run.poll() is None, "one job is still queued"
    until(60, "the end of the others", lambda: len(queue(cluster, "RUNNING", "PENDING", "COMPLETING")) == 1)
    assert "cancelled: 1 SLURM job" in harness("cancel", "small", "--results", results).stdout
    _, told = run.communicate(timeout=60)
    assert run.returncode == 1 and "boom at step 5" in told and "was cancelled" in told
    assert "1 cancelled" in status()


def test_a_job_that_can_never_be_handed_in_fails_alone(cluster: Any, tmp_path: Path) -> None:
    suite = write(tmp_path, SUITE + "\n", seeds=1, steps=20)
    shown = harness(
        "run",
        suite,
        "--results",
        tmp_path / "r",
        "--executor",
        "slurm",
        "--slurm",
        "methods.genome.partition=nowhere",
        code=1,
    )
    told = " ".join(shown.stderr.split())
    assert "SLURM refuses the job: sbatch: error: invalid partition specified: nowhere" in told
    status = harness("status", "small", "--results", tmp_path / "r").stdout
    assert "3 done, 2 failed" in status
    assert "random.s0" in status and "blocked by skip_mlp genome seed 0 (SLURM refuses" in status


def test_leaving_coming_back_and_ending(cluster: Any, tmp_path: Path, background: Any) -> None:
    suite = write(tmp_path, SUITE, seeds=1, steps=30_000)
    run = ("run", suite, "--results", tmp_path / "r", "--executor", "slurm", "--checkpoint-minutes", "0.01")
    told = harness(*run, "--detach").stderr
    assert "harness status small" in told
    step = r"SLURM job \d+ on \S+\n  skip_mlp \w+.* seed 0.*: step [\d,]+ of 30,000, loss \d.* left"
    status = until(
        60,
        "a step",
        lambda: (t := harness("status", "small", "--results", tmp_path / "r").stdout) and re.search(step, t) and t,
    )
    assert "5 running" in status
    watching = background(*run)
    told = ""
    while "of this suite" not in told:
        told += (line := watching.stderr.readline())
        assert line, told
    time.sleep(2)
    watching.send_signal(signal.SIGINT)
    told += watching.communicate(timeout=60)[1]
    assert watching.returncode == 130 and "no longer watching" in told
    assert "queued or running already: 1 SLURM job" in told and "handed in" not in told
    assert "left alone: SLURM job" in harness("cancel", "dense.s0", "--results", tmp_path / "r").stderr
    assert "cancelled: 1 SLURM job" in harness("cancel", "small", "--results", tmp_path / "r").stdout
    until(30, "an empty queue", lambda: not queue(cluster, "RUNNING", "PENDING", "COMPLETING"))
    assert list((tmp_path / "r").glob(".work/stages/*/checkpoint-*")), "what ran has saved where it was"
    assert "stopped by a signal; checkpoints are written" in logs(tmp_path / "r")
    assert "5 cancelled" in harness("status", "small", "--results", tmp_path / "r").stdout


def test_a_warned_job_saves_and_begins_again_by_itself(cluster: Any, tmp_path: Path, assert_same: Compare) -> None:
    suite = write(tmp_path, SUITE, seeds=1, steps=2_000)
    only = ("--only", "method=genome")
    harness("run", suite, "--results", tmp_path / "here", *only)
    harness("run", suite, "--results", tmp_path / "there", "--executor", "slurm", "--detach", *only)
    (job,) = until(30, "a job", lambda: queue(cluster, "RUNNING"))
    until(60, "a step", lambda: ": step " in harness("status", "small", "--results", tmp_path / "there").stdout)
    cluster.run("scancel", "--signal=USR2", job)
    until(30, "the requeued job", lambda: queue(cluster, "PENDING", "REQUEUED"))
    assert list((tmp_path / "there").glob(".work/stages/*/checkpoint-*"))
    assert "1 requeued" in harness("status", "small", "--results", tmp_path / "there").stdout
    harness("run", suite, "--results", tmp_path / "there", "--executor", "slurm", *only)
    assert_same(tmp_path / "here", tmp_path / "there")
    assert max(lines(tmp_path / "there", "done").values()) == 1


def test_two_schedulers_do_everything_once(cluster: Any, tmp_path: Path, background: Any, assert_same: Compare) -> None:
    suite = write(tmp_path, SUITE, seeds=2, steps=200)
    harness("run", suite, "--results", tmp_path / "here")
    run = command(
        "run", suite, "--results", tmp_path / "there", "--executor", "slurm", "--slurm", "min_job_minutes=0.01"
    )
    both = [subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert_same(tmp_path / "here", tmp_path / "there")
    assert set(lines(tmp_path / "there", "begins").values()) == {1}
    assert sum("queued or running already" in text for text in told) == 1


def workers() -> list[int]:
    """Worker processes of SLURM jobs, by their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if (
                    b"spawn_main" in (entry / "cmdline").read_bytes()
                    and b"SLURM_JOB_ID" in (entry / "environ").read_bytes()
                ):
                    found.append(int(entry.name))
    return found


def test_accidents_lose_nothing(cluster: Any, tmp_path: Path, background: Any, assert_same: Compare) -> None:
    suite = write(tmp_path, SUITE, seeds=CHAOS_SEEDS, steps=1_500)
    chance = random.Random(os.environ.get("HARNESS_CHAOS_SEED", "1"))
    results = tmp_path / "there"
    run = (
        "run", suite, "--results", results, "--executor", "slurm", "--checkpoint-minutes", "0.01",
        "--slurm", "min_job_minutes=0.5", "--slurm", "array_parallelism=3",
    )  # fmt: skip
    counts: Counter[str] = Counter()
    watching: subprocess.Popen[str] | None = None

    def start() -> None:
        nonlocal watching
        if watching is None or watching.poll() is not None:
            watching = background(*run)

    def requeue() -> None:
        cluster.run("scontrol", "requeue", chance.choice(queue(cluster, "RUNNING")))

    def scancel() -> None:
        cluster.run("scancel", chance.choice(queue(cluster, "RUNNING")))

    def kill_worker() -> None:
        os.kill(chance.choice(workers()), signal.SIGKILL)

    def kill_watcher() -> None:
        assert watching is not None
        watching.kill()
        watching.wait()

    def kill_node() -> None:
        cluster.kill_node("127.0.0.2")
        time.sleep(chance.uniform(0, 5))
        cluster.up()

    accidents = [
        requeue, scancel, kill_worker, cluster.restart_controller, lambda: cluster.restart_controller(gently=True),
        kill_watcher, kill_node,
    ]  # fmt: skip
    names = ["requeue", "scancel", "kill -9 of a worker", "kill -9 of slurmctld", "restart of slurmctld",
             "kill -9 of harness run", "node death"]  # fmt: skip
    start()
    for number in range(CHAOS_EVENTS):
        index = number % len(accidents)
        until(120, "something that runs", lambda: workers() or (watching and watching.poll() is not None))
        time.sleep(chance.uniform(0, 6))
        if not queue(cluster, "RUNNING") or not workers():
            if watching is not None and watching.poll() is not None and not queue(cluster, "PENDING", "RUNNING"):
                break
            continue
        with suppress(ProcessLookupError, AssertionError):
            accidents[index]()
            counts[names[index]] += 1
        cluster.up()
        start()
    kill_watcher()
    harness(*run, seconds=900)
    harness("run", suite, "--results", tmp_path / "here")
    assert_same(tmp_path / "here", results)
    records = [json.loads(path.read_text()) for path in results.glob("small/cells/*.json")]
    assert [record["status"] for record in records] == ["done"] * (CHAOS_SEEDS * CELLS_A_SEED)
    done = lines(results, "done")
    print(  # noqa: T201 (for pytest -s)
        dict(counts),
        f"{len(records)} cells;",
        f"{len(done)} stages and evaluations, done once: {sum(v == 1 for v in done.values())}",
    )
    assert sum(counts.values()) >= min(3, CHAOS_EVENTS), "the suite is too short for this machine: nothing was tested"


DDP = """
architectures:
  NETWORK
benchmarks: DATA
training: {steps: 20, batch_size: 16, micro_batches: 2, optimizer: adam, lr: 1e-3, clip_norm: 1.0}
evaluation: {checks: 2}
methods:
  dense:
  genome: {lr: 0.01}
  random: {density: 0.3}
slurm: {mem: 4G, time: 10, poll_seconds: 1, tasks_per_node: TASKS}
"""


DOUBLE = '''
"""Everything in float64, in which no order of summation matters to nine digits, whatever the processor."""

import torch
from harness import Entry, SparsityMethod, hookimpl

torch.set_default_dtype(torch.float64)


@hookimpl
def harness_register_methods():
    return [Entry("unused", SparsityMethod, "a plugin has to bring something")]
'''


@pytest.mark.parametrize("where", [{"nodes": 1, "tasks": 2}, {"nodes": 2, "tasks": 1}], ids=["one node", "two nodes"])
def test_two_processes_train_as_one(cluster: Any, tmp_path: Path, where: dict[str, int]) -> None:
    text = DDP.replace("NETWORK", "gpt2: {n_layers: 2, width: 32, heads: 2}").replace(
        "DATA", "{python_stdlib: {context: 32}}"
    )
    suite = write(tmp_path, text, tasks=where["tasks"])
    results = tmp_path / "two"
    (tmp_path / "double.py").write_text(DOUBLE)
    run = ("run", suite, "--plugin", tmp_path / "double.py", "--results")
    harness(*run, tmp_path / "one")
    harness(*run, results, "--executor", "slurm", "--slurm", f"nodes={where['nodes']}")
    assert "MASTER_ADDR" not in os.environ
    for kind in ("small/cells/*.json", "small/series/*.json", ".work/stages/*/state.safetensors"):
        names = [path.relative_to(tmp_path / "one") for path in sorted((tmp_path / "one").glob(kind))]
        assert names
        assert [path.relative_to(results) for path in sorted(results.glob(kind))] == names
        for name in names:
            nearly_equal(tmp_path / "one" / name, results / name)


def test_the_process_that_failed_says_why(cluster: Any, tmp_path: Path) -> None:
    plugin = tmp_path / "bad_methods.py"
    plugin.write_text(PLUGIN)
    text = SUITE[: SUITE.index("methods:")] + "methods: {explodes_in_one: }\nslurm: {mem: 4G, tasks_per_node: 2}\n"
    suite = write(tmp_path, text, seeds=1, steps=20)
    run = ("run", suite, "--results", tmp_path / "r", "--plugin", plugin, "--executor", "slurm")
    assert "boom in one of two" in harness(*run, "--slurm", "poll_seconds=1", code=1).stderr
    assert "failed: boom in one of two" in harness("status", "small", "--results", tmp_path / "r").stdout
    (record,) = [json.loads(path.read_text()) for path in tmp_path.glob("r/small/cells/*.json")]
    assert record["failure"]["type"] == "ValueError"
    assert "in after_step" in record["failure"]["traceback"]


def nearly_equal(one: Path, two: Path) -> None:
    """Every weight to nine digits; every score, and every loss, which is rounded in its file, to 1e-6."""
    if one.suffix == ".safetensors":
        states = checkpoint.load(one)["weights"], checkpoint.load(two)["weights"]
        for key, weight in states[0].items():
            assert weight.dtype == torch.float64
            assert torch.allclose(weight, states[1][key], rtol=1e-9, atol=1e-12), (one, key)
        return
    a, b = json.loads(one.read_text()), json.loads(two.read_text())
    if "metrics" in a:
        assert a["density"]["kept"] == b["density"]["kept"]
        for key, metric in a["metrics"].items():
            assert abs(metric["value"] - b["metrics"][key]["value"]) <= 1e-6
    else:
        for row, others in zip(a["loss"], b["loss"], strict=True):
            assert abs(row[2] - others[2]) <= 1.5e-6


def test_a_job_that_slurm_takes_for_running_holds_nobody_up(cluster: Any, tmp_path: Path) -> None:
    """Its work has ended, SLURM does not say so, and another job waits for it: here because its script does not end."""
    text = SUITE.replace(
        "poll_seconds: 1}", """poll_seconds: 1, min_job_minutes: 0, setup: ["trap 'sleep 600' EXIT"]}"""
    )
    suite = write(tmp_path, text, seeds=1, steps=100)
    only = ("--only", "method=genome", "--only", "method=random")
    run = ("run", suite, "--results", tmp_path / "r", "--executor", "slurm", *only)
    harness(*run, "--detach")
    until(60, "the genome", lambda: list((tmp_path / "r").glob("small/cells/*genome*.json")))
    assert queue(cluster, "RUNNING") and queue(cluster, "PENDING")
    harness(*run, seconds=200)  # a new run, to which the genome's job has nothing left to do
    assert {path.name.split(".")[3] for path in (tmp_path / "r").glob("small/cells/*.json")} == {"genome", "random"}
