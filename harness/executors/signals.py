"""Signals that reach every process of a group, and what becomes of processes whose parent dies."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from multiprocessing import parent_process

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
"""What a terminal or a cluster sends to every process of a group, and only the parent acts on."""


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, even by kill -9."""
    if sys.platform == "linux":
        death_signal = 1  # PR_SET_PDEATHSIG
        before = os.getppid()
        ctypes.CDLL(None).prctl(death_signal, signal.SIGKILL)
        parent = parent_process()
        # It may have died before we asked. multiprocessing calls the process that asked for a worker its parent, which
        # is not the one that was forked.
        if os.getppid() != before or (parent is not None and not parent.is_alive()):
            os._exit(1)
