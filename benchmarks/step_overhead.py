"""What a method adds to a training step: ratios to the dense step, measured side by side.

Each round times every method's step once, in random order, in one process; printed are medians over rounds
of the step time, and of the ratio to the dense step of the same round.

    python benchmarks/step_overhead.py                      # skip MLP 784-48x4-10, batch 128
    python benchmarks/step_overhead.py --network gpt2       # GPT-2 12x768, 4 micro-batches of 1 x 256 tokens
    python benchmarks/step_overhead.py --network gpt2 --micro-batches 1 --only genome
"""

from __future__ import annotations

import argparse
import random
import statistics
from time import perf_counter, process_time
from typing import Any

import torch

from harness import DataSpec, Finetune, Masks, MethodContext, Train
from harness.densities import DensityBudget, select
from harness.memory import keep_freed_memory
from harness.plugins import load
from harness.sampler import Sampler
from harness.substrate import Substrate
from harness.suite_schema import Training
from harness.trainer import Trainer
from harness.weights import Weights

STEPS = 10**9


class Examples:
    """Random training examples in memory."""

    def __init__(self, spec: DataSpec) -> None:
        generator = torch.Generator().manual_seed(0)
        if spec.kind == "language":
            self.inputs = torch.randint(spec.outputs, (spec.examples, *spec.inputs), generator=generator)
            self.targets = self.inputs.roll(-1, 1)
        else:
            self.inputs = torch.randn(spec.examples, *spec.inputs, generator=generator)
            self.targets = torch.randint(spec.outputs, (spec.examples,), generator=generator)

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs[indices], self.targets[indices]


def trainer(name: str, options: dict[str, Any], network: str, density: float, micro_batches: int) -> Trainer:
    """A trainer of one method, ready to step; static methods hold a mask of ``density``.

    GPT-2 takes ``micro_batches`` of 256 tokens a step, the skip MLP one batch of 128 images.
    """
    registry = load()
    torch.manual_seed(0)
    if network == "gpt2":
        spec = DataSpec("language", (256,), 50257, 64, 256)
        kind, settings = "gpt2", {"n_layers": 12, "width": 768, "heads": 12, "attn_out_bias": False}
        training = Training(
            steps=1, batch_size=micro_batches, micro_batches=micro_batches, weight_decay=0.1, clip_norm=1.0
        )
        roles = ("attn_out", "ffn_up")
    else:
        spec = DataSpec("classification", (1, 28, 28), 10, 60000)
        kind, settings = "skip_mlp", {"hidden": [48, 48, 48, 48]}
        training = Training(steps=1, batch_size=128, optimizer="adam")
        roles = ()
    cls = registry.get("architecture", kind)
    architecture = cls(cls.Options.model_validate(settings), spec)
    module = architecture.build()
    connections = tuple(c for c in architecture.connections() if c.role in roles or not roles)
    hooks = name == "genome"
    method_cls = registry.get("method", name)
    method = method_cls(method_cls.Options.model_validate(options))
    masks: Masks | None = None
    if name in ("random", "magnitude"):
        budget = DensityBudget.of(density, connections)
        scores = {c.name: torch.rand(c.shape) for c in connections}
        masks = select(scores, budget, connections, "uniform")
    parameters = dict(module.named_parameters())
    bands = 1 + max(band.depth for c in architecture.connections() for band in (c.source, c.target))
    context = MethodContext(
        model=module,
        connections=connections,
        raw={c.parameter: parameters[c.parameter] for c in connections},
        masks=Masks.full(connections),
        budget=None,
        source=None,
        seed=0,
        device=torch.device("cpu"),
        bands=bands,
    )
    if hooks:
        method.attach(context)
    weights = Weights(module, connections, masks, method if hooks else None)
    context.raw = weights.raw
    data = Examples(spec)
    phase = Train(STEPS) if hooks else Finetune(STEPS)
    return Trainer(
        weights=weights,
        method=method if hooks else None,
        context=context,
        data=data,
        sampler=Sampler(len(data), 0),
        training=training,
        phase=phase,
        substrate=Substrate(0, 1, torch.device("cpu")),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["skip_mlp", "gpt2"], default="skip_mlp")
    parser.add_argument("--rounds", type=int, default=None, help="default: 40 for skip_mlp, 7 for gpt2")
    parser.add_argument("--steps", type=int, default=None, help="steps timed at once; default: 25, or 1 for gpt2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--micro-batches", type=int, default=4, help="of gpt2's step")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: on a shared machine, 1 thread")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="beside dense; fewer of them disturb less")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as every worker does
    clock = process_time if arguments.clock == "cpu" else perf_counter
    small = arguments.network == "skip_mlp"
    rounds, steps = arguments.rounds or (40 if small else 7), arguments.steps or (25 if small else 1)
    variants = {
        "dense": ("dense", {}),
        "random": ("random", {}),
        "magnitude": ("magnitude", {}),
        "genome": ("genome", {}),
        "genome, T 1 to 10": ("genome", {"temperature_start": 2.0, "temperature_end": 10.0}),
        "genome, hard": ("genome", {"hard": True}),
    }
    if arguments.only:
        variants = {label: variants[label] for label in ("dense", *arguments.only)}
    if not small:  # each holds 2 GB
        variants = {label: variants[label] for label in ("dense", "random", "genome") if label in variants}
    trainers = {
        label: trainer(*variant, arguments.network, arguments.density, arguments.micro_batches)
        for label, variant in variants.items()
    }
    times: dict[str, list[float]] = {label: [] for label in trainers}
    for round_number in range(rounds + 1):
        order = list(trainers)
        random.Random(round_number).shuffle(order)
        for label in order:
            one = trainers[label]
            start = clock()
            one.run(lambda _: None, until=one.step + steps)
            if round_number:  # the first round warms up
                times[label].append((clock() - start) / steps)
    print(f"{arguments.network}, {arguments.threads} threads, {rounds} rounds of {steps} steps")
    for label, values in times.items():
        ratios = [value / dense for value, dense in zip(values, times["dense"], strict=True)]
        low, high = statistics.quantiles(ratios, n=4)[0::2]
        print(
            f"{label:20} {statistics.median(values) * 1e3:9.3f} ms   "
            f"{statistics.median(ratios):.3f} x dense (quartiles {low:.3f} to {high:.3f})"
        )


if __name__ == "__main__":
    main()
