"""GPT-2 of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness import Architecture, Band, Connection, Size, UnitGroup, UnitMember
from harness_architectures.gpt2_checkpoint import load_hf
from harness_architectures.gpt2_network import Gpt2Network, Gpt2Shape
from harness_architectures.scaling import with_units
from harness_architectures.transformer_connections import transformer_connections
from harness_architectures.transformer_units import transformer_units

__all__ = ["Gpt2", "Gpt2Options", "load_hf"]

SIZES: Mapping[str, tuple[int, int, int]] = {
    "small": (12, 768, 12),
    "medium": (24, 1024, 16),
    "large": (36, 1280, 20),
    "xl": (48, 1600, 25),
}
"""Layers, width and heads of the published models (Radford et al. 2019, table 2; heads as released)."""


class Gpt2Options(BaseModel):
    """What a suite may set; the defaults are GPT-2 small.

    Attributes:
        size: a published size, shorthand for ``n_layers``, ``width`` and ``heads``; each of them may still be
            given and then counts. It is not hashed, because what it stands for is.
        n_layers: transformer blocks.
        width: units of the residual stream, a multiple of ``heads``.
        heads: attention heads per layer.
        context: positions, at least the data's; None takes the data's.
        ffn_multiple: units of the feed-forward layers, in widths.
        ffn: the same as a number, which then counts; None takes ``ffn_multiple``.
        dropout: after embeddings, attention weights and both sublayers, in [0, 1).
        qkv_bias: whether queries, keys and values have biases.
        attn_out_bias: whether attention's output projection has one (in NDNA's GPT-2 it has none).
        gelu: ``exact`` takes the exact GELU, as NDNA's code does; None the tanh approximation, GPT-2's own.
        vocabulary_padding: rounds the embedding's rows up to a multiple of this, for speed; 1 is exact.
    """

    model_config = ConfigDict(extra="forbid")

    size: Literal["small", "medium", "large", "xl"] | None = Field(default=None, json_schema_extra={"hashed": False})
    n_layers: int = Field(12, ge=1, le=1_000)
    width: Size = 768
    heads: Size = 12
    context: Size | None = None
    ffn_multiple: Size = 4
    ffn: Size | None = Field(default=None, json_schema_extra={"hashed": "unless_none"})
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    qkv_bias: bool = True
    attn_out_bias: bool = True
    gelu: Literal["exact"] | None = Field(default=None, json_schema_extra={"hashed": "unless_none"})
    vocabulary_padding: Size = 1

    @model_validator(mode="before")
    @classmethod
    def _spelt_out(cls, given: Any) -> Any:
        size = given.get("size") if isinstance(given, dict) else None
        if not isinstance(size, str) or size not in SIZES:
            return given
        return dict(zip(("n_layers", "width", "heads"), SIZES[size], strict=True)) | given

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Gpt2Options:
        if self.width % self.heads:
            below = self.width - self.width % self.heads
            near = [width for width in (below, below + self.heads) if width]
            raise ValueError(
                f"width {self.width} is no multiple of heads {self.heads}; take width {' or '.join(map(str, near))}"
            )
        return self


class Gpt2(Architecture[Gpt2Options]):
    """GPT-2 (Radford et al. 2019): pre-LayerNorm, learned positions, tanh GELU, head tied to the embedding.

    Depths of bands are what a genome over layers needs: 0 the embedding, 1 to n_layers the layers,
    n_layers + 1 the head; every connection of layer i, counted from 0, joins depths i and i + 1.
    """

    Options = Gpt2Options
    scaled_version = "2"
    kinds = ("language",)

    @property
    def context(self) -> int:
        """Positions of the network."""
        return self._shape().context

    def build(self) -> Gpt2Network:
        """A new network, initialised from torch's current random state."""
        return Gpt2Network(self._shape())

    def connections(self) -> Sequence[Connection]:
        """Per layer: query, key, value (rows of one parameter), attention out, feed-forward up and down.

        The embedding comes last and is out of scope unless a suite asks for it; as it is tied, it is
        described as the head that it also is. Positions cannot be masked.
        """
        shape = self._shape()
        found, stream = transformer_connections(shape.n_layers, shape.width, shape.ffn)
        head = Band("head", shape.vocabulary, shape.n_layers + 1)
        found.append(
            Connection(
                name="embedding",
                parameter="embedding.weight",
                role="embedding",
                source=stream,
                target=head,
                shape=(head.size, shape.width),
                rows=(0, head.size),
                default=False,
            )
        )
        return found

    def units(self) -> Sequence[UnitGroup]:
        """Per layer heads and feed-forward neurons; the channels of the residual stream."""
        shape = self._shape()
        # Tied, the embedding both writes the stream and reads it.
        ends = [UnitMember("embedding.weight", 1, "own"), UnitMember("positions.weight", 1, "in")]
        ends += [UnitMember(f"norm.{leaf}", 0, "own") for leaf in ("weight", "bias")]
        biased = {"attn.qkv": shape.qkv_bias, "attn.out": shape.attn_out_bias, "ffn.up": True, "ffn.down": True}
        biases = [module for module, has in biased.items() if has]
        norms = ("attn_norm", "ffn_norm")
        return transformer_units(shape.n_layers, shape.width, shape.heads, shape.ffn, ends, biases, norms)

    def scaled(self, parameters: int) -> Gpt2:
        """The same network with a smaller width, in steps of ``heads``, and fewer feed-forward units."""
        options = self.options

        def candidate(width: int, ffn: int) -> Gpt2:
            changed = {"width": width, "ffn": None if ffn == options.ffn_multiple * width else ffn}
            return Gpt2(options.model_copy(update=changed), self.data)

        return with_units(candidate, options.width, options.heads, self._shape().ffn, parameters)

    def _shape(self) -> Gpt2Shape:
        options, padding = self.options, self.options.vocabulary_padding
        return Gpt2Shape(
            vocabulary=self.data.outputs,
            rows=-(-self.data.outputs // padding) * padding,
            context=options.context or self.data.inputs[0],
            n_layers=options.n_layers,
            width=options.width,
            heads=options.heads,
            ffn=options.ffn or options.ffn_multiple * options.width,
            dropout=options.dropout,
            qkv_bias=options.qkv_bias,
            attn_out_bias=options.attn_out_bias,
            exact_gelu=options.gelu == "exact",
        )
