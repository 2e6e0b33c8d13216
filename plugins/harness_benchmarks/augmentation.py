"""Pictures as training sees them: flipped and shifted at random, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness_benchmarks.images import Images


@dataclass(frozen=True, slots=True)
class ShiftedImages(Images):
    """Images of which training sees every other one mirrored, cut out of a frame of black at a random place.

    The usual augmentation of CIFAR (He et al. 2015, arXiv:1512.03385, section 4.2): padded by ``padding`` pixels of 0
    on each side, cut to its size again at one of (2 padding + 1)^2 places, and mirrored with probability a half.

    Attributes:
        padding: pixels, at least 1.
        draws: three numbers an image: whether it is mirrored, where it is cut vertically and horizontally.
    """

    padding: int = 4
    draws: int = 3

    def augmented(self, indices: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`batch`, altered by ``numbers`` (batch, 3) in [0, 1)."""
        device, places = self.labels.device, 2 * self.padding + 1
        indices, numbers = indices.to(device), numbers.to(device)
        pixels = self.pixels.index_select(0, indices)
        count, channels, height, width = pixels.shape
        windows = F.pad(pixels, (self.padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
        at = (numbers[:, 1:] * places).long().clamp_(max=places - 1)  # a number near 1 may round to 1
        picture, channel = torch.arange(count, device=device)[:, None], torch.arange(channels, device=device)
        cut = windows[picture, channel, at[:, :1], at[:, 1:]]
        mirrored = torch.where((numbers[:, 0] < 0.5).view(-1, 1, 1, 1), cut.flip(3), cut)
        return self.normalised(mirrored), self.labels.index_select(0, indices)
