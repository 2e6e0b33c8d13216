"""How a process that trains or scores gets its memory."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory for the next tensor.

    By default every large tensor is new pages from the kernel, which have to be cleared: half the time of scoring
    with a large vocabulary on a CPU, and of composing masks for a large network.
    """
    if sys.platform == "linux":
        trim_threshold, mmap_max = -1, -4  # names of malloc.h
        with suppress(AttributeError, OSError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(mmap_max, 0)
            mallopt(trim_threshold, 2**31 - 1)
