"""The connectome paper's language model."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness import Architecture, Band, Connection, Size, UnitGroup, UnitMember
from harness_architectures.gpt_rope_network import Activation, GptRopeNetwork, GptRopeShape
from harness_architectures.scaling import with_units
from harness_architectures.transformer_connections import transformer_connections
from harness_architectures.transformer_units import transformer_units


class GptRopeOptions(BaseModel):
    """What a suite may set; the defaults are the paper's model.

    Attributes:
        n_layers: transformer blocks.
        width: units of the residual stream, a multiple of ``2 * heads``.
        heads: attention heads per layer.
        context: the longest input, at least the data's; None takes the data's. It has no parameters.
        ffn_multiple: units of the feed-forward layers, in widths.
        ffn: the same as a number, which then counts; None takes ``ffn_multiple``.
        activation: between the feed-forward layers. ``gelu`` (the exact one, not tanh's approximation) is
            what the paper's released model has; ``relu2``, the square of ReLU, is what the code family that it
            comes from (modded-nanogpt) went over to in late 2024.
        vocabulary_padding: rounds the rows of embedding and head up to a multiple of this; the default makes
            50,304 of GPT-2's 50,257, as in the paper; 1 is exact.
    """

    model_config = ConfigDict(extra="forbid")

    n_layers: int = Field(12, ge=1, le=1_000)
    width: Size = 768
    heads: Size = 12
    context: Size | None = None
    ffn_multiple: Size = 4
    ffn: Size | None = Field(default=None, json_schema_extra={"hashed": "unless_none"})
    activation: Activation = "gelu"
    vocabulary_padding: Size = 64

    @model_validator(mode="after")
    def _pairs_in_heads(self) -> GptRopeOptions:
        step = 2 * self.heads
        if self.width % step:
            below = self.width - self.width % step
            near = [width for width in (below, below + step) if width]
            raise ValueError(
                f"width {self.width} is no multiple of 2 * heads = {step}, and rotation takes the units of a head in "
                f"pairs; take width {' or '.join(map(str, near))}"
            )
        return self


class GptRope(Architecture[GptRopeOptions]):
    """GPT with rotary positions, RMSNorm, no biases, untied head (Kotar and Tuckute 2025, arXiv 2504.21047).

    Depths of bands are those of ``gpt2``: 0 the embedding, 1 to n_layers the layers, n_layers + 1 the head.
    """

    Options = GptRopeOptions
    scaled_version = "2"
    kinds = ("language",)

    @property
    def context(self) -> int:
        """The longest input in tokens."""
        return self._shape().context

    def build(self) -> GptRopeNetwork:
        """A new network, initialised from torch's current random state."""
        return GptRopeNetwork(self._shape())

    def connections(self) -> Sequence[Connection]:
        """Embedding, then per layer query, key, value, attention out, feed-forward up and down, then the head.

        Embedding and head are out of scope unless a suite asks for them (the paper's released code prunes
        both). Rows that only pad the vocabulary cannot be masked.
        """
        shape = self._shape()
        vocabulary = (0, shape.vocabulary)
        blocks, stream = transformer_connections(shape.n_layers, shape.width, shape.ffn)
        embedding = Connection(
            name="embedding",
            parameter="embedding.weight",
            role="embedding",
            source=Band("tokens", shape.vocabulary, 0),
            target=Band("embedding", shape.width, 0),
            shape=(shape.width, shape.vocabulary),
            columns=vocabulary,
            out_axis=1,
            in_axis=0,
            default=False,
        )
        head = Connection(
            name="head",
            parameter="head.weight",
            role="head",
            source=stream,
            target=Band("head", shape.vocabulary, shape.n_layers + 1),
            shape=(shape.vocabulary, shape.width),
            rows=vocabulary,
            default=False,
        )
        return [embedding, *blocks, head]

    def units(self) -> Sequence[UnitGroup]:
        """Per layer heads and feed-forward neurons; the channels of the residual stream."""
        shape = self._shape()
        ends = [UnitMember("embedding.weight", 1, "in"), UnitMember("head.weight", 1, "out")]
        return transformer_units(shape.n_layers, shape.width, shape.heads, shape.ffn, ends)

    def scaled(self, parameters: int) -> GptRope:
        """The same network with a smaller width, in steps of ``2 * heads``, and fewer feed-forward units."""
        options = self.options

        def candidate(width: int, ffn: int) -> GptRope:
            changed = {"width": width, "ffn": None if ffn == options.ffn_multiple * width else ffn}
            return GptRope(options.model_copy(update=changed), self.data)

        return with_units(candidate, options.width, 2 * options.heads, self._shape().ffn, parameters)

    def _shape(self) -> GptRopeShape:
        options, padding = self.options, self.options.vocabulary_padding
        return GptRopeShape(
            vocabulary=self.data.outputs,
            rows=-(-self.data.outputs // padding) * padding,
            context=options.context or self.data.inputs[0],
            n_layers=options.n_layers,
            width=options.width,
            heads=options.heads,
            ffn=options.ffn or options.ffn_multiple * options.width,
            activation=options.activation,
        )
