"""A real SLURM (`cluster.py`) for the tests of this folder, one for each pytest process that runs some of them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("cluster.py")
MISSING = 3  # its exit code where packages are missing
OPTIONS = "HARNESS_TEST_SLURM"  # more options of `cluster.py up`, for instance --accounting


class Cluster:
    """The cluster as a test sees it: SLURM's commands, and the accidents that befall it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.environment: dict[str, str] = {}

    def run(self, *command: str) -> str:
        """What a command prints; a failed one fails the test with what it printed."""
        done = subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True, timeout=120)
        if done.returncode == MISSING and str(PROGRAM) in command:
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, f"{shlex.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def sbatch(self, script: str, *options: str) -> str:
        """Submits a shell script; the job's id. What it prints is in ``<folder>/<id>.out``."""
        return self.run("sbatch", "--parsable", f"--output={self.folder}/%j.out", *options, "--wrap", script)

    def state(self, job: str) -> str:
        """Of a job that may have ended; "STATE Reason"."""
        return self.run("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T %r")

    def wait(self, job: str, state: str, seconds: float = 30) -> None:
        """Until a job's state, or its state and reason, is this one."""
        deadline = time.monotonic() + seconds
        while state not in (now := self.state(job), now.split()[0]):
            assert time.monotonic() < deadline, f"job {job} is {now} after {seconds} s, not {state}"
            time.sleep(0.1)

    def control(self, command: str, *arguments: str) -> str:
        """Runs a command of `cluster.py`."""
        return self.run(sys.executable, str(PROGRAM), command, str(self.folder), *arguments)

    def up(self) -> None:
        """Starts what is dead; drained and dead nodes come back."""
        self.environment = json.loads(self.control("up", *self.options))

    def down(self) -> None:
        self.control("down")

    def kill_node(self, node: str) -> None:
        self.control("kill-node", node)

    def restart_controller(self, gently: bool = False) -> None:
        """With kill -9 unless gently: then it forgets what happened in the last 5 seconds."""
        self.control("restart-controller", *["--gently"] * gently)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes of 8 CPUs and 2 GPUs; the environment points at it, until the session ends."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    cluster = Cluster(folder, *shlex.split(os.environ.get(OPTIONS, "")))
    with pytest.MonkeyPatch.context() as monkeypatch:
        try:
            cluster.up()
            for name, value in cluster.environment.items():
                monkeypatch.setenv(name, value)
            yield cluster
        finally:
            if (folder / "cluster.json").exists():
                cluster.down()
            shutil.rmtree(folder)
