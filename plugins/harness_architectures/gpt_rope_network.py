"""The connectome paper's language model as a module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness import LanguageNetwork

INITIAL_STD = 0.02
NORM_EPSILON = 1e-6
ROTARY_BASE = 10_000.0

Activation = Literal["gelu", "relu2"]


@dataclass(frozen=True, slots=True)
class GptRopeShape:
    """Sizes of a network: ``rows`` >= ``vocabulary`` of embedding and head, ``ffn`` units per layer, the rest as named.

    ``width`` is a multiple of ``2 * heads``, because rotation takes the units of a head in pairs.
    """

    vocabulary: int
    rows: int
    context: int
    n_layers: int
    width: int
    heads: int
    ffn: int
    activation: Activation


def rotation(positions: int, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles p * 10,000^(-2k / size), each (positions, size / 2).

    Computed in float32 or better on the device of ``like``, so that a network in bfloat16 has exact positions.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    pairs = torch.arange(0, size, 2, device=like.device, dtype=dtype)
    angles = torch.outer(torch.arange(positions, device=like.device, dtype=dtype), ROTARY_BASE ** (-pairs / size))
    return angles.cos(), angles.sin()


def rotated(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn the pairs (x_k, x_{k + size/2}) of (..., positions, size) clockwise by their position's angles.

    A product of a query and a key then depends on the distance of their positions only.
    Source: Su et al. 2021, "RoFormer", in the layout and direction of the connectome paper's released weights.
    """
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat((first * cosines + second * sines, second * cosines - first * sines), dim=-1)
    return turned.to(x.dtype)


def normed(x: Tensor) -> Tensor:
    """RMSNorm without parameters: x / sqrt(mean of squares + 1e-6)."""
    return F.rms_norm(x, x.shape[-1:], eps=NORM_EPSILON)


class GptRopeAttention(nn.Module):
    """Causal self-attention; rows of ``qkv`` are queries, keys, values, each head after head; no biases."""

    def __init__(self, shape: GptRopeShape) -> None:
        super().__init__()
        self.head_size = shape.width // shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor, visible: Tensor | None = None) -> Tensor:
        """(batch, context, width) -> the same shape; ``visible`` (batch, context, context) in place of causality.

        The angles' cosines and sines are (context, head size / 2), or (batch, 1, context, head size / 2).
        """
        batch, context, _ = x.shape
        heads = self.qkv(x).view(batch, context, 3, -1, self.head_size)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        query, key = rotated(query, cosines, sines), rotated(key, cosines, sines)
        mask = None if visible is None else visible[:, None]
        mixed = F.scaled_dot_product_attention(query, key, value, mask, is_causal=mask is None)
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return y


class GptRopeFeedForward(nn.Module):
    """Two linear layers without biases; GELU, or the square of ReLU, between them."""

    def __init__(self, shape: GptRopeShape) -> None:
        super().__init__()
        self.activation = shape.activation
        self.up = nn.Linear(shape.width, shape.ffn, bias=False)
        self.down = nn.Linear(shape.ffn, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, context, width) -> the same shape."""
        units = self.up(x)
        y: Tensor = self.down(F.gelu(units) if self.activation == "gelu" else F.relu(units).square())
        return y


class GptRopeBlock(nn.Module):
    """Attention, scaled by 1 / sqrt(2 layers), then feed-forward, each behind an RMSNorm and added to the stream."""

    def __init__(self, shape: GptRopeShape) -> None:
        super().__init__()
        self.scale = (2 * shape.n_layers) ** -0.5
        self.attn = GptRopeAttention(shape)
        self.ffn = GptRopeFeedForward(shape)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor, visible: Tensor | None = None) -> Tensor:
        """(batch, context, width) -> the same shape."""
        x = x + self.scale * self.attn(normed(x), cosines, sines, visible)
        y: Tensor = x + self.ffn(normed(x))
        return y


class GptRopeNetwork(LanguageNetwork):
    """Transformer with rotary positions and RMSNorm, no biases, and a head of its own.

    Source: Kotar and Tuckute 2025, "Model Connectomes". Weights start at N(0, 0.02^2), projections into the
    residual stream at 0.02 / sqrt(2 layers). The published loss lets rows that pad the vocabulary take part
    in the softmax; here they are left out.
    """

    def __init__(self, shape: GptRopeShape) -> None:
        super().__init__()
        self.shape, self.context, self.vocabulary = shape, shape.context, shape.vocabulary
        self.embedding = nn.Embedding(shape.rows, shape.width)
        self.blocks = nn.ModuleList(GptRopeBlock(shape) for _ in range(shape.n_layers))
        self.head = nn.Linear(shape.width, shape.rows, bias=False)
        for name, parameter in self.named_parameters():
            into_residual = name.endswith(("attn.out.weight", "ffn.down.weight"))
            nn.init.normal_(parameter, 0.0, INITIAL_STD / (2 * shape.n_layers) ** 0.5 if into_residual else INITIAL_STD)

    @property
    def head_weight(self) -> Tensor:
        """The head's weight; rows may pad it to an even size."""
        return self.head.weight

    def states(self, inputs: Tensor) -> list[Tensor]:
        """The residual stream after the embedding and after every layer, (batch, context, width) each."""
        if inputs.shape[1] > self.context:
            raise ValueError(f"{inputs.shape[1]} tokens do not fit into a context of {self.context}: cut the input")
        states = [self.embedding(inputs)]
        angles = rotation(inputs.shape[1], self.shape.width // self.shape.heads, states[0])
        for block in self.blocks:
            states.append(block(states[-1], *angles))
        return states

    def branched(self, inputs: Tensor, positions: Tensor, visible: Tensor) -> Tensor:
        """Features of texts that share their beginning; see ``harness_language.scoring.Branching``."""
        x = self.embedding(inputs)
        cosines, sines = rotation(self.context, self.shape.width // self.shape.heads, x)
        for block in self.blocks:
            x = block(x, cosines[positions][:, None], sines[positions][:, None], visible)
        return self.normed(x)

    def normed(self, state: Tensor) -> Tensor:
        """The final RMSNorm."""
        return normed(state)
