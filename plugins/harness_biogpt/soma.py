"""A neuron's cell body."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from harness_biogpt.shape import Shape


class Soma(nn.Module):
    """Mixes a neuron's branches by a projection; then a FFN with its own norm and residual."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.projection = nn.Linear(shape.width, shape.width, bias=False)
        self.norm = nn.LayerNorm(shape.width) if shape.soma_ffn else None
        self.up = nn.Linear(shape.width, shape.soma_units) if shape.soma_ffn else None
        self.down = nn.Linear(shape.soma_units, shape.width) if shape.soma_ffn else None

    def forward(self, branches: Tensor) -> Tensor:
        """(batch, context, width) -> the same shape."""
        y: Tensor = self.projection(branches)
        if self.norm is not None and self.up is not None and self.down is not None:
            y = y + self.down(F.gelu(self.up(self.norm(y))))
        return y
