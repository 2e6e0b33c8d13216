"""What mirroring and shifting pictures adds to a training step: ratios to the same step on pictures as they are.

Printed are medians over rounds, on random pictures in colour, 128 a batch, one thread, both ways in turn.

    python benchmarks/augmentation.py
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from checkout import registry
from step_overhead import STEPS, stepping
from timing import compared, side_by_side

from harness import DataSpec, Finetune
from harness.suites.schema import Training
from harness.training.allocator import keep_freed_memory
from harness.training.distributed import Substrate
from harness.training.sampler import Sampler
from harness.training.trainer import Trainer
from harness.training.weights import Weights
from harness_benchmarks.augmentation import ShiftedImages
from harness_benchmarks.images import Images

NETWORKS: tuple[tuple[str, dict[str, Any], int, int], ...] = (
    ("skip_mlp", {"hidden": [128, 128, 128, 128]}, 32, 20),
    ("band_cnn", {}, 16, 4),
    ("band_cnn", {}, 32, 2),
)
"""Architecture, its options, pixels of a side, and steps timed at once."""
COUNT = 10_000


def trainer(name: str, options: dict[str, Any], side: int, data: Images) -> Trainer:
    """Of a dense network on the data."""
    spec = DataSpec("classification", (3, side, side), 10, COUNT)
    cls = registry().get("architecture", name)
    torch.manual_seed(0)
    module = cls(cls.Options.model_validate(options), spec).build()
    return Trainer(
        weights=Weights(module, (), None, None),
        method=None,
        context=None,
        data=data,
        sampler=Sampler(COUNT, 0),
        training=Training(batch_size=128, steps=1, optimizer="adam"),
        phase=Finetune(STEPS),
        substrate=Substrate(0, 1, torch.device("cpu")),
    )


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    keep_freed_memory()
    for name, options, side, steps in NETWORKS:
        pixels = torch.randint(0, 256, (COUNT, 3, side, side), dtype=torch.uint8)
        labels, scale, shift = torch.randint(0, 10, (COUNT,)), torch.full((3, 1, 1), 1 / 255), torch.zeros(3, 1, 1)
        ways = {
            label: stepping(trainer(name, options, side, data), steps)
            for label, data in (
                ("as they are", Images(pixels, labels, scale, shift)),
                ("altered", ShiftedImages(pixels, labels, scale, shift, padding=side // 8)),
            )
        }
        found = compared(side_by_side(ways, rounds, "cpu"), "as they are")
        one, seconds = found["altered"], found["as they are"].seconds / steps
        print(
            f"{name:9} {side}x{side} {seconds * 1e3:7.1f} ms a step; altered "
            f"{one.ratio:.3f} x (quartiles {one.low:.3f} to {one.high:.3f})"
        )


if __name__ == "__main__":
    main()
