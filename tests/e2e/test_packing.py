"""``training: {pack: N}`` from the command line: the results of cells that trained alone, also after kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from fated_run import wait_for

from harness.stages.store import StageStore

SUITE = """
name: NAME
architectures: {mlp: {hidden: [24, 16]}}
benchmarks: digits
seeds: 2
training: {steps: 400, batch_size: 16, optimizer: adam, lr: 1e-3PACK}
evaluation: {checks: 4}
methods:
  dense:
  random: {density: [0.5, 0.1]}
  magnitude: {density: 0.2, recovery_steps: 100}
  genome: {lr: 3e-3}
  diverges: {use: dense, training: {lr: 1e30, optimizer: sgd}}
"""


def start(root: Path, name: str, *arguments: str) -> subprocess.Popen[str]:
    path = root / f"{name}.yaml"
    path.write_text(SUITE.replace("NAME", name).replace("PACK", ", pack: 4" if name != "alone" else ""))
    command = [sys.executable, "-m", "harness", "run", str(path), "--results", str(root / name), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finished(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1, said  # one method diverges
    return said


def records(root: Path, name: str) -> dict[tuple[str, float, int], dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (root / name / name / "cells").glob("*.json")]
    return {(row["method"]["label"], (row["density"] or {}).get("requested"), row["seed"]): row for row in found}


@pytest.mark.slow
def test_packed_cells_have_the_results_of_lone_ones(tmp_path: Path) -> None:
    finished(start(tmp_path, "alone"))
    said = finished(start(tmp_path, "packed", "--workers", "1"))
    assert "12 stages may take steps together with others (training.pack)" in said
    hurt = start(tmp_path, "hurt", "--workers", "1", "--checkpoint-minutes", "0")
    for _ in range(2):
        seen = {path.name for path in (tmp_path / "hurt").glob(".work/stages/*/checkpoint-*")}
        wait_for(
            lambda seen=seen: {p.name for p in (tmp_path / "hurt").glob(".work/stages/*/checkpoint-*")} - seen, hurt
        )
        os.killpg(hurt.pid, signal.SIGKILL)
        hurt.communicate()
        time.sleep(0.2)
        hurt = start(tmp_path, "hurt", "--workers", "1", "--checkpoint-minutes", "0")
    finished(hurt)
    lone = records(tmp_path, "alone")
    for name in ("packed", "hurt"):
        rows = records(tmp_path, name)
        assert rows.keys() == lone.keys() and len(rows) == 12
        for key, row in rows.items():
            assert row["status"] == lone[key]["status"] == ("diverged" if key[0] == "diverges" else "done")
            if row["status"] == "done":
                assert row["training"]["pack"] == 4 and "pack" not in lone[key]["training"]
                assert row["metrics"]["loss"]["value"] == pytest.approx(lone[key]["metrics"]["loss"]["value"], rel=1e-4)
        assert (tmp_path / name / name / "leaderboard.md").is_file()
    assert all(
        [one.get("packed", 0) > 1 for one in row["trained_by"]] == [True] * len(row["trained_by"])
        for row in records(tmp_path, "packed").values()
        if row["status"] == "done"
    )
    store = StageStore(tmp_path / "packed" / ".work")
    states = [store.state(path.parent.name) for path in store.work.glob("stages/*/stage.json")]
    assert all(torch.isfinite(tensor).all() for state in states for tensor in state["weights"].values())
