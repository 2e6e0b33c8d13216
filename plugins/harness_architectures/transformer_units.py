"""The units of a transformer with a fused query, key and value."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from harness import UnitGroup, UnitMember


def transformer_units(
    n_layers: int,
    width: int,
    heads: int,
    ffn: int,
    ends: Sequence[UnitMember],
    biases: Collection[str] = (),
    norms: Collection[str] = (),
) -> list[UnitGroup]:
    """Per layer its heads and the neurons of its feed-forward part; then the channels of the residual stream.

    Args:
        n_layers: blocks, whose weights are ``blocks.<i>.{attn.qkv,attn.out,ffn.up,ffn.down}.weight``.
        width, heads, ffn: units of the stream, heads, and feed-forward units of each layer.
        ends: what the stream has outside the blocks: embeddings, the last norm, the head.
        biases: which of the four have a bias.
        norms: modules of a block that norm the stream with scales and biases.
    """
    size = width // heads
    groups: list[UnitGroup] = []
    stream = list(ends)
    for i in range(n_layers):

        def entering(module: str, start: int = 0, size: int = 1, i: int = i) -> list[UnitMember]:
            name = f"blocks.{i}.{module}"
            bias = [UnitMember(f"{name}.bias", 0, "own", start, size)] if module in biases else []
            return [UnitMember(f"{name}.weight", 0, "in", start, size), *bias]

        def leaving(module: str, size: int = 1, i: int = i) -> UnitMember:
            return UnitMember(f"blocks.{i}.{module}.weight", 1, "out", 0, size)

        inside = [member for part in range(3) for member in entering("attn.qkv", part * width, size)]
        groups.append(UnitGroup(f"layer{i}.heads", "head", heads, (*inside, leaving("attn.out", size))))
        groups.append(UnitGroup(f"layer{i}.ffn", "neuron", ffn, (*entering("ffn.up"), leaving("ffn.down"))))
        stream += [UnitMember(f"blocks.{i}.{norm}.{leaf}", 0, "own") for norm in norms for leaf in ("weight", "bias")]
        stream += [leaving("attn.qkv"), *entering("attn.out"), leaving("ffn.up"), *entering("ffn.down")]
    return [*groups, UnitGroup("stream", "channel", width, tuple(stream), coupled="norms over the residual stream")]
