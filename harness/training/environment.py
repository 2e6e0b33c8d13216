"""Where a result was made: versions, device, revision."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from harness.version import __version__


@cache
def _static() -> dict[str, Any]:
    packages = {}
    for name in (
        "torch",
        "torchvision",
        "numpy",
        "scikit-learn",
        "safetensors",
        "tiktoken",
        "tokenizers",
        "transformers",
        "lm_eval",
    ):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "harness": __version__,
        "python": platform.python_version(),
        **packages,
        "platform": platform.system(),
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "git": git_revision(),
    }


def git_revision() -> str | None:
    """Revision of the harness's own checkout, with ``+`` if it has uncommitted changes; None outside git."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # installed; a repository further up would be someone else's
        return None
    try:
        revision = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no", "--", "harness", "plugins"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return revision + ("+" if changed else "")


def describe(device: torch.device) -> dict[str, Any]:
    """The environment of a result record."""
    return {
        **_static(),
        "device": device.type,
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        "determinism": "bit-identical on equal machine and threads" if device.type == "cpu" else "not guaranteed",
        "host_cores": os.cpu_count(),
    }


def device_name(device: torch.device) -> str:
    """Name of the GPU, or of the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


@cache
def _processor() -> str:
    """The processor's name, as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "cpu")
