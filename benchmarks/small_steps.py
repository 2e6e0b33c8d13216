"""What a step of a small network costs, and what it would as a CUDA graph, without launching its kernels one by one.

LeNet-300-100 with Adam: the harness's loop, a plain one, and on a GPU the plain one recorded as a graph. A graph holds
still what a method changes between steps, such as masks, so the harness does not train so: this says what that costs.

    python benchmarks/small_steps.py
    python benchmarks/small_steps.py --device cuda --batch 32
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import step_overhead
import torch
from timing import Compared, compared, side_by_side
from torch import Tensor, nn
from torch.nn import functional as F

from harness import DataSpec
from harness.training.allocator import keep_freed_memory

STEPS = 20
"""That are timed at once."""


class Plain:
    """A loop without a harness: one network, one optimizer, batches from the device's memory."""

    def __init__(self, examples: step_overhead.Examples, batch: int, device: str) -> None:
        torch.manual_seed(0)
        layers = [nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)]
        self.network = nn.Sequential(*layers).to(device)
        cuda = device == "cuda"
        self.optimizer = torch.optim.Adam(self.network.parameters(), fused=True, capturable=cuda)
        self.examples, self.batch = examples, batch
        self.inputs, self.targets = examples.batch(torch.arange(batch))
        self.graph: torch.cuda.CUDAGraph | None = None

    def step(self) -> Tensor:
        """Of the batch that lies in ``inputs`` and ``targets``."""
        self.optimizer.zero_grad(set_to_none=self.graph is None)
        loss = F.cross_entropy(self.network(self.inputs), self.targets)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def record(self) -> None:
        """Make the step a graph, after some that warm up on another stream, as torch wants it."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        self.graph = graph

    def run(self) -> None:
        """``STEPS`` steps, each with a batch of its own."""
        for number in range(STEPS):
            inputs, targets = self.examples.batch(torch.arange(number * self.batch, (number + 1) * self.batch))
            self.inputs.copy_(inputs)
            self.targets.copy_(targets)
            if self.graph is None:
                self.step()
            else:
                self.graph.replay()


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=60.0, help="no further round after so long")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    return parser.parse_args(argv)


def measure(arguments: argparse.Namespace) -> dict[str, Compared]:
    """Seconds of a step; ratios to the harness's."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as every worker does
    spec = DataSpec("classification", (1, 28, 28), 10, STEPS * max(arguments.batch, 500))
    examples = step_overhead.Examples(spec, arguments.device)
    options = step_overhead.parsed(["--network", "mlp", "--device", arguments.device])
    one = step_overhead.trainer("dense", {}, False, options, examples=examples)
    assert one is not None
    one.training = one.training.model_copy(update={"batch_size": arguments.batch})
    ways: dict[str, Callable[[], object]] = {"harness": step_overhead.stepping(one, STEPS)}
    ways["plain"] = Plain(examples, arguments.batch, arguments.device).run
    if arguments.device == "cuda":
        recorded = Plain(examples, arguments.batch, arguments.device)
        recorded.record()
        ways["CUDA graph"] = recorded.run
    times = side_by_side(ways, arguments.rounds, arguments.device, arguments.seconds)
    return compared({name: [value / STEPS for value in values] for name, values in times.items()}, "harness")


def main() -> None:
    """Print medians."""
    arguments = parsed()
    for name, one in measure(arguments).items():
        print(f"{name:12} {one.seconds * 1e6:8.1f} us   {one.speed:.2f} times as fast as the harness")


if __name__ == "__main__":
    main()
