"""The program ends by the code of its command, with all that it wrote, and after what others registered."""

from __future__ import annotations

import subprocess
import sys

import pytest


def ended(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("arguments", "code"), [("'--version'", 0), ("'run', 'absent.yaml'", 2), ("'absent'", 2)])
def test_the_code_is_that_of_the_command(arguments: str, code: int) -> None:
    done = ended(f"import sys; sys.argv = ['harness', {arguments}]; from harness.__main__ import program; program()")
    assert done.returncode == code
    assert (done.stdout if code == 0 else done.stderr).strip()


def test_what_others_registered_runs_and_what_was_printed_is_written() -> None:
    done = ended(
        "import atexit, sys, threading; sys.argv = ['harness', '--version']\n"
        "from harness.__main__ import program\n"
        "class Slow:\n    def __del__(self): print('taken apart')\n"
        "slow = Slow()\n"
        "threading.Timer(0.2, lambda: print('thread')).start()\n"
        "import harness.cli\n"
        "harness.cli.cli.main = lambda *a, **k: (atexit.register(print, 'registered'), print('x' * 100_000), 3)[-1]\n"
        "program()\n"
    )
    assert done.returncode == 3
    assert done.stdout.split() == ["x" * 100_000, "thread", "registered"]
