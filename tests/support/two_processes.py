"""A suite trained by two processes and by one, in float64, where sums in another order hardly differ."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from harness.registry.plugins import load
from harness.stages.graph import compile_graph
from harness.stages.runner import StageRunner
from harness.stages.store import StageStore
from harness.suites.suite import load_suite
from harness.training.distributed import Substrate

DEADLOCK = 900
"""Seconds after which processes are taken to wait for each other: no measure of speed, on any machine."""


def two_and_one(folder: Path, suite: Path, plugins: Sequence[Path]) -> list[str]:
    """Train in ``folder``/of2 and ``folder``/of1; the last stage of every cell, which are the same in both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "RANK", "WORLD_SIZE"))}
    environment |= {"HARNESS_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}

    def start(rank: int) -> subprocess.Popen[str]:
        own = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
        arguments = [str(path) for path in (__file__, folder / "of2", suite, *plugins)]
        command = [sys.executable, "-W", "error::FutureWarning", *arguments]
        return subprocess.Popen(
            command, env=environment | own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    processes = [start(0), start(1)]
    threads = torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    try:
        alone = _train(folder / "of1", suite, plugins, Substrate(0, 1, torch.device("cpu")))
        outputs = [process.communicate(timeout=DEADLOCK) for process in processes]  # they import torch first
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)
        for process in processes:
            process.kill()
            process.communicate()
    assert all(process.returncode == 0 for process in processes), outputs
    assert outputs[0][0].split() == alone
    return alone


def _train(work: Path, suite: Path, plugins: Sequence[Path], substrate: Substrate) -> list[str]:
    registry = load(plugins)
    runner = StageRunner(registry, StageStore(work), substrate)
    graph = compile_graph(load_suite(suite, registry).cells, registry)
    for cell in graph.cells:
        for stage in cell.stages:
            runner.run(stage)
    return [cell.stages[-1].hash for cell in graph.cells]


def _main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    substrate = Substrate.detect()
    substrate.start()
    work, suite, *plugins = map(Path, sys.argv[1:])
    stages = _train(work, suite, plugins, substrate)
    if substrate.rank == 0:
        sys.stdout.write(" ".join(stages))
    assert substrate.any(False) is False
    assert substrate.any(substrate.rank == 1) is True
    numbers = torch.full((2, 3), float(substrate.rank)).T
    flags, count = torch.tensor([substrate.rank == 0, False]), torch.tensor(substrate.rank)
    substrate.same([numbers, flags, count])
    assert not numbers.any() and flags.tolist() == [True, False] and count == 0
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    _main()
