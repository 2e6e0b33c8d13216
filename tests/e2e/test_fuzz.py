"""No input ends a command in a traceback, an internal error or a signal, or takes long: a part of them here.

``make fuzz`` tries them all (``FUZZ=3200``).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.kinds import KINDS

INPUTS = int(os.environ.get("FUZZ", "320"))
"""Of all kinds together."""


@pytest.mark.parametrize("kind", KINDS)
def test_no_input_does_harm(kind: str) -> None:
    count = INPUTS // len(KINDS)
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root / "tests/support"), os.environ.get("PYTHONPATH", "")])
    call = [sys.executable, "-m", "fuzz", kind, "0", str(count)]
    ended = subprocess.run(
        call, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, cwd=root, timeout=300 + 60 * count
    )
    said = ended.stdout.splitlines()
    harm = [line for line in said if line.startswith("HARM")]
    assert not harm, "\n".join(harm[:20])
    assert ended.returncode == 0, f"{said[-1:]} ended with {ended.returncode}: {ended.stderr[-2000:]}"
    assert sum(line.startswith("input ") for line in said) == count
