"""kill -9 of the whole process tree at random moments: the results are those of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

SUITE = """
architectures:
  skip_mlp: {hidden: [48, 48]}
benchmarks: digits
seeds: 2
training: {steps: 2000, batch_size: 64, optimizer: adam, lr: 1e-3}
methods:
  dense:
  genome: {cost_weight: 0.03, temperature_end: 10, lr: 3e-3}
  random: {density: {match: genome, by: per_layer}}
  magnitude: {density: [0.5, 0.1], recovery_steps: 500}
  connectome: {generations: 2, outer_steps: 600}
"""
KILLS = int(os.environ.get("HARNESS_KILLS", "10"))


def command(suite: Path, results: Path) -> list[str]:
    return [
        sys.executable, "-m", "harness", "run", str(suite), "--results", str(results), "--checkpoint-minutes", "0.002"
    ]  # fmt: skip


def newer(path: Path, moment: float) -> bool:
    try:
        return path.stat().st_mtime > moment
    except FileNotFoundError:  # replaced by the next one
        return False


def descendants(pid: int) -> list[int]:
    """All processes below ``pid``, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, left = [], [pid]
    while left:
        for child in children.get(left.pop(), []):
            found.append(child)
            left.append(child)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the process tree in /proc")
def test_killed_runs_end_with_the_results_of_an_undisturbed_one(
    assert_same: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    suite = tmp_path / "kill.yaml"
    suite.write_text(SUITE)
    subprocess.run(command(suite, tmp_path / "calm"), check=True, capture_output=True, timeout=600)
    moments = random.Random(os.environ.get("HARNESS_KILL_SEED", "1"))
    stages = tmp_path / "killed" / ".work" / "stages"
    killed = in_training = 0
    while killed < KILLS:
        process = subprocess.Popen(
            command(suite, tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if killed % 3:  # two of three die soon after a checkpoint, the third at any moment
            began = time.time()
            while process.poll() is None and not any(newer(path, began) for path in stages.glob("*/checkpoint-*")):
                time.sleep(0.02)
            time.sleep(moments.uniform(0, 0.7))
        else:
            time.sleep(moments.uniform(0.1, 8))
        if process.poll() is not None:
            assert process.returncode == 0
            break  # done before the last kill
        victims = [process.pid, *descendants(process.pid)]
        moments.shuffle(victims)
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        killed += 1
        in_training += any(stages.glob("*/checkpoint-*"))
    final = subprocess.run(command(suite, tmp_path / "killed"), capture_output=True, text=True, timeout=600)
    assert final.returncode == 0, final.stderr
    assert_same(tmp_path / "calm", tmp_path / "killed")
    assert in_training >= min(3, KILLS), "the suite is too short for this machine: nothing was tested"
