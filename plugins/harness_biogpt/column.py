"""A layer: several neurons that see the same input and compete for the output."""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor, nn

from harness_biogpt.dendrites import Dendrites
from harness_biogpt.grouped import xavier_uniform
from harness_biogpt.linear import linear
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
        self.counts = [len(list(run)) for _, run in groupby(branches)]
        self.norm = nn.LayerNorm(shape.width)
        self.dendrites = nn.ModuleList(
            Dendrites(shape, count, b) for count, (b, _) in zip(self.counts, groupby(branches), strict=True)
        )
        self.somas = nn.ModuleList(Soma(shape) for _ in branches)
        self.neuron_weights = nn.Parameter(torch.zeros(len(branches)))
        self.projection = xavier_uniform((shape.width, len(branches) * shape.width), shape.width, shape.width)

    def forward(self, x: Tensor, trace: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(batch, context, width) -> the same shape, and the next trace if one is given.

        Args:
            x: the residual stream.
            trace: NMDA trace, (batch, neurons, width), or None.
        """
        normed = self.norm(x)
        traces = [None] * len(self.counts) if trace is None else torch.split(trace, self.counts, dim=1)
        runs = [dendrites(normed, part) for dendrites, part in zip(self.dendrites, traces, strict=True)]
        neurons = [neuron for branches, _ in runs for neuron in branches.unbind(2)]
        outputs = torch.cat([soma(neuron) for soma, neuron in zip(self.somas, neurons, strict=True)], dim=2)
        weights = self.neuron_weights.softmax(0).view(1, -1, 1)
        projection = self.projection.view(x.shape[2], -1, x.shape[2]) * weights
        x = x + linear(outputs, projection.flatten(1))
        return x, None if trace is None else torch.cat([part for _, part in runs], dim=1)
