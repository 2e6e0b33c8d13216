"""A video transformer with divided attention in which every layer feeds every later one."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness import Architecture, Band, Connection, Size, UnitGroup, UnitMember
from harness_architectures.scaling import with_units
from harness_ndna.band_video_network import SPATIAL, TEMPORAL, BandVideoNetwork


class BandVideoOptions(BaseModel):
    """What a suite may set.

    Attributes:
        hidden: units of the embedding and of each layer; a multiple of ``heads``.
        layers: how many.
        heads: of both attentions.
        ffn: units of the feed-forward part of a layer.
        patch: pixels of a side of a patch.
        skips: whether a layer reads all earlier ones, or only the one before it.
    """

    model_config = ConfigDict(extra="forbid")

    hidden: Size = 128
    layers: int = Field(4, ge=1, le=1_000)
    heads: Size = 4
    ffn: Size = 256
    patch: Size = 8
    skips: bool = True

    @model_validator(mode="after")
    def _heads_divide_hidden(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is no multiple of heads {self.heads}")
        return self


class BandVideo(Architecture[BandVideoOptions]):
    """The Moving MNIST network of "Neural DNA: A Compact Genome for Growing Network Architecture" (Sudarshan 2026).

    On ten frames of 64x64 it has 918,720 parameters, without skips the published 820,416. Besides weights, which frames
    a frame sees and which patches a patch sees can be masked: one matrix each for all layers and heads, added to the
    scores of attention. The paper counts the maps out of both attentions of a layer once, as they have one mask; here
    both are counted, since both are weights: a genome grows them alike, other methods mask each.
    """

    Options = BandVideoOptions
    scaled_version = "2"
    kinds = ("video",)

    def unsupported(self) -> str | None:
        """Also frames that patches do not fill."""
        if reason := super().unsupported():
            return reason
        if any(side % self.options.patch for side in self.data.inputs[1:]):
            return f"cuts frames into patches of {self.options.patch} pixels, and {self.data.inputs[1:]} is no multiple"
        return None

    def build(self) -> BandVideoNetwork:
        """A new network, initialised from torch's current random state."""
        return BandVideoNetwork(self.options, self.data)

    def connections(self) -> Sequence[Connection]:
        """Both attention masks; by layer the maps out of attention, feed-forward up, skips by source; the head.

        The maps into attention and the feed-forward part's second one are out of scope unless a suite asks for them.
        Depths: 0 the embedding, 1 to ``layers`` the layers, then the frame.
        """
        options, width = self.options, self.options.hidden
        frames, patches = (self.data.inputs[0],), self._grid
        found = [_attention("temporal", TEMPORAL, "frames", frames), _attention("spatial", SPATIAL, "patches", patches)]
        streams = [Band("embedding" if i == 0 else f"layer{i}", width, i) for i in range(options.layers + 1)]
        for i in range(1, options.layers + 1):
            near, layer, block = streams[i - 1], streams[i], f"blocks.{i - 1}"
            for kind in ("spatial", "temporal"):
                for part, name in enumerate(("query", "key", "value")):
                    target, rows = Band(f"layer{i}.{kind}.{name}", width, i), (part * width, (part + 1) * width)
                    place = f"{block}.{kind}.qkv.weight"
                    found.append(
                        Connection(target.name, place, "qkv", near, target, (width, width), rows=rows, default=False)
                    )
                heads = Band(f"layer{i}.{kind}.heads", width, i - 1)
                found.append(_linear(f"layer{i}.{kind}_out", f"{block}.{kind}.out", "attn_out", heads, layer))
            ffn, neurons = Band(f"layer{i}.ffn", options.ffn, i), Band(f"layer{i}.relu", options.ffn, i - 1)
            found.append(_linear(f"layer{i}.ffn_up", f"{block}.up", "ffn_up", near, ffn))
            found.append(_linear(f"layer{i}.ffn_down", f"{block}.down", "ffn_down", neurons, layer, default=False))
            for source in streams[: i - 1] if options.skips else ():
                name = f"layer{i}.from_{source.name}"
                found.append(_linear(name, f"skips.layer{i}_from_{source.name}", "skip", source, layer))
        frame = Band("frame", options.patch**2, options.layers + 1)
        return [*found, _linear("head", "head", "classifier", streams[-1], frame)]

    def units(self) -> Sequence[UnitGroup]:
        """Of each layer the heads of both attentions, and the neurons of its feed-forward part."""
        options, groups = self.options, []
        size = options.hidden // options.heads
        starts = [part * options.hidden for part in range(3)]
        for i in range(1, options.layers + 1):
            block = f"blocks.{i - 1}"
            for kind in ("spatial", "temporal"):
                qkv = f"{block}.{kind}.qkv"
                into = [UnitMember(f"{qkv}.weight", 0, "in", start, size) for start in starts]
                into += [UnitMember(f"{qkv}.bias", 0, "own", start, size) for start in starts]
                out = UnitMember(f"{block}.{kind}.out.weight", 1, "out", 0, size)
                groups.append(UnitGroup(f"layer{i}.{kind}", "head", options.heads, (*into, out)))
            members = (
                UnitMember(f"{block}.up.weight", 0, "in"),
                UnitMember(f"{block}.up.bias", 0, "own"),
                UnitMember(f"{block}.down.weight", 1, "out"),
            )
            groups.append(UnitGroup(f"layer{i}.ffn", "neuron", options.ffn, members))
        return groups

    def scaled(self, parameters: int) -> BandVideo:
        """The same network with fewer hidden and feed-forward units, nearly in proportion."""
        options = self.options

        def candidate(hidden: int, ffn: int) -> BandVideo:
            return BandVideo(options.model_copy(update={"hidden": hidden, "ffn": ffn}), self.data)

        return with_units(candidate, options.hidden, options.heads, options.ffn, parameters)

    @property
    def _grid(self) -> tuple[int, int]:
        height, width = self.data.inputs[1:]
        return height // self.options.patch, width // self.options.patch


def _attention(name: str, buffer: str, units: str, grid: tuple[int, ...]) -> Connection:
    """A mask on which of the keys, which lie in a ``grid``, each of as many queries sees."""
    size = prod(grid)
    keys, queries = Band(f"{units}.keys", size, 0, grid), Band(f"{units}.queries", size, 1, grid)
    return Connection(name, buffer, f"{name}_attention", keys, queries, (size, size), kind="attention")


def _linear(name: str, module: str, role: str, source: Band, target: Band, default: bool = True) -> Connection:
    """A connection that is the whole weight of a linear map."""
    return Connection(name, f"{module}.weight", role, source, target, (target.size, source.size), default=default)
