"""A suite that is tuned, from the outside: trials, choice and reported cells in one run, however it went."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main as command_line

SUITE = """
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
seeds: 2
training: {steps: 60, batch_size: 32, optimizer: adam, lr: 1e-4}
tune: {trials: 4, space: {lr: [1e-4, 1e-3, 1e-2, 3e-2]}, seeds: 2, density: 0.3}
methods:
  dense:
  magnitude: {density: [0.3, 0.1], recovery_steps: 20, space: {recovery_steps: [10, 20]}}
  random: {density: {match: magnitude}, budget: {match: magnitude}}
"""
REPORTED = 2 * (1 + 2 + 2)
TRIALS = 4 * 2 * 3


def command(root: Path, results: str) -> list[str]:
    run = [sys.executable, "-m", "harness", "run", str(root / "s.yaml"), "--results", str(root / results)]
    return [*run, "--workers", "1", "--checkpoint-minutes", "0"]


def main(arguments: list[str]) -> Any:
    """The exit code of a command that runs in this process."""
    with pytest.raises(SystemExit) as ended:
        command_line(arguments)
    return ended.value.code


def plan(results: Path) -> dict[str, Any]:
    return json.loads((results / "s" / "suite.json").read_text())


def times(results: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in results.glob("s/cells/*.json")}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a suite that has run undisturbed; what it said is in ``said``."""
    root = tmp_path_factory.mktemp("tuned")
    (root / "s.yaml").write_text(SUITE)
    done = subprocess.run(command(root, "calm"), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (root / "said").write_text(done.stdout + done.stderr)
    return root


@pytest.mark.slow
def test_one_run_tunes_and_reports(calm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = plan(calm / "calm")
    assert len(found["cells"]) == TRIALS + REPORTED and found["waiting"] == 0
    assert len(times(calm / "calm")) == TRIALS + REPORTED
    said = (calm / "said").read_text()
    assert f"{REPORTED} runs wait for the trials of dense, magnitude and random" in said
    assert "Tuning of main: mlp on digits" in said
    for method in found["tuning"]:
        scores = [
            sum(
                json.loads((calm / f"calm/s/cells/{cell}.json").read_text())["validation"]["accuracy"]["value"]
                for cell in trial["cells"]
            )
            for trial in method["trials"]
        ]
        assert method["chosen"] == 1 + scores.index(max(scores))
        settings = method["trials"][method["chosen"] - 1]["settings"]
        reported = list((calm / "calm/s/cells").glob(f"main.mlp.digits.{method['method']}.*.json"))
        assert len(reported) == (2 if method["method"] == "dense" else 4)
        for path in reported:
            record = json.loads(path.read_text())
            assert record["training"]["lr"] == settings.get("lr", 1e-4)
            assert record["method"]["options"].get("recovery_steps") == settings.get("recovery_steps") or not settings
    kept = {path.name.split(".")[0] for path in (calm / "calm/s/examples").iterdir()}
    assert kept == {"main"}, "results by example are kept of what is reported alone"
    last = {json.loads(path.read_text())["stages"][-1] for path in (calm / "calm/s/cells").glob("main.*")}
    assert {path.stem for path in (calm / "calm/s/masks").iterdir()} < last
    assert any(method["chosen"] > 1 for method in found["tuning"]), "nothing was learnt from tuning"
    assert main(["status", "s", "--results", str(calm / "calm")]) == 0
    assert f"{TRIALS + REPORTED} done" in capsys.readouterr().out


@pytest.mark.slow
def test_a_second_run_does_nothing(calm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, known = times(calm / "calm"), plan(calm / "calm")
    assert main(["run", str(calm / "s.yaml"), "--results", str(calm / "calm")]) == 0
    assert f"{TRIALS + REPORTED} runs, {TRIALS + REPORTED} finished, 0 to do" in capsys.readouterr().err
    assert times(calm / "calm") == before
    assert {**plan(calm / "calm"), "options": []} == {**known, "options": []}
    assert main(["verify", "--results", str(calm / "calm")]) == 0


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kills a process group")
def test_a_run_that_was_killed_twice_chooses_the_same(calm: Path, assert_same: Callable[[Path, Path], None]) -> None:
    results = calm / "killed"
    for cells in (TRIALS // 2, TRIALS + 2):  # while trials run, and while reported cells do
        process = subprocess.Popen(
            command(calm, "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        began = time.monotonic()
        while len(times(results)) < cells and process.poll() is None and time.monotonic() - began < 200:
            time.sleep(0.02)
        assert process.poll() is None, "it was too fast to be killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert len(times(results)) < TRIALS + REPORTED
    done = subprocess.run(command(calm, "killed"), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert plan(results)["tuning"] == plan(calm / "calm")["tuning"]
    assert_same(calm / "calm", results)


@pytest.mark.slow
def test_a_trial_can_be_reproduced_from_its_record(calm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = next(cell for cell in plan(calm / "calm")["cells"] if cell.startswith("main-trial3.mlp.digits.random"))
    assert main(["reproduce", name, "--results", str(calm / "calm")]) == 0
    assert "Reproduced: everything that the record knows is equal" in capsys.readouterr().out


@pytest.mark.slow
def test_some_cells_take_their_trials_with_them(calm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", str(calm / "s.yaml"), "--results", str(calm / "some"), "--only", "method=dense,seed=1"]
    assert main([*arguments, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "main, 4 trials: mlp on digits" in shown and "main: mlp on digits" in shown
    assert "0 of 8" in shown and "0 of 1" in shown
    assert main([*arguments, "--workers", "1"]) == 0
    names = [name.split(".")[0] + name.split(".")[3] for name in times(calm / "some")]
    assert sorted(names) == sorted(["maindense", *(f"main-trial{n}dense" for n in (1, 1, 2, 2, 3, 3, 4, 4))])
