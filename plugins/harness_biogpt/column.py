"""A layer: several neurons that see the same input and compete for the output."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness_biogpt.dendrites import Dendrites
from harness_biogpt.grouped import xavier_uniform
from harness_biogpt.shape import Shape
from harness_biogpt.soma import Soma


class CorticalColumn(nn.Module):
    """Pre-LayerNorm, the neurons, a projection per neuron weighted by a softmax over neurons, residual.

    ``projection`` is (width, neurons * width): neuron j's matrix is columns j * width to (j + 1) * width.
    The dendrites of neighbours with equally many branches are one module; each neuron has its own soma,
    because stacking those costs the CPU more than it saves.
    """

    def __init__(self, shape: Shape, branches: tuple[int, ...]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(shape.width)
        self.dendrites = nn.ModuleList(Dendrites(shape, len(list(run)), count) for count, run in groupby(branches))
        self.somas = nn.ModuleList(Soma(shape) for _ in branches)
        self.neuron_weights = nn.Parameter(torch.zeros(len(branches)))
        self.projection = xavier_uniform((shape.width, len(branches) * shape.width), shape.width, shape.width)

    @property
    def sizes(self) -> list[list[int]]:
        """Units of each neuron's branches, for each module of ``dendrites``."""
        return [dendrites.sizes for dendrites in self.dendrites if isinstance(dendrites, Dendrites)]

    @torch.no_grad()
    def cut(self, neurons: Tensor, branches: Sequence[Tensor], weights: Tensor) -> None:
        """After units were deleted from its tensors.

        Args:
            neurons: bool (neurons,): those that are left.
            branches: bool (branches,) of each neuron that was there.
            weights: of all these neurons; what the softmax gave to those that are gone must go to no other.
        """
        left, kept = iter(zip(neurons.tolist(), branches, strict=True)), nn.ModuleList()
        for dendrites in self.dendrites:
            assert isinstance(dendrites, Dendrites)
            here = [next(left) for _ in dendrites.sizes]
            dendrites.sizes = [dendrites.units * int(alive.sum()) for stays, alive in here if stays]
            if dendrites.sizes:
                kept.append(dendrites)
        self.dendrites = kept
        self.somas = nn.ModuleList(soma for soma, stays in zip(self.somas, neurons.tolist(), strict=True) if stays)
        if not neurons.all():
            self.neuron_weights = nn.Parameter(weights[neurons.to(weights.device)])
            self.projection.mul_(weights.softmax(0)[neurons.to(weights.device)].sum())

    def forward(self, x: Tensor, trace: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(batch, context, width) -> the same shape, and the next trace if one is given.

        Args:
            x: the residual stream.
            trace: NMDA trace, (batch, stacked), the same as (batch, neurons, width) if nothing was cut out, or None.
        """
        normed = self.norm(x)
        sizes = self.sizes
        stacked = [sum(run) for run in sizes]
        traces = [None] * len(sizes) if trace is None else trace.flatten(1).split_with_sizes(stacked, 1)
        runs = [dendrites(normed, part) for dendrites, part in zip(self.dendrites, traces, strict=True)]
        neurons = [
            neuron for (run, _), size in zip(runs, sizes, strict=True) for neuron in run.split_with_sizes(size, 2)
        ]
        outputs = torch.cat([soma(neuron) for soma, neuron in zip(self.somas, neurons, strict=True)], dim=2)
        weights = self.neuron_weights.softmax(0).view(1, -1, 1)
        projection = self.projection.view(x.shape[2], -1, x.shape[2]) * weights
        x = x + F.linear(outputs, projection.flatten(1))
        return x, None if trace is None else torch.cat([part for _, part in runs], dim=1).view_as(trace)
