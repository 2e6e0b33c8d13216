"""How fast training batches come from memory-mapped shards: tokens a second on one core, warm page cache.

    python benchmarks/token_loader.py                # one shard of 200M tokens
    python benchmarks/token_loader.py --shards 20    # the same tokens in 20 shards

Random order is what training uses, through the core's sampler; sequential order is there to compare. Printed
are medians over rounds, the orders and batch sizes interleaved.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from harness.training.sampler import Sampler
from harness_language.corpora.windows import ShardWindows

CONTEXT = 1024
BATCHES = (32, 512)
ROUNDS = 7
SECONDS = 0.3


def speed(data: ShardWindows, batch: int, order: str, seed: int) -> float:
    """Tokens a second of one round; indices are drawn outside of the clock, a pass at a time as in training."""
    count = len(data)
    stream = Sampler(count, seed).indices(0, count) if order == "random" else torch.arange(count)
    done, start, position = 0, perf_counter(), 0
    while perf_counter() - start < SECONDS:
        if position + batch > count:
            position = 0
        inputs, targets = data.batch(stream[position : position + batch])
        assert inputs.shape == targets.shape
        done += inputs.numel()
        position += batch
    return done / (perf_counter() - start)


def main() -> None:
    """Write shards to a temporary folder, and time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=200_000_000)
    parser.add_argument("--shards", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        generator = np.random.default_rng(0)
        shards = []
        for number in range(arguments.shards):
            path = Path(folder) / f"{number}.bin"
            generator.integers(0, 50257, arguments.tokens // arguments.shards, dtype=np.uint16).tofile(path)
            shards.append(np.memmap(path, np.uint16, "r"))
            shards[-1].max()  # warms the page cache
        data = ShardWindows(shards, CONTEXT, torch.device("cpu"))
        found: dict[tuple[int, str], list[float]] = {}
        for turn in range(ROUNDS):
            for batch in BATCHES:
                for order in ("random", "sequential"):
                    found.setdefault((batch, order), []).append(speed(data, batch, order, turn))
        for (batch, order), speeds in found.items():
            print(f"{batch:4d} x {CONTEXT} {order:10s} {statistics.median(speeds) / 1e6:8.0f} M tokens/s")


if __name__ == "__main__":
    main()
