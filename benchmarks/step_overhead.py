"""What a method adds to a training step: ratios to the dense step, measured side by side.

Printed are medians over rounds of the step time, and of the ratio to the dense step of the same round.

    python benchmarks/step_overhead.py                      # skip MLP 784-48x4-10, batch 128
    python benchmarks/step_overhead.py --network gpt2       # GPT-2 12x768, 4 micro-batches of 1 x 256 tokens
    python benchmarks/step_overhead.py --network gpt2 --micro-batches 1 --only genome
    python benchmarks/step_overhead.py --network gpt2 --micro-batches 1 --sequences 8 --context 1024 --device cuda \\
        --precision bf16 --compile
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter, process_time
from typing import Any

import torch
from checkout import registry
from language_step import SIZES
from timing import Compared, compared, side_by_side

from harness import DataSpec, Finetune, Masks, MethodContext, Train
from harness.core.current_masks import CurrentMasks
from harness.core.densities import DensityBudget, select
from harness.suites.schema import Training
from harness.training.allocator import keep_freed_memory
from harness.training.distributed import Substrate
from harness.training.sampler import Sampler
from harness.training.trainer import Trainer
from harness.training.weights import Weights

STEPS = 10**9
VARIANTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "dense": ("dense", {}),
    "random": ("random", {}),
    "magnitude": ("magnitude", {}),
    "genome": ("genome", {}),
    "genome, T 1 to 10": ("genome", {"temperature_start": 2.0, "temperature_end": 10.0}),
    "genome, hard": ("genome", {"hard": True}),
}


class Examples:
    """Random training examples in the device's memory."""

    def __init__(self, spec: DataSpec, device: str) -> None:
        generator = torch.Generator().manual_seed(0)
        if spec.kind == "language":
            self.inputs = torch.randint(spec.outputs, (spec.examples, *spec.inputs), generator=generator)
            self.targets = self.inputs.roll(-1, 1)
        else:
            self.inputs = torch.randn(spec.examples, *spec.inputs, generator=generator)
            self.targets = torch.randint(spec.outputs, (spec.examples,), generator=generator)
        self.inputs, self.targets = self.inputs.to(device), self.targets.to(device)

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        indices = indices.to(self.inputs.device)
        return self.inputs[indices], self.targets[indices]


def trainer(name: str, options: dict[str, Any], arguments: argparse.Namespace) -> Trainer:
    """A trainer of one method, ready to step; static methods hold a mask of ``arguments.density``."""
    plugins, device = registry(), torch.device(arguments.device)
    common = {"steps": 1, "precision": arguments.precision, "compile": arguments.compile}
    torch.manual_seed(0)
    if arguments.network == "gpt2":
        spec = DataSpec("language", (arguments.context,), 50257, 64, arguments.context)
        layers, width, heads = SIZES[arguments.size]
        kind, settings = "gpt2", {"n_layers": layers, "width": width, "heads": heads, "attn_out_bias": False}
        micro_batches = arguments.micro_batches
        training = Training(
            batch_size=micro_batches * arguments.sequences,
            micro_batches=micro_batches,
            weight_decay=0.1,
            clip_norm=1.0,
            **common,
        )
        roles = ("attn_out", "ffn_up")
    else:
        spec = DataSpec("classification", (1, 28, 28), 10, 60000)
        kind, settings = "skip_mlp", {"hidden": [48, 48, 48, 48]}
        training = Training(batch_size=128, optimizer="adam", **common)
        roles = ()
    cls = plugins.get("architecture", kind)
    architecture = cls(cls.Options.model_validate(settings), spec)
    module = architecture.build().to(device)
    connections = tuple(c for c in architecture.connections() if c.role in roles or not roles)
    hooks = name == "genome"
    method_cls = plugins.get("method", name)
    method = method_cls(method_cls.Options.model_validate(options))
    masks: Masks | None = None
    if name in ("random", "magnitude"):
        budget = DensityBudget.of(arguments.density, connections)
        scores = {c.name: torch.rand(c.shape) for c in connections}
        masks = select(scores, budget, connections, "uniform").to(device)
    parameters = dict(module.named_parameters())
    bands = 1 + max(band.depth for c in architecture.connections() for band in (c.source, c.target))
    context = MethodContext(
        model=module,
        connections=connections,
        raw={c.parameter: parameters[c.parameter] for c in connections},
        current=CurrentMasks(connections, device, masks),
        budget=None,
        source=None,
        seed=0,
        device=device,
        bands=bands,
    )
    if hooks:
        method.attach(context)
    weights = Weights(module, connections, context.current, method if hooks else None)
    context.raw = weights.raw
    data = Examples(spec, arguments.device)
    phase = Train(STEPS) if hooks else Finetune(STEPS)
    return Trainer(
        weights=weights,
        method=method if hooks else None,
        context=context,
        data=data,
        sampler=Sampler(len(data), 0),
        training=training,
        phase=phase,
        substrate=Substrate(0, 1, device),
    )


def stepping(one: Trainer, steps: int) -> Callable[[], None]:
    """Takes so many steps more; ends by reading the losses, which waits for the device."""
    return lambda: one.run(lambda _: None, until=one.step + steps)


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; what depends on the network is filled in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["skip_mlp", "gpt2"], default="skip_mlp")
    parser.add_argument("--rounds", type=int, default=None, help="default: 40 for skip_mlp, 7 for gpt2")
    parser.add_argument("--steps", type=int, default=None, help="steps timed at once; default: 25, or 1 for gpt2")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no further round after so long")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--size", choices=list(SIZES), default="small", help="of gpt2")
    parser.add_argument("--context", type=int, default=256, help="of gpt2")
    parser.add_argument("--sequences", type=int, default=1, help="in a micro-batch of gpt2")
    parser.add_argument("--micro-batches", type=int, default=4, help="of gpt2's step")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: on a shared machine, 1 thread")
    parser.add_argument(
        "--only", nargs="+", metavar="VARIANT", choices=list(VARIANTS), help="beside dense; fewer disturb less"
    )
    arguments = parser.parse_args(argv)
    small = arguments.network == "skip_mlp"
    arguments.rounds = arguments.rounds or (40 if small else 7)
    arguments.steps = arguments.steps or (25 if small else 1)
    arguments.only = arguments.only or (list(VARIANTS) if small else ["random", "genome"])  # each gpt2 holds 2 GB
    return arguments


def measure(arguments: argparse.Namespace) -> dict[str, Compared]:
    """Seconds of a step, beside dense's."""
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as every worker does
    labels = dict.fromkeys(["dense", *arguments.only])
    trainers = {label: trainer(*VARIANTS[label], arguments) for label in labels}
    ways = {label: stepping(one, arguments.steps) for label, one in trainers.items()}
    clock = process_time if arguments.clock == "cpu" else perf_counter
    times = side_by_side(ways, arguments.rounds, arguments.device, arguments.seconds, clock=clock)
    steps = {label: [value / arguments.steps for value in values] for label, values in times.items()}
    return compared(steps, "dense")


def main() -> None:
    """Print medians."""
    arguments = parsed()
    found = measure(arguments)
    print(f"{arguments.network}, {arguments.threads} threads, {arguments.rounds} rounds of {arguments.steps} steps")
    for label, one in found.items():
        print(
            f"{label:20} {one.seconds * 1e3:9.3f} ms   "
            f"{one.ratio:.3f} x dense (quartiles {one.low:.3f} to {one.high:.3f})"
        )


if __name__ == "__main__":
    main()
