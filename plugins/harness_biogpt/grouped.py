"""Linear maps of several groups at once, as one batched matrix product."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def xavier_uniform(shape: tuple[int, ...], fan_in: int, fan_out: int) -> nn.Parameter:
    """A parameter of uniform numbers within +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16).

    The fans are given because stacked parameters start as their parts would on their own.
    """
    bound = (6.0 / (fan_in + fan_out)) ** 0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


class GroupedLinear(nn.Module):
    """A linear map per group: ``weight`` is (groups * out, in), one group's rows after another's.

    Args:
        groups: number of groups.
        inputs, outputs: units of one group.
        fan_out: the Xavier fan; the fan in is ``inputs``.
    """

    def __init__(self, groups: int, inputs: int, outputs: int, fan_out: int) -> None:
        super().__init__()
        self.weight = xavier_uniform((groups * outputs, inputs), inputs, fan_out)
        self.bias = nn.Parameter(torch.zeros(groups * outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(groups, rows, in) -> (groups, rows, out); ``x`` need not be contiguous."""
        weight = self.weight.view(len(x), -1, x.shape[2])
        return torch.baddbmm(self.bias.view(len(x), 1, -1), x, weight.transpose(1, 2))
