"""``harness doctor``: what this machine has, and what is in the way of a run."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click
from tabulate import tabulate

from harness.cli import data_option, plugin_option
from harness.cli.fitting import terminal_width
from harness.errors import HarnessError
from harness.executors.slurm_queue import PROGRAMS
from harness.extras import EXTRAS, explained, installed
from harness.machine import cores, free_disk, nearest_folder
from harness.registry.plugins import KINDS, Registry, load
from harness.storage.data_directory import data_directory
from harness.version import __version__

Health = Literal["ok", "note", "BROKEN"]
_DETAIL = 30
"""Least width of what is said about a line."""


class Check(NamedTuple):
    """One line of the report. ``BROKEN`` means that no suite can run; a ``note`` may matter to some."""

    state: Health
    what: str
    detail: str


@click.command(
    name="doctor",
    short_help="Check this machine: devices, data, plugins, SLURM, disk.",
    epilog="""\b
Examples:
  harness doctor
  harness doctor --results /scratch/results --data /scratch/data""",
)
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, metavar="DIR")
@plugin_option
@data_option
@click.pass_context
def command(ctx: click.Context, results: Path, plugin_files: tuple[Path, ...]) -> None:
    """Check this machine: devices, data, plugins, SLURM, disk. Exit 1 if no suite can run here."""
    registry = load(plugin_files)
    findings = [*_software(), *_extras(), *_torch(), *_plugins(registry)]
    findings += [*_data(registry), *_storage(results), _slurm()]
    taken = sum(max(len(finding[i]) for finding in findings) + len("  ") for i in range(2))
    room = max(_DETAIL, (terminal_width() or taken + 100) - taken)
    click.echo(tabulate(findings, tablefmt="plain", disable_numparse=True, maxcolwidths=[None, None, room]))
    ctx.exit(1 if any(finding.state == "BROKEN" for finding in findings) else 0)


def _software() -> Iterator[Check]:
    yield Check("ok", "harness", __version__)
    yield Check("ok", "python", f"{platform.python_version()} ({sys.executable})")
    yield Check("ok", "system", f"{platform.system()} {platform.release()}, {platform.machine()}")
    packages = ("numpy", "pandas", "pydantic", "pluggy", "safetensors", "scipy")
    missing = [package for package in packages if _version(package) is None]
    found = ", ".join(f"{package} {_version(package)}" for package in packages if package not in missing)
    yield Check("ok", "packages", found)
    if missing:
        yield Check("BROKEN", "packages", f"not installed: {', '.join(missing)}. Install the harness again with pip")


def _extras() -> Iterator[Check]:
    whole = True
    for name, extra in EXTRAS.items():
        lacking = ", ".join(module for module in extra.modules if not installed(module))
        whole = whole and not lacking
        yield Check(
            "note" if lacking else "ok", f"extra {name}", (f"lacks {lacking}: " if lacking else "") + extra.gives
        )
    if not whole:
        yield Check("note", "extras", "pip install 'sparsity-harness[NAME]' adds one")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _torch() -> Iterator[Check]:
    try:
        import torch
    except (ImportError, OSError) as error:
        missing = explained(error, "whatever does more than read results")
        yield Check("BROKEN", "torch", str(missing) if missing else f"cannot be imported: {error}")
        return
    yield Check("ok", "torch", torch.__version__)
    cuda = torch.cuda.is_available()
    for index in range(torch.cuda.device_count() if cuda else 0):
        device = torch.cuda.get_device_properties(index)
        yield Check("ok", f"device cuda:{index}", f"{device.name}, {device.total_memory / 2**30:.0f} GiB")
    if not cuda:
        yield Check("note", "device", "cpu only: no CUDA device is visible to torch")
    yield Check("ok", "cpu", f"{torch.backends.cpu.get_cpu_capability()}, {cores()} cores usable")
    yield Check("ok", "threads", f"torch would use {torch.get_num_threads()}; a suite's training.threads decides")
    yield _bf16(torch, cuda)
    yield Check(
        "ok",
        "determinism",
        f"deterministic algorithms {_on(torch.are_deterministic_algorithms_enabled())}, "
        f"cudnn deterministic {_on(torch.backends.cudnn.deterministic)}, "
        f"cudnn benchmark {_on(torch.backends.cudnn.benchmark)}, "
        f"matmul precision {torch.get_float32_matmul_precision()}, "
        f"CUBLAS_WORKSPACE_CONFIG {os.environ.get('CUBLAS_WORKSPACE_CONFIG', 'not set')}",
    )


def _bf16(torch: Any, cuda: bool) -> Check:
    if cuda:
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return Check("ok" if native else "note", "bf16", "native" if native else "emulated on this GPU: slow")
    return Check("note", "bf16", "works on the cpu, but is fast only where the cpu has bf16 instructions")


def _on(setting: bool) -> str:
    return "on" if setting else "off"


def _plugins(registry: Registry) -> Iterator[Check]:
    for kind in KINDS:
        names = [registered.entry.name for registered in registry.entries(kind)]
        yield Check("ok" if names else "BROKEN", f"{kind}s", ", ".join(names) or "none: install a plugin that has one")
    for failure in registry.failures:
        yield Check("note", "plugin failed", str(failure))


def _data(registry: Registry) -> Iterator[Check]:
    from harness.cli.data import registered_benchmarks, state_of

    if not installed("torch"):
        return
    there: dict[str, list[str]] = {}
    for label, benchmark in registered_benchmarks(registry):
        try:
            state = state_of(benchmark.files())
        except HarnessError as error:
            state = str(error)
        there.setdefault(state, []).append(label)
    for state, labels in there.items():
        hint = " (harness data prepare NAME)" if state == "missing" else ""
        yield Check("note" if state == "missing" else "ok", f"data: {state}", ", ".join(labels) + hint)


def _storage(results: Path) -> Iterator[Check]:
    for what, folder in (("results", results), ("data", data_directory())):
        there = nearest_folder(folder)
        free = free_disk(folder) / 2**30
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            state: Health = "BROKEN" if what == "results" else "note"
            yield Check(state, f"{what} folder", f"{folder}: cannot write: {error.strerror}. Choose one with --{what}")
        else:
            yield Check("ok" if free > 1 else "note", f"{what} folder", f"{folder}: writable, {free:.1f} GiB free")


def _slurm() -> Check:
    tools = {tool: shutil.which(tool) for tool in (*PROGRAMS, "sacct")}
    lacking = [tool for tool, path in tools.items() if path is None]
    if not lacking:
        return Check("ok", "slurm", f"found ({tools['sbatch']})")
    if len(lacking) == len(tools):
        return Check("note", "slurm", "not found: suites run on this machine only")
    return Check("note", "slurm", f"incomplete: {', '.join(lacking)} not in PATH")
