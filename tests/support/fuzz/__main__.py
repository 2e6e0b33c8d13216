"""``python -m fuzz KIND FIRST COUNT``: inputs of one kind in this process; prints a line for each that does harm.

An input does harm if a command ends by a traceback or with exit code 70, or takes longer than ten seconds
of a processor. What ends the
interpreter shows by the number that was printed last.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fuzz.kinds import KINDS

SECONDS, PATIENCE = 10.0, 60.0
"""Of a processor, and on the clock: other programs may be busy."""
MEMORY = 8 * 2**30


class Slow(BaseException):
    """Longer than allowed."""


def _say(line: str) -> None:
    sys.__stdout__.write(f"{line}\n")
    sys.__stdout__.flush()


def outcome(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and what was printed of one call of the command line."""
    from harness.cli import main

    said = io.TextIOWrapper(io.BytesIO(), encoding="utf8", errors="replace", write_through=True)
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                main(list(arguments))
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 1
    finally:
        os.environ.clear()
        os.environ.update(before)
    said.seek(0)
    return code, said.read()


def harm(arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """What is wrong with how a call ends; None if nothing is."""

    def alarm(*_: object) -> None:
        raise Slow

    signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    faulthandler.dump_traceback_later(2 * PATIENCE, exit=True)
    began = time.process_time()
    try:
        code, said = outcome(arguments, environment)
    except Slow:
        return f"takes longer than {PATIENCE:g} s"
    except BaseException as error:
        return f"raises {type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
    taken = time.process_time() - began
    if taken > SECONDS:
        return f"takes {taken:.0f} s"
    if code not in (0, 1, 2):
        return f"exit code {code}: {said[-400:]}"
    if "Traceback (most recent call last)" in said:
        return f"a traceback: {said[-400:]}"
    if code == 2 and not said.strip():
        return "exit code 2 and no word"
    return f"a control character: {said[:200]!r}" if "\x1b" in said or "\x07" in said else None


def main(kind: str, first: int, count: int) -> None:
    """Try inputs ``first`` to ``first + count`` of a kind."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    import sklearn.datasets  # noqa: F401  (what takes seconds to import is no fault of an input)
    import torch
    import torch.distributed  # noqa: F401

    make = KINDS[kind]
    base = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        for number in range(first, first + count):
            folder = base / str(number)
            folder.mkdir()
            _say(f"input {kind} {number}")
            for call in make(random.Random(f"{kind}/{number}"), folder):
                if problem := harm(call.arguments, {"HARNESS_DATA": str(folder), **call.environment}):
                    _say(f"HARM {kind} {number}: {problem} [{call.about[:300]}]".replace("\n", "\\n"))
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
