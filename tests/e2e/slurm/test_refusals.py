"""What a real SLURM refuses: each of its answers is understood, and its limits are lived with.

Limits of accounts and of qualities of service need its database (slurmdbd, mariadb-server-core); those tests are
skipped where it is not installed, and tests/harness/executors/test_refusals.py has its answers.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.executors.refusal import Refusal

SUITE = """
architectures: {mlp: {hidden: [16]}}
benchmarks: digits
seeds: 6
training: {steps: 20, batch_size: 16}
methods: {dense: }
slurm: {mem: 2G, time: 10, poll_seconds: 1, min_job_minutes: 0, qos: tight}
"""
TIGHT = ["MaxSubmitJobsPerUser=4", "MaxWall=30", "MaxTRESPerJob=cpu=2,gres/gpu=1", "Flags=DenyOnLimit"]


def answer(*options: str) -> str:
    """What sbatch says of a job that it does not take."""
    command = ["sbatch", "--output=/dev/null", *options, "--wrap=true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0, done.stdout
    return done.stderr


@pytest.mark.parametrize(
    "option",
    [
        "--partition=nowhere", "--constraint=a100", "--gpus-per-node=99", "--gpus-per-node=a100:1", "--gres=foo:1",
        "--mem=900000G", "--mem=much", "--ntasks=0", "--nodes=few", "--time=soon", "--nodelist=nowhere",
        "--licenses=matlab:1", "--reservation=ours", "--begin=yesteryear", "--no-such-option",
    ],
)  # fmt: skip
def test_what_no_job_can_have_here_is_refused_for_ever(cluster: Any, option: str) -> None:
    assert Refusal.of(said := answer(option)) is Refusal.NEVER, said


def test_an_array_can_be_too_long(cluster: Any) -> None:
    assert Refusal.of(answer("--array=0-30000")) is Refusal.TOO_LONG


@pytest.fixture(scope="module")
def strict(cluster: Any) -> Iterator[Any]:
    """A second cluster, where a quality of service has limits."""
    folder = Path(tempfile.mkdtemp(prefix="strict-", dir="/tmp"))
    strict = type(cluster)(folder, "--accounting", "--enforce", "--nodes=1")
    with pytest.MonkeyPatch.context() as monkeypatch:
        try:
            strict.up()
            for name, value in strict.environment.items():
                monkeypatch.setenv(name, value)
            user = strict.run("id", "--user", "--name")
            strict.run("sacctmgr", "-i", "add", "qos", "tight", "set", *TIGHT)
            strict.run("sacctmgr", "-i", "add", "account", "lab", "set", "qos=normal,tight")
            strict.run("sacctmgr", "-i", "add", "user", user, "set", "account=lab")
            strict.run("sacctmgr", "-i", "modify", "user", user, "set", "defaultaccount=lab")
            yield strict
        finally:
            if (folder / "cluster.json").exists():
                strict.down()
            shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("options", "limit", "meaning"),
    [
        (["--time=60"], "QOSMaxWallDurationPerJobLimit", Refusal.NEVER),
        (["--time=9", "--cpus-per-task=3"], "QOSMaxCpuPerJobLimit", Refusal.NEVER),
        (["--time=9", "--gpus-per-node=2"], "QOSMaxGRESPerJob", Refusal.NEVER),
        (["--time=9", "--array=0-7"], "QOSMaxSubmitJobPerUserLimit", Refusal.FULL),
    ],
)
def test_a_limit_of_a_quality_of_service_has_a_name(
    strict: Any, options: list[str], limit: str, meaning: Refusal
) -> None:
    said = answer("--qos=tight", *options)
    assert limit in said and "job submit limit, user's size and/or time limits" in said
    assert Refusal.of(said) is meaning


@pytest.mark.parametrize("option", ["--qos=loose", "--account=theirs"])
def test_an_account_that_one_does_not_have_is_refused(strict: Any, option: str) -> None:
    assert Refusal.of(answer(option)) is Refusal.NEVER


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    suite = folder / "small.yaml"
    suite.write_text(SUITE)
    command = [
        sys.executable,
        "-m",
        "harness",
        "run",
        suite,
        "--results",
        folder / "r",
        "--executor",
        "slurm",
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | {"COLUMNS": "400"})


@pytest.mark.slow
def test_more_jobs_than_the_queue_takes_are_all_done(strict: Any, tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "SLURM takes no more jobs now (sbatch: error: QOSMaxSubmitJobPerUserLimit" in done.stderr
    assert "as 4 jobs in 2 arrays" in done.stderr, "three of six, then one"
    records = [json.loads(path.read_text()) for path in tmp_path.glob("r/small/cells/*.json")]
    assert [record["status"] for record in records] == ["done"] * 6


@pytest.mark.slow
@pytest.mark.parametrize("detach", [(), ("--detach",)], ids=["watching", "detached"])
def test_a_job_that_is_too_long_for_its_quality_fails_at_once(
    strict: Any, tmp_path: Path, detach: tuple[str, ...]
) -> None:
    done = run(tmp_path, "--slurm", "time=60", *detach)
    assert done.returncode == 1
    assert done.stderr.count("SLURM refuses the job: sbatch: error: QOSMaxWallDurationPerJobLimit; ") == 12
    assert "6 runs have no result" in done.stderr and "handed in to SLURM" not in done.stderr
