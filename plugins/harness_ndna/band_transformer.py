"""A transformer encoder for texts in which every layer feeds every later one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness import Architecture, Band, Connection, Size, UnitGroup, UnitMember
from harness_architectures.scaling import with_units
from harness_ndna.band_transformer_network import BandTransformerNetwork


class BandTransformerOptions(BaseModel):
    """What a suite may set.

    Attributes:
        hidden: units of the embedding and of each layer; a multiple of ``heads``.
        layers: how many; 0 is a bag of embeddings, a linear map of their mean.
        heads: of attention.
        ffn: units of the feed-forward part of a layer.
        skips: whether a layer reads all earlier ones, or only the one before it.
        final_norm: whether the last layer is normed before the mean over its tokens.
        attention: ``linear``: linear maps as torch begins them, the one out of attention without a bias; ``torch``: as
            torch's own attention begins (Xavier, biases 0), with that bias.
    """

    model_config = ConfigDict(extra="forbid")

    hidden: Size = 256
    layers: int = Field(default=6, ge=0, le=1000)
    heads: Size = 4
    ffn: Size = 512
    skips: bool = True
    final_norm: bool = False
    attention: Literal["linear", "torch"] = "linear"

    @model_validator(mode="after")
    def _heads_divide_hidden(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is no multiple of heads {self.heads}")
        return self


class BandTransformer(Architecture[BandTransformerOptions]):
    """The IMDB network of "Neural DNA: A Compact Genome for Growing Network Architecture" (Sudarshan 2026).

    On 512 tokens of 30,522 it has 12,089,346 parameters, and with a genome of 258 numbers the published 12,089,604. Its
    dense reference, 11,108,354, is ``{skips: false, final_norm: true, attention: torch}``. Nothing of the residual
    stream is ever masked: with every mask closed but the classifier's it is a bag of embeddings.
    """

    Options = BandTransformerOptions
    scaled_version = "2"
    kinds = ("text_classification",)

    def build(self) -> BandTransformerNetwork:
        """A new network, initialised from torch's current random state."""
        return BandTransformerNetwork(self.options, self.data)

    def connections(self) -> Sequence[Connection]:
        """By layer: attention out, feed-forward up, then skips by source; the classifier. 2,163,200 weights by default.

        The maps into attention, the feed-forward part's second one and the embedding are out of scope unless a suite
        asks for them. Depths: 0 the embedding, 1 to ``layers`` the layers, then the classes.
        """
        options, width = self.options, self.options.hidden
        streams = [Band("embedding" if i == 0 else f"layer{i}", width, i) for i in range(options.layers + 1)]
        found: list[Connection] = []
        for i in range(1, options.layers + 1):
            near, layer = streams[i - 1], streams[i]
            heads, ffn = Band(f"layer{i}.heads", width, i - 1), Band(f"layer{i}.ffn", options.ffn, i)
            neurons, parts = Band(f"layer{i}.relu", options.ffn, i - 1), ("query", "key", "value")
            for part, kind in enumerate(parts):
                target, rows = Band(f"layer{i}.{kind}", width, i), (part * width, (part + 1) * width)
                place = f"blocks.{i - 1}.qkv.weight"
                found.append(
                    Connection(f"layer{i}.{kind}", place, "qkv", near, target, (width, width), rows=rows, default=False)
                )
            found.append(_linear(f"layer{i}.attn_out", f"blocks.{i - 1}.out", "attn_out", heads, layer))
            found.append(_linear(f"layer{i}.ffn_up", f"blocks.{i - 1}.up", "ffn_up", near, ffn))
            down = _linear(f"layer{i}.ffn_down", f"blocks.{i - 1}.down", "ffn_down", neurons, layer, default=False)
            found.append(down)
            for source in streams[: i - 1] if options.skips else ():
                name = f"layer{i}.from_{source.name}"
                found.append(_linear(name, f"skips.layer{i}_from_{source.name}", "skip", source, layer))
        last, classes = streams[-1], Band("output", self.data.outputs, options.layers + 1)
        return [*found, _linear("output", "classifier", "classifier", last, classes)]

    def units(self) -> Sequence[UnitGroup]:
        """Of each layer its heads and the neurons of its feed-forward part."""
        options, groups = self.options, []
        size = options.hidden // options.heads
        for i in range(1, options.layers + 1):
            block = f"blocks.{i - 1}"
            starts = [part * options.hidden for part in range(3)]
            into = [UnitMember(f"{block}.qkv.weight", 0, "in", start, size) for start in starts]
            into += [UnitMember(f"{block}.qkv.bias", 0, "own", start, size) for start in starts]
            out = UnitMember(f"{block}.out.weight", 1, "out", 0, size)
            groups.append(UnitGroup(f"layer{i}.heads", "head", options.heads, (*into, out)))
            members = (
                UnitMember(f"{block}.up.weight", 0, "in"),
                UnitMember(f"{block}.up.bias", 0, "own"),
                UnitMember(f"{block}.down.weight", 1, "out"),
            )
            groups.append(UnitGroup(f"layer{i}.ffn", "neuron", options.ffn, members))
        return groups

    def scaled(self, parameters: int) -> BandTransformer:
        """The same network with fewer hidden and feed-forward units, nearly in proportion."""
        options = self.options

        def candidate(hidden: int, ffn: int) -> BandTransformer:
            return BandTransformer(options.model_copy(update={"hidden": hidden, "ffn": ffn}), self.data)

        return with_units(candidate, options.hidden, options.heads, options.ffn, parameters)


def _linear(name: str, module: str, role: str, source: Band, target: Band, default: bool = True) -> Connection:
    """A connection that is the whole weight of a linear map."""
    return Connection(name, f"{module}.weight", role, source, target, (target.size, source.size), default=default)
