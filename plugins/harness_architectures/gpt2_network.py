"""GPT-2 as a module."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from harness import LanguageNetwork

INITIAL_STD = 0.02


@dataclass(frozen=True, slots=True)
class Gpt2Shape:
    """Sizes of a network: ``rows`` >= ``vocabulary`` of the embedding, ``ffn`` units per layer, the rest as named."""

    vocabulary: int
    rows: int
    context: int
    n_layers: int
    width: int
    heads: int
    ffn: int
    dropout: float
    qkv_bias: bool
    attn_out_bias: bool
    exact_gelu: bool = False


class Gpt2Attention(nn.Module):
    """Causal self-attention; rows of ``qkv`` are queries, keys, values, each head after head."""

    def __init__(self, shape: Gpt2Shape) -> None:
        super().__init__()
        self.head_size, self.dropout = shape.width // shape.heads, shape.dropout
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=shape.qkv_bias)
        self.out = nn.Linear(shape.width, shape.width, bias=shape.attn_out_bias)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """(batch, context, width) -> the same shape; ``visible`` (batch, context, context) in place of causality."""
        batch, context, _ = x.shape
        heads = self.qkv(x).view(batch, context, 3, -1, self.head_size)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        mask = None if visible is None else visible[:, None]
        mixed = F.scaled_dot_product_attention(
            query, key, value, mask, dropout_p=self.dropout if self.training else 0.0, is_causal=mask is None
        )
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return y


class Gpt2FeedForward(nn.Module):
    """Two linear layers with GELU between them, by default its tanh approximation."""

    def __init__(self, shape: Gpt2Shape) -> None:
        super().__init__()
        self.up = nn.Linear(shape.width, shape.ffn)
        self.down = nn.Linear(shape.ffn, shape.width)
        self.approximate = "none" if shape.exact_gelu else "tanh"

    def forward(self, x: Tensor) -> Tensor:
        """(batch, context, width) -> the same shape."""
        y: Tensor = self.down(F.gelu(self.up(x), approximate=self.approximate))
        return y


class Gpt2Block(nn.Module):
    """Attention, then feed-forward, each behind a LayerNorm and added to the residual stream."""

    def __init__(self, shape: Gpt2Shape) -> None:
        super().__init__()
        self.attn_norm = nn.LayerNorm(shape.width)
        self.attn = Gpt2Attention(shape)
        self.ffn_norm = nn.LayerNorm(shape.width)
        self.ffn = Gpt2FeedForward(shape)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """(batch, context, width) -> the same shape."""
        x = x + self.dropout(self.attn(self.attn_norm(x), visible))
        y: Tensor = x + self.dropout(self.ffn(self.ffn_norm(x)))
        return y


class Gpt2Network(LanguageNetwork):
    """Pre-LayerNorm transformer with learned positions; the head is the embedding's own weight.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners". Weights and both
    embeddings start at N(0, 0.02^2) (the first release drew positions from N(0, 0.01^2), today's common
    implementation takes 0.02 for all), projections into the residual stream at 0.02 / sqrt(2 layers),
    biases at 0, norms at 1 and 0.
    """

    def __init__(self, shape: Gpt2Shape) -> None:
        super().__init__()
        self.shape, self.context, self.vocabulary = shape, shape.context, shape.vocabulary
        self.embedding = nn.Embedding(shape.rows, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width)
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(Gpt2Block(shape) for _ in range(shape.n_layers))
        self.norm = nn.LayerNorm(shape.width)
        self._initialise()

    def _initialise(self) -> None:
        residual_std = INITIAL_STD / (2 * self.shape.n_layers) ** 0.5
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                into_residual = name.endswith(("attn.out", "ffn.down"))
                nn.init.normal_(module.weight, 0.0, residual_std if into_residual else INITIAL_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    def head_weight(self) -> Tensor:
        """The embedding's own weight; rows may pad it to an even size."""
        return self.embedding.weight

    def states(self, inputs: Tensor) -> list[Tensor]:
        """The residual stream after the embedding and after every layer, (batch, context, width) each."""
        if inputs.shape[1] > self.context:
            raise ValueError(f"{inputs.shape[1]} tokens do not fit into a context of {self.context}: cut the input")
        states = [self.dropout(self.embedding(inputs) + self.positions.weight[: inputs.shape[1]])]
        for block in self.blocks:
            states.append(block(states[-1]))
        return states

    def branched(self, inputs: Tensor, positions: Tensor, visible: Tensor) -> Tensor:
        """Features of texts that share their beginning; see ``harness_language.scoring.Branching``."""
        x = self.dropout(self.embedding(inputs) + self.positions(positions))
        for block in self.blocks:
            x = block(x, visible)
        return self.normed(x)

    def normed(self, state: Tensor) -> Tensor:
        """The final LayerNorm."""
        y: Tensor = self.norm(state)
        return y
