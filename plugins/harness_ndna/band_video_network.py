"""The network of ``band_video``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness import DataSpec

if TYPE_CHECKING:
    from harness_ndna.band_video import BandVideoOptions

TEMPORAL, SPATIAL = "temporal_bias", "spatial_bias"
"""Buffers of zeros that are added to the scores of attention, (frames, frames) and (patches, patches)."""


class BiasedAttention(nn.Module):
    """Softmax attention with a bias on its scores, the same for all heads; the map out of it has no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.head_size = width // heads
        self.norm, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(batch, places, width) to the same; ``bias`` is (places, places), a row for each query."""
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, -1, self.head_size)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        found: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return found


class VideoBlock(nn.Module):
    """Attention within each frame, attention of each place over the frames, a feed-forward part; each added."""

    def __init__(self, options: BandVideoOptions) -> None:
        super().__init__()
        width = options.hidden
        self.spatial, self.temporal = (BiasedAttention(width, options.heads) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, options.ffn), nn.Linear(options.ffn, width)

    def forward(self, x: Tensor, spatial: Tensor, temporal: Tensor) -> Tensor:
        """(batch, frames, patches, width) to the same."""
        batch, frames, patches, _ = x.shape
        x = x + self.spatial(x.flatten(0, 1), spatial).unflatten(0, (batch, frames))
        across = self.temporal(x.transpose(1, 2).flatten(0, 1), temporal)
        x = x + across.unflatten(0, (batch, patches)).transpose(1, 2)
        hidden: Tensor = self.down(self.up(self.norm(x)).relu())
        return x + hidden


class BandVideoNetwork(nn.Module):
    """x_i = block_i(x_{i-1}) + sum over s <= i - 2 of skip_is(x_s); the last frame's patches give those of the next."""

    def __init__(self, options: BandVideoOptions, data: DataSpec) -> None:
        super().__init__()
        width, (frames, height, breadth) = options.hidden, data.inputs
        self.patch, self.grid = options.patch, (height // options.patch, breadth // options.patch)
        patches = self.grid[0] * self.grid[1]
        self.embedding = nn.Linear(options.patch**2, width)
        self.frames = nn.Parameter(0.02 * torch.randn(frames, width))
        self.places = nn.Parameter(0.02 * torch.randn(patches, width))
        self.blocks = nn.ModuleList(VideoBlock(options) for _ in range(options.layers))
        names = ["embedding", *(f"layer{i}" for i in range(1, options.layers + 1))]
        pairs = [(i, s) for i in range(2, options.layers + 1) for s in range(i - 1)] if options.skips else []
        self.skips = nn.ModuleDict({f"layer{i}_from_{names[s]}": nn.Linear(width, width, bias=False) for i, s in pairs})
        self._sources = {i: [(s, f"layer{i}_from_{names[s]}") for t, s in pairs if t == i] for i, _ in pairs}
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, options.patch**2)
        self.register_buffer(TEMPORAL, torch.zeros(frames, frames), persistent=False)
        self.register_buffer(SPATIAL, torch.zeros(patches, patches), persistent=False)

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """The next frame (batch, height, width) in [0, 1], or its mean squared error when targets are given.

        Inputs are frames in [0, 1], (batch, frames, height, width).
        """
        batch, frames, _, _ = inputs.shape
        (rows, columns), side = self.grid, self.patch
        cut = inputs.view(batch, frames, rows, side, columns, side).transpose(3, 4)
        x = self.embedding(cut.reshape(batch, frames, rows * columns, side * side))
        x = x + self.frames[:, None] + self.places
        streams = [x]
        for i, block in enumerate(self.blocks, 1):
            x = block(x, self.get_buffer(SPATIAL), self.get_buffer(TEMPORAL))
            for source, name in self._sources.get(i, ()):
                x = x + self.skips[name](streams[source])
            streams.append(x)
        pixels = self.head(self.norm(x[:, -1])).sigmoid()
        frame = (
            pixels.view(batch, rows, columns, side, side).transpose(2, 3).reshape(batch, rows * side, columns * side)
        )
        return frame if targets is None else F.mse_loss(frame, targets)
