"""The process that workers are forked from: what it may have, and that nothing outlives the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are new interpreters elsewhere")

SUITE = """
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
seeds: 2
training: {steps: STEPS, batch_size: 32}
methods: {dense: }
"""


def until(found: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(name) for name in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def server_of(pid: int) -> int | None:
    """The fork server among a process's children."""
    for child in children(pid):
        if b"multiprocessing.forkserver" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    return None


class Run:
    """``harness run`` of two cells on two workers, until its workers have begun."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.stages = folder / "results" / ".work" / "stages"
        (folder / "s.yaml").write_text(SUITE.replace("STEPS", str(steps)))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness", "run", "s.yaml", "--workers", "2", "--checkpoint-minutes", "0.002"],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        until(lambda: list(self.stages.glob("*/checkpoint-*")))
        server = server_of(self.process.pid)
        assert server is not None
        self.server = server
        self.workers = children(server)


@pytest.mark.slow
def test_nothing_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    run = Run(tmp_path, 1_000_000)
    assert len(run.workers) == 2
    run.process.kill()
    run.process.communicate()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (run.server, *run.workers)), 10)


@pytest.mark.slow
def test_a_run_goes_on_when_its_server_dies(tmp_path: Path) -> None:
    run = Run(tmp_path, 20_000)
    os.kill(run.server, signal.SIGKILL)
    said, _ = run.process.communicate(timeout=300)
    assert run.process.returncode == 0, said
    assert "its worker process died" in said
    assert len(list((tmp_path / "results" / "s" / "cells").glob("*.json"))) == 2


@pytest.mark.slow
def test_the_server_has_one_thread_and_only_this_program_s_path(tmp_path: Path) -> None:
    planted = tmp_path / "harness"
    planted.mkdir()
    (planted / "__init__.py").write_text("raise SystemExit('another harness, in the working directory')")
    code = (
        "import os, sys, time\n"
        "from harness.executors.fork_server import workers_context\n"
        "before = dict(os.environ)\n"
        "context = workers_context()\n"
        "assert os.environ == before\n"
        "worker = context.Process(target=time.sleep, args=(0,))\n"
        "worker.start()\n"
        "worker.join()\n"  # forked when the server is ready
        "assert worker.exitcode == 0\n"
        "from multiprocessing import forkserver\n"
        "pid = forkserver._forkserver._forkserver_pid\n"
        "print(len(os.listdir(f'/proc/{pid}/task')), 'libtorch' in open(f'/proc/{pid}/maps').read())\n"
    )
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "True"], done.stderr
