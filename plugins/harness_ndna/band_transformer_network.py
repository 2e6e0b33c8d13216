"""The network of ``band_transformer``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness import DataSpec
from harness_architectures.loss import mean_cross_entropy

if TYPE_CHECKING:
    from harness_ndna.band_transformer import BandTransformerOptions


class PackedTexts:
    """The real tokens of a batch of texts, one after the other, so that no layer computes on padding.

    Texts are sorted by their number of tokens: those of equal length lie side by side, and attend together.

    Args:
        real: (texts, length) bool: which places hold a token.

    Attributes:
        places: (tokens,) where each token is in the flattened batch.
        runs: (texts, tokens of each) of every length, in the order of ``places``.
    """

    def __init__(self, real: Tensor) -> None:
        texts, length = real.shape
        if real.is_meta:  # counts operations: as many as there can be
            self.places, self.runs = torch.arange(texts * length, device=real.device), [(texts, length)]
            self._back = torch.arange(texts, device=real.device)
            return
        counts, order = real.sum(1).sort(stable=True)
        self.places = (order.unsqueeze(1) * length + torch.arange(length, device=real.device))[real[order]]
        lengths, equal = counts.unique_consecutive(return_counts=True)  # type: ignore[no-untyped-call]
        self.runs = list(zip(equal.tolist(), lengths.tolist(), strict=True))
        self._back = order.argsort()

    def attention(self, qkv: Tensor, head_size: int) -> Tensor:
        """Softmax attention of each text over its own tokens: (tokens, 3 width) to (tokens, width)."""
        parts, heads = [], qkv.shape[1] // (3 * head_size)
        for part, (texts, tokens) in zip(self._split(qkv), self.runs, strict=True):
            q, k, v = part.view(texts, tokens, 3, heads, head_size).permute(2, 0, 3, 1, 4)
            parts.append(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(len(part), heads * head_size))
        return torch.cat(parts)

    def means(self, x: Tensor) -> Tensor:
        """(texts, width) mean over the tokens of each text, of (tokens, width); 0 where it has none."""
        parts = zip(self._split(x), self.runs, strict=True)
        sums = [part.view(texts, tokens, x.shape[1]).sum(1) / max(1, tokens) for part, (texts, tokens) in parts]
        return torch.cat(sums)[self._back]

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split_with_sizes([texts * tokens for texts, tokens in self.runs])


class PaddedTexts:
    """The same of all places, padding too, which no text sees: as many operations for any lengths, for tracing.

    Args:
        real: (texts, length) bool: which places hold a token.
    """

    def __init__(self, real: Tensor) -> None:
        self.real = real
        self.places = torch.arange(real.shape[0] * real.shape[1], device=real.device)

    def attention(self, qkv: Tensor, head_size: int) -> Tensor:
        """As :meth:`PackedTexts.attention`, (places, 3 width) to (places, width)."""
        texts, length = self.real.shape
        q, k, v = qkv.view(texts, length, 3, -1, head_size).permute(2, 0, 3, 1, 4)
        seen = self.real | ~self.real.any(1, keepdim=True)  # a text without tokens sees its padding, and nobody sees it
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None])
        return mixed.transpose(1, 2).reshape(texts * length, -1)

    def means(self, x: Tensor) -> Tensor:
        """As :meth:`PackedTexts.means`, of (places, width)."""
        texts, length = self.real.shape
        weights = self.real.to(x.dtype)
        sums = (x.view(texts, length, -1) * weights.unsqueeze(2)).sum(1)
        return sums / weights.sum(1, keepdim=True).clamp(min=1)


class EncoderBlock(nn.Module):
    """x + out(attention(norm(x))), then the same with a feed-forward part."""

    def __init__(self, options: BandTransformerOptions) -> None:
        super().__init__()
        width, own = options.hidden, options.attention == "torch"
        self.head_size = width // options.heads
        self.attn_norm, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width, bias=own)
        self.ffn_norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, options.ffn), nn.Linear(options.ffn, width)
        if own:
            nn.init.xavier_uniform_(self.qkv.weight)
            nn.init.zeros_(self.qkv.bias)
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, packed: PackedTexts | PaddedTexts) -> Tensor:
        """(tokens, width) to the same."""
        x = x + self.out(packed.attention(self.qkv(self.attn_norm(x)), self.head_size))
        hidden: Tensor = self.down(self.up(self.ffn_norm(x)).relu())
        return x + hidden


class BandTransformerNetwork(nn.Module):
    """x_i = block_i(x_{i-1}) + sum over s <= i - 2 of skip_is(x_s); logits are a linear map of the mean of the last."""

    def __init__(self, options: BandTransformerOptions, data: DataSpec) -> None:
        super().__init__()
        width = options.hidden
        self.padding = data.padding
        self.tokens = nn.Embedding(data.vocabulary, width)
        self.positions = nn.Embedding(data.inputs[0], width)
        self.blocks = nn.ModuleList(EncoderBlock(options) for _ in range(options.layers))
        names = ["embedding", *(f"layer{i}" for i in range(1, options.layers + 1))]
        pairs = [(i, s) for i in range(2, options.layers + 1) for s in range(i - 1)] if options.skips else []
        self.skips = nn.ModuleDict({f"layer{i}_from_{names[s]}": nn.Linear(width, width, bias=False) for i, s in pairs})
        self._sources = {i: [(s, f"layer{i}_from_{names[s]}") for t, s in pairs if t == i] for i, _ in pairs}
        self.norm = nn.LayerNorm(width) if options.final_norm else nn.Identity()
        self.classifier = nn.Linear(width, data.outputs)

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits (texts, classes) of token ids (texts, length), or the mean loss when targets (texts,) are given."""
        logits = self.logits(inputs, inputs != self.padding)
        return logits if targets is None else mean_cross_entropy(logits, targets)

    def logits(self, ids: Tensor, real: Tensor) -> Tensor:
        """(texts, classes) of ids (texts, length), where ``real`` (texts, length) says which are tokens."""
        packed = PaddedTexts(real) if torch.compiler.is_compiling() else PackedTexts(real)
        x = self.tokens(ids.flatten()[packed.places]) + self.positions(packed.places % ids.shape[1])
        streams = [x]
        for i, block in enumerate(self.blocks, 1):
            x = block(x, packed)
            for source, name in self._sources.get(i, ()):
                x = x + self.skips[name](streams[source])
            streams.append(x)
        found: Tensor = self.classifier(packed.means(self.norm(x)))
        return found
