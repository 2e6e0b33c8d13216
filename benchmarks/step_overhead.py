"""What a method adds to a training step: ratios to the dense step, measured side by side.

Printed are medians over rounds of the step time, and of the ratio to the dense step of the same round. Every registered
method that takes part in training is timed in the middle of one, with its default options, right after its masks have
changed; one that may choose its density, once so and once at ``--density``. Steps are those between changes, and a
change has a time of its own (hooks, and the harness holding new masks). Only where a method changes masks at
every step is it in the step's time as well. All variants are in memory at once, of gpt2 some 3 GB each: name a few with
--only.

    python benchmarks/step_overhead.py                      # skip MLP 784-48x4-10, batch 128
    python benchmarks/step_overhead.py --network mlp        # LeNet-300-100, batch 128
    python benchmarks/step_overhead.py --network cifar_mlp  # skip MLP 3072-128x4-10, batch 128
    python benchmarks/step_overhead.py --network band_cnn --steps 1
    python benchmarks/step_overhead.py --network gpt2       # GPT-2 12x768, 4 micro-batches of 1 x 256 tokens
    python benchmarks/step_overhead.py --network gpt2 --micro-batches 1 --only genome
    python benchmarks/step_overhead.py --network gpt2 --micro-batches 1 --sequences 8 --context 1024 --device cuda \\
        --precision bf16 --compile
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter, process_time
from typing import Any

import torch
from checkout import registry
from language_step import SIZES
from timing import Compared, compared, side_by_side

from harness import DataSpec, Finetune, Masks, MethodContext, SparsityMethod, Train, TrainingBudget
from harness.core.current_masks import CurrentMasks
from harness.core.densities import DensityBudget, select
from harness.suites.schema import Training
from harness.training.allocator import keep_freed_memory
from harness.training.distributed import Substrate
from harness.training.sampler import Sampler
from harness.training.trainer import Trainer
from harness.training.weights import Weights

STEPS = 10**9
MIDDLE = STEPS // 2
"""Step at which or before which masks change: a multiple of every interval."""
BETWEEN = 97
"""Steps that can be timed at once before the next change."""
PICTURES: Mapping[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "skip_mlp": ("skip_mlp", {"hidden": [48] * 4}, (1, 28, 28)),
    "mlp": ("mlp", {"hidden": [300, 100]}, (1, 28, 28)),
    "cifar_mlp": ("skip_mlp", {"hidden": [128] * 4}, (3, 32, 32)),
    "band_cnn": ("band_cnn", {}, (3, 32, 32)),
}
"""Networks that classify pictures: architecture, its options, and the shape of a picture."""
VARIANTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "genome, T 1 to 10": ("genome", {"temperature_start": 2.0, "temperature_end": 10.0}),
    "genome, hard": ("genome", {"hard": True}),
}
"""Beside every method with its defaults."""
GIVEN = ", at a density"
"""Ends the label of a method that may choose its density where it is given one."""
HELD = "random"
"""The method that stands for all that hold masks without taking part in training."""


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


def variants() -> dict[str, tuple[str, dict[str, Any]]]:
    """Label -> method and options: ``dense``, masks that are held, and methods whose hooks run while training."""
    found: dict[str, tuple[str, dict[str, Any]]] = {"dense": ("dense", {}), HELD: (HELD, {})}
    plugins = registry()
    for name in (registered.entry.name for registered in plugins.entries("method")):
        method = plugins.get("method", name)
        given = any(field.is_required() for field in method.Options.model_fields.values())
        given |= method.takes_source == "required" or method.adapt is not SparsityMethod.adapt  # or another network
        if not given and phase_of(method(method.Options())) is not None:
            found[name] = (name, {})
            if chooses(method):
                found[name + GIVEN] = (name, {})
    return found | {label: (name, options) for label, (name, options) in VARIANTS.items() if name in found}


def chooses(method: type[SparsityMethod[Any]]) -> bool:
    """Whether a method may be left to choose its density while it trains."""
    return method.takes_density == "optional" and method.mode == "composed"


def phase_of(method: SparsityMethod[Any]) -> Train | None:
    """The last training in which a method takes part."""
    program = method.program(TrainingBudget(STEPS, 1, 0.5))
    return next((phase for phase in reversed(program) if isinstance(phase, Train) and phase.hooks), None)


def trainer(
    name: str,
    options: dict[str, Any],
    given: bool,
    arguments: argparse.Namespace,
    seed: int = 0,
    examples: Examples | None = None,
) -> Trainer | None:
    """A trainer of one method, projected ones with random masks of ``arguments.density``; None if it cannot work.

    ``given``: a method that may choose its density gets that one too. ``examples``: new ones if there are none.
    """
    plugins, device = registry(), torch.device(arguments.device)
    common = {"steps": 1, "precision": arguments.precision, "compile": arguments.compile}
    torch.manual_seed(seed)
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
        kind, settings, shape = PICTURES[arguments.network]
        spec = DataSpec("classification", shape, 10, 60000 if kind != "band_cnn" else 6000)
        training = Training(batch_size=128, optimizer="adam", **common)
        roles = ()
    cls = plugins.get("architecture", kind)
    architecture = cls(cls.Options.model_validate(settings), spec)
    module = architecture.build().to(device)
    connections = tuple(c for c in architecture.connections() if c.role in roles or not roles)
    method_cls = plugins.get("method", name)
    method = method_cls(method_cls.Options.model_validate(options))
    if method.unsupported(architecture, connections) is not None:
        return None
    phase = phase_of(method)
    own = method.takes_density == "never" or (chooses(method_cls) and not given)
    budget = None if own else DensityBudget.of(arguments.density, connections)
    masks: Masks | None = None
    if budget is not None and method.mode == "projected":
        scores = {c.name: torch.rand(c.shape) for c in connections}
        masks = select(scores, budget, connections, "uniform").to(device)
    parameters = dict(module.named_parameters())
    context = MethodContext(
        model=module,
        connections=connections,
        raw={c.parameter: parameters[c.parameter] for c in connections},
        current=CurrentMasks(connections, device, masks),
        budget=budget,
        source=None,
        seed=seed,
        device=device,
        bands=1 + max(band.depth for c in architecture.connections() for band in (c.source, c.target)),
        units=architecture.units(),
        data=spec,
    )
    if phase is not None:
        method.attach(context)
    weights = Weights(module, connections, context.current, method if phase is not None else None)
    context.raw = weights.inputs
    data = examples or Examples(spec, arguments.device)
    return Trainer(
        weights=weights,
        method=method if phase is not None else None,
        context=context,
        data=data,
        sampler=Sampler(len(data), seed),
        training=training,
        phase=Finetune(STEPS) if phase is None else replace(phase, steps=STEPS, begin=0, of=None),
        substrate=Substrate(0, 1, device),
    )


def stepping(one: Trainer, steps: int) -> Callable[[], None]:
    """Takes so many steps, right after a change of masks; ends by reading the losses, which waits for the device."""

    def step() -> None:
        one.step = MIDDLE + 2
        one.run(lambda _: None, until=one.step + steps)

    return step


def change(one: Trainer, clock: Callable[[], float]) -> float:
    """Seconds of a change of masks: the hooks that choose and the harness that holds; 0 for a method without."""
    method, context, longest = one.method, one.context, 0.0
    if method is None or context is None or type(method).after_step is SparsityMethod.after_step:
        return longest
    gradients = {name: tensor.detach() for name, tensor in one.weights.parameters.items()}  # any will do
    for step in range(MIDDLE - 1, MIDDLE + BETWEEN):
        context.step, context.dense_gradients = step, gradients
        start = clock()
        method.on_gradients(context)
        given = method.after_step(context)
        if given is not None:
            one.weights.hold(context.masks.updated(given, "after_step()"), one.optimizers.reset)
        if context.device.type == "cuda":
            torch.cuda.synchronize()
        longest = max(longest, clock() - start)
        if given is not None:
            break
    return longest


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; what depends on the network is filled in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=[*PICTURES, "gpt2"], default="skip_mlp")
    parser.add_argument("--rounds", type=int, default=None, help="default: 7 for gpt2, else 40")
    parser.add_argument(
        "--steps", type=int, default=None, help=f"timed at once, at most {BETWEEN}; default: 1 for gpt2, else 25"
    )
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
    known = list(variants())
    parser.add_argument("--only", nargs="+", metavar="VARIANT", choices=known, help="beside dense; fewer disturb less")
    arguments = parser.parse_args(argv)
    small = arguments.network != "gpt2"
    arguments.rounds = arguments.rounds or (40 if small else 7)
    arguments.steps = arguments.steps or (25 if small else 1)
    arguments.only = arguments.only or (known if small else [HELD, "genome"])  # each gpt2 holds 2 GB
    return arguments


def measure(arguments: argparse.Namespace) -> tuple[dict[str, Compared], dict[str, float]]:
    """Seconds of a step beside dense's, and of a change of masks."""
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as every worker does
    known, trainers = variants(), {}
    for label in dict.fromkeys(["dense", *arguments.only]):
        if (one := trainer(*known[label], label.endswith(GIVEN), arguments)) is not None:
            trainers[label] = one
    ways = {label: stepping(one, min(BETWEEN, arguments.steps)) for label, one in trainers.items()}
    clock = process_time if arguments.clock == "cpu" else perf_counter
    times = side_by_side(ways, arguments.rounds, arguments.device, arguments.seconds, clock=clock)
    steps = {label: [value / min(BETWEEN, arguments.steps) for value in values] for label, values in times.items()}
    changes = {label: statistics.median(change(one, clock) for _ in range(3)) for label, one in trainers.items()}
    return compared(steps, "dense"), changes


def main() -> None:
    """Print medians."""
    arguments = parsed()
    found, changes = measure(arguments)
    print(f"{arguments.network}, {arguments.threads} threads, {arguments.rounds} rounds of {arguments.steps} steps")
    for label, one in found.items():
        update = f"   a change of masks {changes[label] * 1e3:9.3f} ms" if changes[label] else ""
        print(
            f"{label:20} {one.seconds * 1e3:9.3f} ms   "
            f"{one.ratio:.3f} x dense (quartiles {one.low:.3f} to {one.high:.3f}){update}"
        )


if __name__ == "__main__":
    main()
