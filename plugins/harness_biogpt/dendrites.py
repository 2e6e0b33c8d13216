"""The branches of neurons, all computed together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness_biogpt.grouped import GroupedLinear, xavier_uniform
from harness_biogpt.shape import Shape
from harness_biogpt.temporal import TAPS, causal_convolution

EXPANSION = 2


class Dendrites(nn.Module):
    """Branches of ``count`` neurons of one column that have equally many; neurons do not see each other.

    Per neuron: one causal attention head per branch; a temporal convolution added to it; a FFN per branch
    on that; the FFN's result added to the attention's (not to the convolved one); a norm per branch and
    position. Units of branch b are b * d to (b + 1) * d.

    With a gate, each branch is multiplied by 2 sigmoid(w x + b) in (0, 2), a number for each position of the column's
    normed input x. w and b start at 0, the gate thus at 1. Branches do not compete for it, as they would in a softmax:
    so one can be cut out and leave the others as they were.

    Parameters of all neurons are stacked along rows, neuron after neuron; those of ``qkv`` are all
    queries, then all keys, then all values.

    Attributes:
        units: of one branch.
        sizes: of all branches of each neuron; smaller where branches were cut out.
    """

    def __init__(self, shape: Shape, count: int, branches: int) -> None:
        super().__init__()
        width, stacked = shape.width, count * shape.width
        self.units, self.sizes = width // branches, [width] * count
        self.qkv = xavier_uniform((3 * stacked, width), width, 3 * width)
        self.nmda_decay = nn.Parameter(0.9 + 0.1 * torch.randn(stacked)) if shape.nmda else None
        self.conv_weight = self.conv_bias = self.up = self.down = self.norm_weight = self.norm_bias = None
        if shape.branch_ffn and shape.temporal_conv:
            self.conv_weight = xavier_uniform((stacked, self.units, TAPS), TAPS * self.units, TAPS * width)
            self.conv_bias = nn.Parameter(torch.zeros(stacked))
        if shape.branch_ffn:
            hidden = EXPANSION * self.units
            self.up = GroupedLinear(count * branches, self.units, hidden, fan_out=EXPANSION * width)
            self.down = GroupedLinear(count * branches, hidden, self.units, fan_out=width)
        if shape.branch_norm:
            self.norm_weight = nn.Parameter(torch.ones(stacked))
            self.norm_bias = nn.Parameter(torch.zeros(stacked))
        self.gate_weight = self.gate_bias = None
        if shape.branch_gate:
            self.gate_weight = nn.Parameter(torch.zeros(count * branches, width))
            self.gate_bias = nn.Parameter(torch.zeros(count * branches))

    def forward(self, x: Tensor, trace: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(batch, context, width) -> (batch, context, stacked), and the next trace if one is given.

        Args:
            x: the column's normed input.
            trace: NMDA trace, (batch, stacked), neuron after neuron; None leaves it out.
        """
        batch, context, _ = x.shape
        query, key, value = F.linear(x, self.qkv).view(batch, context, 3, -1, self.units).unbind(2)
        decay = None if trace is None or self.nmda_decay is None else self.nmda_decay.sigmoid()
        if trace is not None and decay is not None:
            value = value + (trace * decay).view(batch, 1, -1, self.units)
        attended = F.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), is_causal=True
        ).transpose(1, 2)
        branches = self._mixed(attended).reshape(batch, context, -1, self.units)
        if self.gate_weight is not None:
            branches = branches * (2 * F.linear(x, self.gate_weight, self.gate_bias).sigmoid())[..., None]
        branches = branches.flatten(2)
        if trace is not None and decay is not None:
            trace = decay * trace + (1 - decay) * branches[:, -1]
        return branches, trace

    def _mixed(self, attended: Tensor) -> Tensor:
        """Everything after the attention: (batch, context, groups, units) -> (rows, groups, units)."""
        rows = attended.flatten(0, 1)
        y = rows
        if self.up is not None and self.down is not None:
            if self.conv_weight is not None and self.conv_bias is not None:
                attended = attended + causal_convolution(attended, self.conv_weight, self.conv_bias)
            grouped = attended.flatten(0, 1).transpose(0, 1)
            y = rows + self.down(F.gelu(self.up(grouped))).transpose(0, 1)
        if self.norm_weight is not None and self.norm_bias is not None:
            normed = F.layer_norm(y, (self.units,))
            y = torch.addcmul(self.norm_bias.view(y.shape[1:]), normed, self.norm_weight.view(y.shape[1:]))
        return y
