"""kill -9 of the whole process tree at random moments, and a long stop: the results are those of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from fated_run import Place, ended, same, wait_for

from harness.errors import CorruptFile
from harness.storage.checkpoint import load
from harness.storage.leases import EXPIRY

SUITE = """
architectures:
  skip_mlp: {hidden: [48, 48]}
benchmarks: digits
seeds: 2
training: {steps: 2000, batch_size: 64, optimizer: adam, lr: 1e-3}
evaluation: {checks: 100}
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
@pytest.mark.skipif(KILLS < 100, reason="waits for two minutes: make kills")
def test_a_run_that_stands_still_for_two_minutes(undisturbed: Place, tmp_path: Path) -> None:
    """Its leases expire, another run takes over, and it finds that out before it writes anything more."""
    place = Place(tmp_path, "mended", "slow")
    stopped = place.start("--workers", "1", "--only", "method=long")
    wait_for(lambda: list(place.results.glob(".work/stages/*/checkpoint-*")), stopped)
    tree = [stopped.pid, *descendants(stopped.pid)]
    for pid in tree:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    (tmp_path / "slow").unlink()
    code, said = place.run("--workers", "1", "--only", "method=long")
    assert code == 0 and time.monotonic() - began > EXPIRY
    assert "another harness process works on this stage; waiting for it" in said
    theirs = place.outcomes()
    time.sleep(max(0.0, 120 - (time.monotonic() - began)))
    for pid in tree:
        os.kill(pid, signal.SIGCONT)
    code, said = ended(stopped)
    assert code == 0 and "this process stood still for so long that another one took over" in said
    assert (tmp_path / "trained").read_text().count("live ") == 1, "the other went on from the checkpoint"
    assert same(place.outcomes(), theirs)
    assert [key for key in theirs if not same(theirs[key], undisturbed.outcomes()[key])] == []


def masks_of_genomes(stages: Path) -> list[float]:
    """Of each genome in training, the hard densities of its newest checkpoint, summed over its connections."""
    found = {}
    for path in sorted(stages.glob("*/checkpoint-*")):
        with suppress(CorruptFile, FileNotFoundError):  # an older one takes the place of a damaged one
            state = load(path)
            if "genome" in (state["network"]["method"] or {}):
                _, _, densities = state["series"]["densities"][-1]
                found[path.parent] = sum(hard for hard, _ in densities.values())
    return list(found.values())


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the process tree in /proc")
def test_killed_runs_end_with_the_results_of_an_undisturbed_one(
    assert_same: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    suite = tmp_path / "kill.yaml"
    suite.write_text(SUITE)
    subprocess.run(command(suite, tmp_path / "calm"), check=True, capture_output=True, timeout=600)
    moments = random.Random(os.environ.get("HARNESS_KILL_SEED", "1"))
    kills = Counter[str]()

    def until_done(results: Path) -> None:
        """Run it again and again, each time killed, until it is done or all kills are spent; compare."""
        stages = results / ".work" / "stages"
        while kills["all"] < KILLS:
            process = subprocess.Popen(command(suite, results), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if kills["all"] % 3:  # two of three die soon after a checkpoint, the third at any moment
                began = time.time()
                while process.poll() is None and not any(newer(path, began) for path in stages.glob("*/checkpoint-*")):
                    time.sleep(0.02)
                time.sleep(moments.uniform(0, 0.7))
            else:
                time.sleep(moments.uniform(0.1, 8))
            if process.poll() is not None:
                assert process.returncode == 0
                break
            victims = [process.pid, *descendants(process.pid)]
            moments.shuffle(victims)
            for pid in victims:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            kills["all"] += 1
            kills["in a training"] += any(stages.glob("*/checkpoint-*"))
            kills["in a genome's, its masks not empty"] += any(masks_of_genomes(stages))
        final = subprocess.run(command(suite, results), capture_output=True, text=True, timeout=600)
        assert final.returncode == 0, final.stderr
        assert_same(tmp_path / "calm", results)
        kills["runs"] += 1

    while kills["all"] < KILLS:
        until_done(tmp_path / f"killed {kills['runs']}")
    sys.stdout.write(f"kills: {dict(kills)}\n")  # pytest -s shows it
    assert kills["in a training"] >= min(3, KILLS), "the suite is too short for this machine: nothing was tested"
    assert kills["in a genome's, its masks not empty"] >= 0.3 * (KILLS if KILLS >= 100 else 1), kills
