"""What this machine has and runs: cores, GPUs, processes."""

from __future__ import annotations

import os
import socket
import uuid
from functools import cache
from pathlib import Path


def cores() -> int:
    """Cores that this process may use: in a container or a job fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> int:
    """GPUs that workers may use: those that torch sees, 0 where ``$HARNESS_DEVICE`` says cpu. Imports torch."""
    if os.environ.get("HARNESS_DEVICE", "cuda").startswith("cpu"):
        return 0
    import torch

    return torch.cuda.device_count()


@cache
def machine() -> str:
    """Names this machine since it was started, and the container: where process numbers mean the same."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return f"{socket.gethostname()}/{uuid.getnode()}"


def started(pid: int) -> str | None:
    """When a process of this machine began, in a form of its own; None if there is none, or only a dead one's entry.

    A number that was given to another process since has another beginning.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except OSError:
        if Path("/proc/self").is_dir():
            return None
    try:  # another operating system
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "alive"
