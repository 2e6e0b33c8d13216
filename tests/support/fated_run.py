"""Runs of a suite whose methods come to grief (tests/e2e/fates.py), and what must not depend on how they went."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from harness.storage import checkpoint

TESTS = Path(__file__).parents[1]
PLUGINS = ("--plugin", str(TESTS / "harness" / "toy_plugin.py"), "--plugin", str(TESTS / "e2e" / "fates.py"))
SUITE = """
architectures: net
benchmarks: blobs
training: {steps: 60, batch_size: 16, lr: 0.01}
evaluation: {checks: 3}
methods:
  dense:
  magnitude: {density: 0.5, recovery_steps: 20}
  raises: {use: fate, fate: raise, density: 0.5}
  waits: {use: random, density: {match: raises}}
  diverges: {use: dense, training: {lr: 1e30, optimizer: sgd}}
  exits: {use: fate, fate: exit}
  killed: {use: fate, fate: kill}
  long: {use: fate, fate: live, training: {steps: 400}}
"""


class Place:
    """A suite, a results folder, and the folder in which its methods' fates are told."""

    def __init__(self, root: Path, *markers: str) -> None:
        self.root, self.results = root, root / "results"
        root.mkdir(exist_ok=True)
        (root / "s.yaml").write_text(SUITE)
        for marker in markers:
            (root / marker).touch()

    def start(self, *arguments: str, results: Path | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "harness", "run", str(self.root / "s.yaml"), *PLUGINS]
        command += ["--results", str(results or self.results), "--checkpoint-minutes", "0", *arguments]
        environment = {**os.environ, "FATES_FOLDER": str(self.root), "PYTHONWARNINGS": "default", "COLUMNS": "200"}
        environment.pop("HARNESS_DEBUG", None)
        # Under nohup the tests ignore SIGHUP, and what they start would inherit that.
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            return subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
                start_new_session=True,
            )
        finally:
            signal.signal(signal.SIGHUP, before)

    def run(self, *arguments: str, results: Path | None = None) -> tuple[int, str]:
        """Exit code and stderr, which must hold no warning and no traceback."""
        return ended(self.start(*arguments, results=results))

    def records(self) -> dict[str, dict[str, Any]]:
        """By method."""
        found = [json.loads(path.read_text()) for path in (self.results / "s" / "cells").glob("*.json")]
        return {record["method"]["label"]: record for record in found}

    def outcomes(self) -> dict[str, Any]:
        """All that is done and that must not depend on how it went, by method or stage."""
        found: dict[str, Any] = {}
        for label, record in self.records().items():
            if record["status"] == "done":
                spent = {key: record["spent"][key] for key in ("steps", "examples", "tokens", "flops")}
                ignored = dict.fromkeys(("environment", "finished"))
                found[label] = {**record, **ignored, "spent": spent}
                found[f"{label} series"] = json.loads(
                    (self.results / "s" / "series" / f"{record['cell']}.json").read_text()
                )
                for stage in record["stages"]:
                    folder = self.results / ".work" / "stages" / stage
                    state = checkpoint.load(folder / "state.safetensors")
                    del state["spent"]
                    found[stage] = state
                    assert sorted(path.name for path in folder.iterdir()) == [
                        "series.json",
                        "stage.json",
                        "state.safetensors",
                    ]
        return found


def ended(process: subprocess.Popen[str], seconds: float = 240) -> tuple[int, str]:
    try:
        _, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert "Traceback" not in stderr and "Warning" not in stderr, stderr
    return process.returncode, stderr


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def wait_for(condition: Any, process: subprocess.Popen[str], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
