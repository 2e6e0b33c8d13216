"""The ``harness`` program, also as ``python -m harness``."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress

from harness.cli import main


def program() -> None:
    """Run the command line of this process, and end at once: taking torch apart costs Python a second."""
    code = 1

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)

    atexit.register(leave)  # what is registered first runs last
    try:
        main()
    except SystemExit as end:
        assert isinstance(end.code, int)
        code = end.code
        raise


if __name__ == "__main__":
    program()
