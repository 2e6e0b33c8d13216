"""What masks are worth once dead units are cut out and sparse layers run where they are faster.

Every network is masked at random, by single weights and by whole units, to the same density of its maskable weights,
made fast as ``harness export --compact`` does, and timed beside itself with zeros, both traced alike: median ratios
over 15 rounds with their intervals. The second table has single linear layers of 2^20 weights and more with a part of
their units left on both sides: how many times as fast they are, times their density (1 is all that was cut). The
third, on a GPU with sparse tensor cores, has such layers in bfloat16 with two of every four weights.

    python benchmarks/compaction.py                       # mlp, gpt2 and biogpt at 0.5, 0.2, 0.1, 0.05
    python benchmarks/compaction.py --networks mlp --batch 256
    python benchmarks/compaction.py --device cuda --batch 256
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from checkout import registry
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Architecture, DataSpec, make_fast, outermost, side_by_side, unit_masks
from harness.compaction.kernels import choose_kernels
from harness.compaction.program import trace
from harness.compaction.timing import Speed
from harness.core.connections import weights_among
from harness.core.densities import DensityBudget, select

Row = dict[str, Any]

PICTURES = DataSpec("classification", (1, 28, 28), 10, examples=64)
TEXT = DataSpec("language", (64,), 256, examples=64, tokens=64)
NETWORKS: dict[str, tuple[str, dict[str, Any], DataSpec, int]] = {
    "mlp": ("mlp", {"hidden": [300, 100]}, PICTURES, 1),
    "wide mlp": ("mlp", {"hidden": [2048, 2048]}, PICTURES, 1),
    "gpt2": ("gpt2", {"n_layers": 2, "width": 256, "heads": 8}, TEXT, 4),
    "biogpt": ("biogpt", {"n_layers": 2, "width": 192}, TEXT, 4),
}
"""Architecture, options, data, and what the batch is divided by: texts are 64 tokens each."""
LAYERS = ((1024, 1024), (3072, 768), (768, 3072), (4096, 1024))
DENSITIES = (0.5, 0.2, 0.1, 0.05)


def masked(architecture: Architecture[Any], density: float, by: str) -> nn.Module:
    """A network with initial weights of which a random part is zero, in its default scope."""
    torch.manual_seed(0)
    module = architecture.build().eval().requires_grad_(False)
    scope = [c for c in weights_among(architecture.connections()) if c.default]
    generator = torch.Generator().manual_seed(1)
    if by == "weights":
        scores = {c.name: torch.rand(c.shape, generator=generator) for c in scope}
        masks: Any = select(scores, DensityBudget.of(density, scope), scope, "uniform")
    else:
        groups = [group for group in outermost(architecture.units()) if group.removable]
        order = {group.name: torch.rand(group.count, generator=generator).argsort().argsort() for group in groups}
        total, low, high = sum(c.size for c in scope), 0.0, 1.0
        for _ in range(20):  # the share of units that leaves so many weights
            share = (low + high) / 2
            kept = {g.name: order[g.name] < max(1, round(share * g.count)) for g in groups}
            masks = unit_masks(scope, architecture.units(), kept)
            left = sum(int(mask.sum()) for mask in masks.values()) / total
            low, high = (share, high) if left < density else (low, share)
    parameters = dict(module.named_parameters())
    for c in scope:
        c.region(parameters[c.parameter]).mul_(masks[c.name])
    return module


def networks(
    names: Sequence[str], batch: int, device: torch.device, densities: Sequence[float] = DENSITIES
) -> Iterator[Row]:
    """Whole networks beside themselves with zeros."""
    known = registry()
    for name in names:
        plugin, options, data, divisor = NETWORKS[name]
        cls = known.get("architecture", plugin)
        architecture = cls(cls.Options.model_validate(options), data)
        for by in ("weights", "units"):
            for density in densities:
                module = masked(architecture, density, by).to(device)
                fast = make_fast(architecture, module, max(1, batch // divisor))
                one = fast.inputs[:1].clone()
                single = side_by_side(
                    {"whole": partial(fast.whole, one), "fast": partial(fast.program, one)}, "whole", device
                )
                whole = sum(parameter.numel() for parameter in module.parameters())
                left = sum(p.numel() for p in fast.compacted.module.parameters()) / whole
                sparse = sum(layer.kernel != "dense" for layer in fast.layers.values())
                yield {
                    "network": name,
                    "masked by": by,
                    "density": density,
                    "parameters left": f"{left:.2f}",
                    "sparse layers": f"{sparse} of {len(fast.layers)}",
                    "file": f"{fast.bytes / (4 * whole):.2f}",
                    f"x at {batch}": text(fast.speed),
                    "x at 1": text(single["fast"]),
                }


def text(speed: Speed) -> str:
    """The ratio with its interval."""
    return f"{speed.ratio:.2f} [{speed.low:.2f}, {speed.high:.2f}]"


def layers(batch: int, device: torch.device, shares: Sequence[float] = (0.7, 0.5, 0.3, 0.2)) -> Iterator[Row]:
    """Large layers with a part of their units."""
    for out, inside in LAYERS:
        weight, x = torch.randn(out, inside, device=device), torch.randn(batch, inside, device=device)
        for share in shares:
            small = weight[: round(share * out), : round(share * inside)].contiguous()
            part: Tensor = x[:, : small.shape[1]].contiguous()
            ways = {"whole": partial(F.linear, x, weight), "cut": partial(F.linear, part, small)}
            speed = side_by_side(ways, "whole", device)["cut"]
            density = small.numel() / weight.numel()
            yield {
                "layer, out x in": f"{out} x {inside}",
                "units left": share,
                "density": f"{density:.3f}",
                f"x at {batch}": text(speed),
                "times density": f"{speed.ratio * density:.2f}",
            }


def pairs(batch: int, device: torch.device) -> Iterator[Row]:
    """Large layers with two of every four weights, in bfloat16; nothing where there are no sparse tensor cores."""
    if device.type != "cuda":
        return
    for out, inside in LAYERS:
        torch.manual_seed(0)
        module = nn.Linear(inside, out).eval().requires_grad_(False)
        places = torch.rand(out, inside // 4, 4).argsort(-1).argsort(-1).flatten(1)
        module.weight.mul_(places < 2)
        module = module.to(device, torch.bfloat16)
        program = trace(module, DataSpec("classification", (inside,), out, examples=8))
        inputs = torch.randn(batch, inside, device=device, dtype=torch.bfloat16)
        (layer,) = choose_kernels(program, inputs).values()
        if (speed := layer.measured.get("2:4")) is not None:
            expected = module(inputs)
            off = float((program(inputs) - expected).abs().max() / expected.abs().max())
            yield {
                "layer, out x in": f"{out} x {inside}",
                "kernel": layer.kernel,
                f"2:4, x at {batch}": text(speed),
                "off by": round(off, 4),
            }


def table(rows: Iterable[Row]) -> None:
    """Print each row as soon as it is there."""
    for number, row in enumerate(rows):
        if not number:
            print(f"\n| {' | '.join(row)} |\n|{'---|' * len(row)}")
        print(f"| {' | '.join(map(str, row.values()))} |", flush=True)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    with torch.no_grad():
        table(networks(options.networks, options.batch, device))
        table(layers(options.batch, device))
        table(pairs(options.batch, device))


if __name__ == "__main__":
    main()
