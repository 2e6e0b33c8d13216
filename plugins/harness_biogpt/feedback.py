"""Gated feedback from a late layer to an early one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GatedFeedback(nn.Module):
    """``target + sigmoid(W [target, P late] + b) * LayerNorm(P late)``.

    ``projection`` P is (width, width); ``gate`` W is (width, 2 * width), the target's columns first.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, target: Tensor, late: Tensor) -> Tensor:
        """Both (batch, context, width), as is the result."""
        projected = self.projection(late)
        gate = self.gate(torch.cat([target, projected], dim=2)).sigmoid()
        fed: Tensor = target + gate * self.norm(projected)
        return fed
