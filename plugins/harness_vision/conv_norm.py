"""What these networks are made of: a convolution without bias, and its batch normalisation."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from harness import UnitMember

Initialisation = Literal["he", "kaiming"]
"""``he`` draws the weights of convolutions from N(0, 2 / fan_out), as He et al. 2015 (arXiv:1502.01852) do; ``kaiming``
is torch's own, U(-b, b) with b = 1 / sqrt(fan_in). Linear layers are torch's own in both."""


class ConvNorm(nn.Module):
    """norm(conv(x)), padded so that the side is divided by the stride and no more."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, side, side) to the same with other channels."""
        normed: Tensor = self.norm(self.conv(x))
        return normed


def initialise(network: nn.Module, how: Initialisation) -> None:
    """Draws the convolutions anew, in the network's order, where they are not torch's own."""
    for module in network.modules() if how == "he" else ():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def written(place: str) -> list[UnitMember]:
    """What belongs to the channels that the :class:`ConvNorm` at a place writes: its rows, and all of its norm."""
    parts = ("weight", "bias", "running_mean", "running_var")
    return [UnitMember(f"{place}.conv.weight", 0, "in"), *(UnitMember(f"{place}.norm.{p}", 0, "own") for p in parts)]
