"""A digit that changes in a stage's files: no control of another density, and a word about it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

SUITE = """
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
training: {steps: 20, batch_size: 32}
evaluation: {checks: 1}
methods:
  magnitude: {density: 0.5, recovery_steps: 5}
"""


def run(folder: Path, text: str) -> tuple[str, dict[str, Any]]:
    """What was said, and the records by method."""
    (folder / "s.yaml").write_text(text)
    command = [sys.executable, "-m", "harness", "run", "s.yaml", "--results", "r"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in folder.glob("r/s/cells/*.json")]
    return done.stderr, {record["method"]["label"]: record for record in records}


def test_controls_of_a_changed_stage(tmp_path: Path) -> None:
    said, before = run(tmp_path, SUITE)
    assert "damaged" not in said
    path = tmp_path / "r" / ".work" / "stages" / before["magnitude"]["stages"][-1] / "stage.json"
    text = path.read_text()
    kept = re.search(r'"kept": (\d+)', text)
    assert kept is not None
    path.write_text(text.replace(kept[0], f'"kept": {int(kept[1]) // 10}'))
    said, after = run(tmp_path, SUITE + "  random: {density: {match: magnitude}}\n")
    assert re.search(rf"1 stage to be run again, damaged or of an older version: .*{path.parent.name}", said)
    assert after["random"]["density"]["kept"] == before["magnitude"]["density"]["kept"]
    assert after["magnitude"]["metrics"] == before["magnitude"]["metrics"]
    assert path.read_text() != text and json.loads(path.read_text())["densities"] == json.loads(text)["densities"]
