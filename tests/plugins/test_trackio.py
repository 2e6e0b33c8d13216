"""The logger for Trackio, where it is installed; it is outside of the versions that the project is tested with."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.registry.plugins import load
from harness.results.run_log import VARIABLE, choose

Rows = dict[str, list[tuple[int, float]]]


def history(folder: Path, name: str) -> Rows:
    """What the database holds of a run, by metric, but progress."""
    found: Rows = {}
    with sqlite3.connect(folder / "trackio" / "s.db") as database:
        query = "select step, metrics from metrics where run_name = ? order by step, id"
        for step, values in database.execute(query, (name,)):
            for metric, value in json.loads(values).items():
                if not metric.startswith("progress/"):
                    found.setdefault(metric, []).append((step, value))
    return found


def test_a_missing_package_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    monkeypatch.setenv(VARIABLE, "")  # and so what is chosen ends with the test
    with pytest.raises(UserError, match=r"pip install 'sparsity-harness\[trackio\]'"):
        choose(["trackio"], load())


ALONE = """
import os, random, socket, sys
from pathlib import Path
def refuse(self, address):
    raise AssertionError(f"a connection to {address}")
socket.socket.connect = socket.socket.connect_ex = refuse
from harness.core.logger import Logged
from harness_loggers.trackio import Trackio
import torch
folder = Path(sys.argv[1])
for times in range(2):
    logger = Trackio()
    state = random.getstate(), torch.get_rng_state().tolist()
    logger.start(Logged("stage", "s", "a.s0.0123456789", "0" * 64, folder, {"seed": 0, "inner": {"x": [1.0, None]}}, 0))
    for step in range(5 - times):
        logger.scalars(step, {"train/loss": step / 7})
    logger.scalars(3, {"validation/accuracy": 0.25})
    logger.finish()
    assert (random.getstate(), torch.get_rng_state().tolist()) == state
"""


def test_a_run_that_begins_again_replaces_itself_without_a_network_and_a_word(tmp_path: Path) -> None:
    pytest.importorskip("trackio", reason="Trackio is not installed")
    environment = {**os.environ, "TRACKIO_SPACE_ID": "nobody/nothing", "TRACKIO_SERVER_URL": "http://localhost:9"}
    environment.pop("TRACKIO_DIR", None)
    command = [sys.executable, "-c", ALONE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert history(tmp_path, "a.s0.0123456789") == {
        "train/loss": [(step, step / 7) for step in range(4)],
        "validation/accuracy": [(3, 0.25)],
    }


@pytest.mark.slow
def test_a_killed_run_that_goes_on_has_nothing_twice(tmp_path: Path) -> None:
    pytest.importorskip("trackio", reason="Trackio is not installed")
    (tmp_path / "s.yaml").write_text(
        "architectures: {skip_mlp: {hidden: [16, 16]}}\nbenchmarks: digits\n"
        "training: {steps: 1200, batch_size: 16, lr: 0.001}\nmethods: {genome: }\n"
    )
    command = [sys.executable, "-m", "harness", "run", str(tmp_path / "s.yaml"), "--results", str(tmp_path / "r")]
    command += ["--log", "trackio", "--checkpoint-minutes", "0.005", "--workers", "1"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as run:
        end = time.monotonic() + 120
        while not list(tmp_path.glob("r/.work/stages/*/checkpoint-*")) and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        assert run.poll() is None
        os.killpg(run.pid, signal.SIGKILL)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "note:" not in done.stderr, done.stderr
    (path,) = (tmp_path / "r" / "s" / "series").glob("*.json")
    series = json.loads(path.read_text())
    with sqlite3.connect(tmp_path / "r" / "s" / "trackio" / "s.db") as database:
        names = {name for (name,) in database.execute("select distinct run_name from metrics")}
    (stage,) = (name for name in names if name != series["cell"])
    assert history(tmp_path / "r" / "s", stage)["train/loss"] == [(row[1], row[2]) for row in series["loss"]]
    (score,) = history(tmp_path / "r" / "s", series["cell"])["final/test/accuracy"]
    assert 0 < score[1] <= 1
