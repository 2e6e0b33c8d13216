"""A network small enough to check methods on, by hand if need be."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.core.architecture import Architecture, NoOptions
from harness.core.connections import Band, Connection
from harness.core.data import DataSpec
from harness.core.units import UnitGroup, UnitMember


class ToyArchitecture(Architecture[NoOptions]):
    """A perceptron with 256 maskable weights in three connections, on which methods are checked.

    Widths but the last are multiples of 8, so that masks of n weights in every 4 or 8 of a row fit.
    """

    kinds = ("classification",)
    widths = (8, 8, 16, 4)

    def build(self) -> nn.Module:
        """A new network."""
        return _ToyNetwork(self.widths)

    def connections(self) -> Sequence[Connection]:
        """One per layer."""
        bands = [Band(f"band{depth}", size, depth) for depth, size in enumerate(self.widths)]
        return [
            Connection(
                name=f"layer{i}",
                parameter=f"layers.{i}.weight",
                role="dense" if i < len(bands) - 2 else "classifier",
                source=bands[i],
                target=bands[i + 1],
                shape=(bands[i + 1].size, bands[i].size),
            )
            for i in range(len(bands) - 1)
        ]

    def units(self) -> Sequence[UnitGroup]:
        """The neurons of both hidden layers."""
        return [
            UnitGroup(
                name=f"band{i + 1}",
                kind="neuron",
                count=self.widths[i + 1],
                members=(
                    UnitMember(f"layers.{i}.weight", 0, "in"),
                    UnitMember(f"layers.{i}.bias", 0, "own"),
                    UnitMember(f"layers.{i + 1}.weight", 1, "out"),
                ),
            )
            for i in range(2)
        ]


class ToyData:
    """The same examples every time, of a benchmark's shape: normal inputs and numbers, uniform classes and frames."""

    def __init__(self, spec: DataSpec) -> None:
        generator = torch.Generator().manual_seed(0)
        if spec.kind == "video":
            frames = torch.rand(spec.examples, spec.inputs[0] + 1, *spec.inputs[1:], generator=generator)
            self._inputs, self._targets = frames[:, :-1], frames[:, -1]
            return
        self._inputs = torch.randn(spec.examples, *spec.inputs, generator=generator)
        if spec.real_targets:
            self._targets = torch.randn(spec.examples, *spec.targets, generator=generator)
        else:
            self._targets = torch.randint(spec.outputs, (spec.examples,), generator=generator)

    def __len__(self) -> int:
        return len(self._inputs)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The examples ``indices``."""
        return self._inputs[indices], self._targets[indices]


class _ToyNetwork(nn.Module):
    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        x = inputs.flatten(1)
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        logits: Tensor = self.layers[-1](x)
        return logits if targets is None else functional.cross_entropy(logits, targets)
