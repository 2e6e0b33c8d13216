"""What is told before a run: memory counted without any, and what is too little."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from harness.core.data import DataSpec
from harness.executors import shortage
from harness.executors.cost import Cost
from harness.executors.footprint import training_bytes
from harness.machine import free_disk, free_memory
from harness.suites.schema import Training
from harness.suites.slurm_options import SlurmOptions

SPEC = DataSpec("classification", (64,), 10, examples=100)
GIB = 2**30


class Net(nn.Module):
    """One hidden layer of ``hidden`` units behind 64 inputs."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, hidden), nn.Linear(hidden, 10)

    def forward(self, inputs: Any, targets: Any) -> Any:
        return F.cross_entropy(self.last(F.relu(self.first(inputs))), targets)


class Peeking(Net):
    """Looks at its input's numbers."""

    def forward(self, inputs: Any, targets: Any) -> Any:
        return super().forward(inputs if inputs.sum() > 0 else -inputs, targets)


def needed(module: type[Net] = Net, hidden: int = 32, **training: Any) -> int | None:
    architecture: Any = SimpleNamespace(build=lambda: module(hidden))
    return training_bytes(
        architecture, SPEC, Training(**{"steps": 1, "batch_size": 16, "optimizer": "adam", **training})
    )


def by_hand(batch: int, hidden: int = 32, copies: int = 4) -> int:
    weights = 64 * hidden + hidden + hidden * 10 + 10
    # Inputs of both layers (the second is what ReLU remembers too), log-probabilities, class numbers, a sum of weights.
    return 4 * copies * weights + 4 * batch * (64 + hidden + 10) + 8 * batch + 4


def test_memory_of_a_network_that_predicts_numbers() -> None:
    """Two layers of 64 x 32 and 32 x 1; kept are inputs of both, and of the squared error outputs and targets."""
    spec = DataSpec("regression", (64,), 1, examples=100)

    class Numbers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

        def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return nn.functional.mse_loss(self.layers(inputs), targets)

    architecture: Any = SimpleNamespace(build=Numbers)
    weights = 64 * 32 + 32 + 32 + 1
    found = training_bytes(architecture, spec, Training(steps=1, batch_size=16, optimizer="adam"))
    assert found == 4 * 4 * weights + 4 * 16 * (64 + 32 + 1 + 1)


def test_memory_is_that_of_weights_and_of_what_backward_needs() -> None:
    assert needed() == by_hand(16)
    assert needed(batch_size=64, micro_batches=2) == by_hand(32)
    assert needed(optimizer="sgd") == by_hand(16, copies=3)


def test_counting_takes_no_memory_and_no_random_numbers() -> None:
    before = torch.get_rng_state()
    assert needed(hidden=10**9) == by_hand(16, hidden=10**9) > 10**12
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_that_looks_at_numbers_is_not_counted() -> None:
    assert needed(Peeking) is None


def cost(stages: int = 4, **fields: Any) -> Cost:
    plain = {"tokens": 1, "flops": 1.0, "stage_seconds": {str(i): 1.0 for i in range(stages)}, "disk_bytes": 3.0 * GIB}
    return Cost(**plain, basis="", checkpoint_bytes=1.0 * GIB, **fields)


@pytest.mark.parametrize(
    ("free", "running", "told"),
    [(8, 4, False), (6, 4, True), (6, 2, False), (6, 100, True), (8, 100, False), (2, 1, True)],
)
def test_disk(monkeypatch: pytest.MonkeyPatch, free: int, running: int, told: bool) -> None:
    """3 GiB of stages, and 1 GiB of checkpoints for each of at most 4 that run."""
    monkeypatch.setattr(shortage, "free_disk", lambda folder: free * GIB)
    assert bool(list(shortage.shortage_of_disk(cost(), Path("x"), running))) is told


def memory(monkeypatch: pytest.MonkeyPatch, free: float | None, workers: int, gpus: int = 0, each: float = 2) -> str:
    size = None if free is None else int(free * GIB)
    monkeypatch.setattr(shortage, "free_memory", lambda: size)
    monkeypatch.setattr(shortage, "gpu_memory", lambda: size)
    found = cost(memory={"a": 1, "b": int(each * GIB)} if each else {})
    return "".join(shortage.shortage_of_memory(found, workers, gpus))


def test_memory_of_all_workers_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory(monkeypatch, 5, 2) == "" != memory(monkeypatch, 5, 3)
    told = memory(monkeypatch, 5, 3)
    assert told == "3 workers need at least 6.1 GiB of memory, free are 5.0 GiB: try --workers 2"
    assert "1 worker needs at least 2.0 GiB" in memory(monkeypatch, 1, 1)
    assert "raise training.micro_batches" in memory(monkeypatch, 1, 1)
    assert memory(monkeypatch, 10, 100) == "", "there are only four stages"
    assert memory(monkeypatch, None, 3) == "" == memory(monkeypatch, 0.1, 3, each=0), "unknown"


def test_memory_of_a_gpus_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory(monkeypatch, 3, 4, gpus=4) == ""
    told = memory(monkeypatch, 3, 4, gpus=2)
    assert told == "2 workers of a GPU need at least 4.0 GiB of memory, a GPU has 3.0 GiB: try --workers 2"


def in_jobs(options: dict[str, Any]) -> list[str]:
    cells = [SimpleNamespace(architecture=name, method="m") for name in ("a", "b", "b")]
    plan: Any = SimpleNamespace(jobs=[SimpleNamespace(work=SimpleNamespace(cell=cell)) for cell in cells])
    found = cost(memory={"a": GIB // 10, "b": 2 * GIB})
    return list(shortage.shortage_in_jobs(found, plan, SlurmOptions.model_validate(options)))


def test_memory_that_a_job_asks_for() -> None:
    assert in_jobs({"mem": "2G"}) == ["slurm.mem is 2G, and a job of b takes at least 2.8 GiB"]
    assert len(in_jobs({"mem": "2G", "cells_per_gpu": 8})) == 2
    assert in_jobs({"mem": "3000"}) == [] == in_jobs({"mem": 0}) == in_jobs({}) == in_jobs({"mem": "1M", "gpus": 1})
    assert in_jobs({"mem": "2G", "architectures": {"b": {"mem": "1T"}}}) == []


def test_what_this_machine_has(tmp_path: Path) -> None:
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert 0 < (free_memory() or 0) <= 1024 * int(total.split()[1])
    assert free_disk(tmp_path / "not" / "there") > 0
