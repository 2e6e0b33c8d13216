"""The test cluster is what it says: SLURM's own answers, and what /proc knows."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("cluster.py")
EAT = "import time; eaten = b'x' * (300 << 20); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


def python(code: str) -> str:
    return f'srun {sys.executable} -c "{code}"'


def processes_of(folder: Path) -> list[str]:
    """Whose environment names the folder's cluster, without this process's own children."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            if f"SLURM_CONF={folder}/slurm.conf".encode() in variables:
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def refused(*arguments: str, **environment: str) -> tuple[int, str]:
    command = [sys.executable, str(PROGRAM), *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    return done.returncode, done.stderr


def test_a_node_has_what_was_asked_for_and_a_name_that_resolves(cluster):
    for node in cluster.run("sinfo", "-hN", "-pmain", "-o%N").split():
        shown = cluster.run("scontrol", "show", "node", node)
        assert re.search(r"CPUTot=8 ", shown) and re.search(r"Gres=gpu:2\b", shown)
        assert socket.gethostbyname(node) == node


def test_an_ended_job_is_still_known(cluster):
    good, bad = cluster.sbatch("true"), cluster.sbatch("exit 7")
    cluster.wait(good, "COMPLETED")
    cluster.wait(bad, "FAILED NonZeroExitCode")
    assert "ExitCode=7:0" in cluster.run("scontrol", "show", "job", bad)


@pytest.mark.parametrize("options", [["--mem=100"], ["--mem-per-cpu=50", "--cpus-per-task=2"]])
def test_a_job_over_its_memory_ends_as_out_of_memory_and_one_below_does_not(cluster, options):
    enough = cluster.sbatch(python(EAT), "--mem=500")
    job = cluster.sbatch(python(EAT), *options)
    cluster.wait(job, "OUT_OF_MEMORY OutOfMemory", seconds=15)
    assert "ExitCode=0:125" in cluster.run("scontrol", "show", "job", job)
    assert cluster.state(enough).startswith("RUNNING")
    cluster.run("scancel", enough)


def test_jobs_get_gpus_of_their_own_and_never_more_than_there_are(cluster):
    node = "--nodelist=127.0.0.1"
    jobs = [cluster.sbatch("echo gpu $CUDA_VISIBLE_DEVICES; sleep 1", "--gpus-per-node=1", node) for _ in range(3)]
    cluster.wait(jobs[1], "RUNNING")
    assert cluster.state(jobs[2]).startswith("PENDING")
    for job in jobs:
        cluster.wait(job, "COMPLETED")
    seen = [(cluster.folder / f"{job}.out").read_text() for job in jobs]
    assert sorted(seen[:2]) == ["gpu 0\n", "gpu 1\n"]
    with pytest.raises(AssertionError, match="configuration is not available"):
        cluster.sbatch("true", "--gpus-per-node=3")


def test_a_killed_node_loses_its_jobs_and_comes_back(cluster):
    on = "--nodelist=127.0.0.2"
    lost = cluster.sbatch(python(STUBBORN), "--no-requeue", on)
    requeued = cluster.sbatch(python(STUBBORN), on)
    cluster.wait(lost, "RUNNING")
    cluster.wait(requeued, "RUNNING")
    cluster.kill_node("127.0.0.2")
    assert not [line for line in processes_of(cluster.folder) if "SIG_IGN" in line]
    assert "down" in cluster.run("sinfo", "-hN", "-n127.0.0.2", "-o%T")
    cluster.wait(lost, "NODE_FAIL NodeDown")
    cluster.wait(requeued, "PENDING")
    cluster.up()
    cluster.wait(requeued, "RUNNING")
    cluster.run("scancel", requeued)


def test_jobs_survive_the_controller(cluster):
    running, waiting = cluster.sbatch("sleep 60"), cluster.sbatch("true", "--hold")
    cluster.wait(running, "RUNNING")
    cluster.restart_controller(gently=True)
    cluster.restart_controller()
    assert cluster.state(running).startswith("RUNNING")
    assert cluster.state(waiting) == "PENDING JobHeldUser"
    cluster.run("scancel", running, waiting)


@pytest.mark.slow
def test_high_preempts_main(cluster):
    options = ["--exclusive", "--nodelist=127.0.0.1"]
    signalled = "trap 'echo told; sleep 60' USR2; sleep 60 & wait"
    victim = cluster.sbatch(signalled, "--signal=B:USR2@60", "--time=60", *options)
    cluster.wait(victim, "RUNNING")
    started = time.monotonic()
    cluster.wait(cluster.sbatch("true", "--partition=high", *options), "COMPLETED")
    assert time.monotonic() - started > 5, "no grace"
    assert "told" in (cluster.folder / f"{victim}.out").read_text()
    cluster.wait(victim, "PENDING")
    cluster.run("scancel", victim)


def test_down_leaves_no_process_and_up_no_old_job(cluster):
    second = type(cluster)(Path(f"{cluster.folder}-2"), "--nodes=1", "--limits=kill")
    second.up()
    try:
        job = second.sbatch(python(STUBBORN))
        second.wait(job, "RUNNING")
        started = time.monotonic()
        second.down()
        assert time.monotonic() - started < 10
        assert processes_of(second.folder) == []
        assert processes_of(cluster.folder) != []
        second.up()
        assert second.state(job).startswith("CANCELLED")
        over = second.sbatch(python(EAT), "--mem=100")
        second.wait(over, "FAILED NonZeroExitCode", seconds=15)
        assert "exceeded memory limit" in (second.folder / f"{over}.out").read_text()
    finally:
        second.down()
        shutil.rmtree(second.folder)


def test_what_is_missing_is_named_with_the_command():
    code, said = refused("up", "/tmp/never-made", PATH="/nowhere")
    assert code == 3
    assert re.search(r"apt-get install .*\bslurm-client\b", said)


def test_a_folder_that_cannot_work_is_refused():
    assert "60 characters" in refused("up", f"/tmp/{'x' * 60}")[1]
    assert "is not a cluster" in refused("down", "/tmp/never-made")[1]
