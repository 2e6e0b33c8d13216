"""What this machine has and runs: cores, GPUs, processes."""

from __future__ import annotations

import os
import re
import shutil
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


def gpu_memory() -> int | None:
    """Bytes of the smallest GPU that torch sees, whoever uses them; None if there is none. Imports torch."""
    import torch

    sizes = [torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count())]
    return min(sizes, default=None)


def free_memory() -> int | None:
    """Bytes that more processes may take: of the machine, and of the container or job that this one runs in.

    None where nobody says so.
    """
    found = [1024 * int(size) for size in re.findall(r"MemAvailable:\s+(\d+)", _text(Path("/proc/meminfo")))]
    mounts = {"0::": ("", "memory.max", "anon"), "memory:": ("memory", "memory.limit_in_bytes", "total_rss")}
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        for key, (mount, limit, used) in mounts.items():
            root = Path("/sys/fs/cgroup") / mount
            folder = root / line.rpartition(":")[2].lstrip("/")
            for one in (folder, *folder.parents) if key in line else ():
                allowed = _text(one / limit).strip()
                taken = re.search(rf"^{used} (\d+)", _text(one / "memory.stat"), re.MULTILINE)
                if allowed.isdigit() and taken:
                    found.append(max(0, int(allowed) - int(taken[1])))
    return min(found, default=None)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def nearest_folder(folder: Path) -> Path:
    """The folder itself, or the closest one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def free_disk(folder: Path) -> int:
    """Bytes that may be written below a folder, which need not exist yet."""
    return shutil.disk_usage(nearest_folder(folder)).free


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
