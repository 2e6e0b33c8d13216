"""Cells of a small GPT-2, trained the way that ``harness run`` trains them; for gpu.py.

python benchmarks/gpu_cells.py SUITE FOLDER DEVICE      # all cells, with a checkpoint every 20 steps
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import torch
import yaml
from checkout import registry
from torch import Tensor

from harness import Masks
from harness.stages.graph import compile_graph
from harness.stages.runner import StageRunner
from harness.stages.store import StageStore
from harness.suites.suite import load_suite
from harness.training.distributed import Substrate
from harness.training.trainer import StepReport

TOKENS = Path(__file__).with_name("gpu_tokens.py")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cell's program left.

    Attributes:
        losses: means over 20 steps, and the validation losses.
        masks: None where nothing was masked.
        kept: weights that its masks keep, of ``size``.
        weights: the final ones, on the CPU.
    """

    losses: list[float]
    masks: Masks | None
    kept: int
    size: int
    weights: dict[str, Tensor]

    def loss_difference(self, other: Outcome) -> float:
        """The largest along the two curves; NaN is never small."""
        pairs = zip(self.losses, other.losses, strict=True)
        return max(abs(a - b) if a == a and b == b else inf for a, b in pairs)

    def weight_difference(self, other: Outcome) -> float:
        """The largest of all weights."""
        return max(float((w - other.weights[name]).abs().max()) for name, w in self.weights.items())

    def overlap(self, other: Outcome) -> float:
        """Weights that both keep, as a fraction of those that either does."""
        if self.masks is None or other.masks is None:
            return float(self.masks is other.masks)
        both = sum(int((mask & other.masks[name]).sum()) for name, mask in self.masks.items())
        return both / max(1, self.kept + other.kept - both)

    def equals(self, other: Outcome) -> bool:
        """To the last bit."""
        masks = [None if one.masks is None else one.masks.digest() for one in (self, other)]
        same = all(torch.equal(w, other.weights[name]) for name, w in self.weights.items())
        return same and self.losses == other.losses and masks[0] == masks[1]


def written(
    path: Path,
    network: Mapping[str, Any],
    data: Mapping[str, Any],
    training: Mapping[str, Any],
    methods: Mapping[str, Any],
) -> Path:
    """A suite of one network."""
    content = {
        "architectures": {"gpt2": dict(network)},
        "benchmarks": {"gpu_tokens": dict(data)},
        "training": dict(training),
        "evaluation": {"checks": 1},
        "methods": dict(methods),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def train(
    suite: Path,
    folder: Path,
    device: torch.device,
    report: Callable[[StepReport], None] = lambda _: None,
    checkpoint_seconds: float = inf,
) -> dict[str, Outcome]:
    """Train all cells of a suite, or what is left of them; by method."""
    plugins, store = registry([TOKENS]), StageStore(folder)
    runner = StageRunner(plugins, store, Substrate(0, 1, device), checkpoint_seconds=checkpoint_seconds)
    found = {}
    for planned in compile_graph(load_suite(suite, plugins).cells, plugins).cells:
        for stage in planned.stages:
            runner.run(stage, report)
        found[planned.cell.method] = _outcome(store, planned.stages[-1].hash)
    return found


def _outcome(store: StageStore, stage: str) -> Outcome:
    state, manifest, series = store.state(stage), store.manifest(stage), store.series(stage)
    assert manifest is not None
    densities = manifest["densities"]
    shapes = {name: tuple(d["shape"]) for name, d in densities.items()}
    losses = [row[2] for row in series["loss"]]
    losses += [row[3]["loss"] for row in series["evaluations"] if "loss" in row[3]]
    return Outcome(
        losses=losses,
        masks=Masks.unpacked(state["masks"], shapes) if state["masks"] is not None else None,
        kept=sum(d["kept"] for d in densities.values()),
        size=sum(d["size"] for d in densities.values()),
        weights={name: tensor.cpu() for name, tensor in state["weights"].items()},
    )


def main(argv: Sequence[str]) -> None:
    """What the kill test starts."""
    suite, folder, device = argv
    train(Path(suite), Path(folder), torch.device(device), checkpoint_seconds=0)


if __name__ == "__main__":
    main(sys.argv[1:])
