"""How many times as fast networks train together as one after another: ``training: {pack: N}``.

Printed are medians over rounds of the time of one network's step, alone and in a pack, and of the ratio of the two in
the same round, with its quartiles. Alone means as a worker does it: many steps of one network, whose weights stay in
the processor's caches.

    python benchmarks/packing.py
    python benchmarks/packing.py --only "16 dense of 32" --rounds 40
    python benchmarks/packing.py --device cuda
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from time import perf_counter, process_time

import step_overhead
import torch
from timing import Compared, compared, side_by_side

from harness import DataSpec
from harness.training.allocator import keep_freed_memory
from harness.training.distributed import random_state
from harness.training.pack import Pack
from harness.training.trainer import Trainer

CASES: dict[str, tuple[str, int, int, str]] = {
    "16 dense of 32": ("mlp", 16, 32, "dense"),
    "8 dense of 128": ("mlp", 8, 128, "dense"),
    "32 dense of 16": ("mlp", 32, 16, "dense"),
    "16 random of 32": ("mlp", 16, 32, "random"),
    "16 genome of 32": ("skip_mlp", 16, 32, "genome"),
    "16 small of 32": ("skip_mlp", 16, 32, "dense"),
}
"""Network (LeNet-300-100, or skip MLP 784-48x4-10), how many of them, size of a batch, and method."""
STEPS = 20
"""That are timed at once."""


def trainers(network: str, count: int, batch: int, method: str, device: str) -> list[Trainer]:
    """``count`` seeds of it, on the same data, in the middle of a training, between changes of masks."""
    arguments = step_overhead.parsed(["--network", network, "--device", device])
    examples = step_overhead.Examples(DataSpec("classification", (1, 28, 28), 10, 10_000), device)
    found = []
    for seed in range(count):
        one = step_overhead.trainer(method, {}, False, arguments, seed, examples)
        assert one is not None
        one.training = one.training.model_copy(update={"batch_size": batch})
        found.append(one)
    return found


def alone(members: Sequence[Trainer]) -> Callable[[], None]:
    """Takes ``STEPS`` steps of two networks, one after the other."""

    def steps() -> None:
        for member in members[:2]:
            member.step = step_overhead.MIDDLE + 2
            member.run(lambda _: None, until=member.step + STEPS)

    return steps


def packed(members: Sequence[Trainer]) -> Callable[[], None]:
    """Takes ``STEPS`` steps of all."""
    for member in members:
        member.step = step_overhead.MIDDLE + 2
        member.random = random_state()
    pack = Pack(members)

    def steps() -> None:
        for member in members:
            member.step, member.losses = step_overhead.MIDDLE + 2, []
            member.goal = member.step + STEPS
        while members[0].step < members[0].goal:
            assert not pack.advance()
        torch.stack(members[0].losses).tolist()

    return steps


def measure(name: str, rounds: int, device: str, clock: Callable[[], float]) -> Compared:
    """Of a case: a packed network's step beside the step of one that trains alone."""
    network, count, batch, method = CASES[name]
    ways = {
        "alone": alone(trainers(network, 2, batch, method, device)),
        "packed": packed(trainers(network, count, batch, method, device)),
    }
    shares = {"alone": 2 * STEPS, "packed": count * STEPS}
    times = side_by_side(ways, rounds, device, clock=clock)
    each = {way: [value / shares[way] for value in values] for way, values in times.items()}
    found = compared(each, "alone")
    print(f"{name:18} alone {found['alone'].seconds * 1e3:7.3f} ms   ", end="")
    return found["packed"]


def main() -> None:
    """Print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="CASE", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as every worker does
    clock = process_time if arguments.device == "cpu" else perf_counter
    for name in arguments.only:
        one = measure(name, arguments.rounds, arguments.device, clock)
        quartiles = f"quartiles {1 / one.high:.2f} to {1 / one.low:.2f}"
        print(f"packed {one.seconds * 1e3:7.3f} ms   {one.speed:.2f} times as fast ({quartiles})", flush=True)


if __name__ == "__main__":
    main()
