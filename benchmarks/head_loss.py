"""Head and cross-entropy, forward and backward: the harness's against ``F.linear`` and ``F.cross_entropy``.

Printed are medians over rounds of the time, and of the plain way's time in the same round divided by it. Memory
is the peak of one step, on a CPU in a fresh process, less what was held before; "logits" is the size of all logits.

    python benchmarks/head_loss.py                                # 2,048 x 128 x 50,257 and others
    python benchmarks/head_loss.py --threads 1 2 --rounds 15
    python benchmarks/head_loss.py --device cuda --precision bf16 --shapes 16384x768x50304
    python benchmarks/head_loss.py --chunks 64 128 256 512 1024   # what the chunk's rows do
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial

import checkout  # noqa: F401
import torch
from timing import Compared, compared, side_by_side
from torch import Tensor
from torch.nn import functional as F

import harness.core.head_loss
from harness import head_loss
from harness.training.allocator import keep_freed_memory

SHAPES = ["2048x128x50257", "1024x192x50257", "256x768x50257", "2048x64x4096", "2048x64x256", "512x64x65"]
Way = Callable[[Tensor, Tensor, Tensor], Tensor]
Tensors = tuple[Tensor, Tensor, Tensor]


def plain(features: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """All logits at once."""
    return F.cross_entropy(F.linear(features, weight).float(), targets)


def ours(features: Tensor, weight: Tensor, targets: Tensor, rows: int | None = None) -> Tensor:
    """The harness's, with its own number of rows or another."""
    device = features.device.type
    before = harness.core.head_loss.ROWS[device]
    harness.core.head_loss.ROWS[device] = rows or before
    try:
        return head_loss(features, weight, targets, len(weight))
    finally:
        harness.core.head_loss.ROWS[device] = before


def torchs(features: Tensor, weight: Tensor, targets: Tensor, rows: int) -> Tensor:
    """What newer versions of torch offer; it leaves autocast to the caller."""
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=rows)
    if torch.is_autocast_enabled(features.device.type):
        features, weight = features.bfloat16(), weight.bfloat16()
    return F.linear_cross_entropy(features, weight, targets, options=options)


def ways(arguments: argparse.Namespace) -> dict[str, Way]:
    """What is compared."""
    found: dict[str, Way] = {"plain": plain, "harness": ours}
    found |= {f"{rows} rows": partial(ours, rows=rows) for rows in arguments.chunks}
    if hasattr(torch.nn, "LinearCrossEntropyOptions") and not arguments.without_torchs:
        rows = harness.core.head_loss.ROWS[arguments.device]
        found[f"torch, {rows}"] = partial(torchs, rows=rows)
    if arguments.compile:
        found = {name: torch.compile(way, dynamic=False) for name, way in found.items()}
    return found


def step(way: Way, tensors: Tensors, arguments: argparse.Namespace) -> None:
    """One forward and backward pass."""
    with torch.autocast(arguments.device, torch.bfloat16, enabled=arguments.precision == "bf16"):
        loss = way(*tensors)
    loss.backward()


def forget(tensors: Tensors) -> None:
    """Drop the gradients."""
    tensors[0].grad = tensors[1].grad = None


def tensors(shape: str, device: str) -> Tensors:
    """Features, weight and targets of "rows x width x vocabulary"."""
    rows, width, vocabulary = map(int, shape.split("x"))
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(rows, width, generator=generator).to(device).requires_grad_()
    weight = (0.02 * torch.randn(vocabulary, width, generator=generator)).to(device).requires_grad_()
    return features, weight, torch.randint(vocabulary, (rows,), generator=generator).to(device)


def peak(name: str, shape: str, arguments: argparse.Namespace) -> float:
    """MiB that one step adds to what is held; on a CPU a fresh process holds it, and prints the number itself."""
    if arguments.device == "cuda":
        way, data = ways(arguments)[name], tensors(shape, "cuda")
        step(way, data, arguments)  # compiles, and takes the libraries' own memory
        forget(data)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step(way, data, arguments)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    command = [sys.executable, __file__, "--peak", name, "--shapes", shape, "--device", arguments.device]
    command += ["--precision", arguments.precision, "--chunks", *map(str, arguments.chunks)]
    command += ["--compile"] if arguments.compile else []
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_peak(arguments: argparse.Namespace) -> float:
    """What :func:`peak` asks a fresh process for."""
    torch.set_num_threads(1)
    data = tensors(arguments.shapes[0], arguments.device)
    way = ways(arguments)[arguments.peak]
    # A step of a few rows first: libraries load and threads start.
    step(
        way, (data[0][:2].detach().requires_grad_(), data[1][:3].detach().requires_grad_(), data[2][:2] % 3), arguments
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step(way, data, arguments)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="ROWSxWIDTHxVOCABULARY")
    parser.add_argument("--chunks", nargs="*", type=int, default=[], help="other numbers of rows, beside the default")
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=math.inf, help="no further round after so long, each shape")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--without-torchs", action="store_true", help="which newer versions have")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def measure(arguments: argparse.Namespace, shape: str, threads: int) -> dict[str, Compared]:
    """Seconds of each way, beside the plain one's."""
    keep_freed_memory()  # as every worker does
    torch.set_num_threads(threads)
    data = tensors(shape, arguments.device)
    steps = {name: partial(step, way, data, arguments) for name, way in ways(arguments).items()}
    forgetting = partial(forget, data)
    times = side_by_side(steps, arguments.rounds, arguments.device, arguments.seconds, forgetting)
    return compared(times, "plain")


def main() -> None:
    """Print a table for every shape and number of threads."""
    arguments = parsed()
    if arguments.peak:
        print(measure_peak(arguments))
        return
    # A process begins with the peak of the one that started it: all are measured before this one grows.
    peaks = {(name, shape): peak(name, shape, arguments) for shape in arguments.shapes for name in ways(arguments)}
    for shape in arguments.shapes:
        rows, _, vocabulary = map(int, shape.split("x"))
        for threads in arguments.threads:
            found = measure(arguments, shape, threads)
            print(f"{shape}, {threads} threads, {arguments.precision}, logits {rows * vocabulary * 4 / 2**20:.0f} MiB")
            for name, one in found.items():
                print(
                    f"  {name:12} {one.seconds * 1e3:9.2f} ms   {one.speed:5.2f} x as fast   "
                    f"{peaks[name, shape]:6.0f} MiB"
                )


if __name__ == "__main__":
    main()
