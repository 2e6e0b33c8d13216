"""Networks in float64, pruned by what their layers read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness import (
    Architecture,
    Band,
    Connection,
    DataSpec,
    DensityBudget,
    NoOptions,
    Prune,
    SparsityMethod,
    TrainingBudget,
)
from harness.stages.calibration_batches import Batches
from harness.stages.discrete_phases import prune
from harness.stages.network import Network
from harness.testing.methods import TRAINING, build_network

EXAMPLES = 24
"""As many as are looked at: each of them once."""


class Examples:
    """Normal inputs of one shape in float64, whose features have sizes from 0.2 to 5."""

    def __init__(self, *shape: int, classes: int = 4) -> None:
        generator = torch.Generator().manual_seed(5)
        sizes = torch.linspace(0.2, 5, shape[-1], dtype=torch.float64)
        self.inputs = torch.randn(EXAMPLES, *shape, generator=generator, dtype=torch.float64) * sizes
        self.targets = torch.arange(EXAMPLES) % classes

    def __len__(self) -> int:
        return EXAMPLES

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.inputs[indices], self.targets[indices]


def pruned(
    method: SparsityMethod[Any], architecture: Architecture[Any], density: float, examples: Examples
) -> tuple[dict[str, Tensor], Network]:
    """Weights before, and the network after the pruning of a method's program."""
    scope = tuple(c for c in architecture.connections() if c.default)
    network = build_network(method, architecture, "default", DensityBudget.of(density, scope), None)
    network.module.double()
    before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    (phase,) = [p for p in method.program(TrainingBudget(0, 1, density)) if isinstance(p, Prune)]
    prune(network, phase, Batches(network, lambda: examples, TRAINING, seed=0))
    return before, network


class Transposed(nn.Module):
    """A linear layer with an (in, out) weight."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Mixing(nn.Module):
    """Query, key and value, each a product of one input with the next two; then a linear layer."""

    def __init__(self, layout: str) -> None:
        super().__init__()
        if layout == "apart":
            self.parts = nn.ModuleList(nn.Linear(8, 6, bias=False) for _ in range(3))
        else:
            self.fused = Transposed(8, 18) if layout == "transposed" else nn.Linear(8, 18, bias=False)
        self.layout, self.out = layout, nn.Linear(6, 4)

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        apart = self.layout == "apart"
        q, k, v = [part(inputs) for part in self.parts] if apart else self.fused(inputs).chunk(3, dim=-1)
        logits: Tensor = self.out((q * k).tanh() + v)
        return logits if targets is None else cross_entropy(logits, targets)


def mixing(layout: str) -> Architecture[Any]:
    """The network with three matrices in three modules (``apart``), or in one, as rows (``rows``) or ``transposed``."""

    class MixingArchitecture(Architecture[NoOptions]):
        kinds = ("classification",)

        def build(self) -> nn.Module:
            network = Mixing(layout)
            generator = torch.Generator().manual_seed(2)
            with torch.no_grad():
                parts = [torch.randn(6, 8, generator=generator, device="cpu") for _ in range(3)]
                whole = torch.cat(parts)
                if network.out.weight.is_meta:
                    return network
                network.out.weight.copy_(torch.randn(4, 6, generator=generator))
                network.out.bias.zero_()
                if layout == "apart":
                    for part, values in zip(network.parts, parts, strict=True):
                        part.weight.copy_(values)
                else:
                    network.fused.weight.copy_(whole.T if layout == "transposed" else whole)
            return network

        def connections(self) -> Sequence[Connection]:
            inputs, mixed, classes = Band("in", 8, 0), Band("mixed", 6, 1), Band("out", 4, 2)
            first = [
                Connection(
                    name,
                    f"parts.{i}.weight" if layout == "apart" else "fused.weight",
                    "qkv",
                    inputs,
                    Band(name, 6, 1),
                    (6, 8),
                    rows=None if layout == "apart" else (6 * i, 6 * i + 6),
                    out_axis=int(layout == "transposed"),
                    in_axis=int(layout != "transposed"),
                )
                for i, name in enumerate(("query", "key", "value"))
            ]
            return [*first, Connection("out", "out.weight", "classifier", mixed, classes, (4, 6))]

    return MixingArchitecture(NoOptions(), DataSpec("classification", (8,), 4, EXAMPLES))


class Convolutional(Architecture[NoOptions]):
    """A strided, padded, dilated convolution, and a classifier."""

    kinds = ("classification",)

    def build(self) -> nn.Module:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(4, 5, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))
                self.out = nn.Linear(5, 4)

            def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
                logits: Tensor = self.out(self.conv(inputs).relu().mean((2, 3)))
                return logits if targets is None else cross_entropy(logits, targets)

        return Net()

    def connections(self) -> Sequence[Connection]:
        image, channels, classes = Band("image", 4, 0), Band("channels", 5, 1), Band("classes", 4, 2)
        return [
            Connection("conv", "conv.weight", "conv", image, channels, (5, 4, 3, 2)),
            Connection("out", "out.weight", "classifier", channels, classes, (4, 5)),
        ]


def patches(inputs: Tensor) -> list[Tensor]:
    """What the convolution reads, place by place, (4, 3, 2) each: by loops."""
    padded = torch.zeros(len(inputs), 4, inputs.shape[2] + 2, inputs.shape[3], dtype=inputs.dtype)
    padded[:, :, 1:-1] = inputs
    found = []
    for image in padded:
        for y in range(0, image.shape[1] - 2, 2):
            for x in range(image.shape[2] - 2):
                found.append(torch.stack([image[:, y + i, x : x + 3 : 2] for i in range(3)], dim=1))
    return found
