"""The units of a transformers model, where the names of its layers tell them."""

from __future__ import annotations

from collections.abc import Iterator

from harness import Connection, UnitGroup, UnitMember
from harness_transformers.network import HfNetwork

BY_HEAD = frozenset({"gpt_neox", "bloom"})
"""Model types whose fused query, key and value lie head after head."""


def units_of(network: HfNetwork, connections: list[Connection]) -> list[UnitGroup]:
    """Per block heads, groups of heads that share a key and a value, and the neurons of the feed-forward part.

    Known are separate query, key and value, plain thirds and :data:`BY_HEAD`, and a feed-forward part of one layer up,
    maybe gated, and one down. Other parts have no units, nor has the residual stream.
    """
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    groups: list[UnitGroup] = []
    for i in range(len(network.blocks)):
        layer = [c for c in connections if c.name.startswith(f"block{i}.")]
        groups += [*_heads(i, layer, network.model.config, sizes), *_neurons(i, layer, sizes)]
    return groups


def _heads(i: int, layer: list[Connection], config: object, sizes: dict[str, int]) -> Iterator[UnitGroup]:
    readers = [c for c in layer if c.role == "attn_out"]
    parts = {c.name.rpartition(".")[2].removeprefix("w")[0]: c for c in layer if c.role == "qkv"}
    if len(readers) != 1 or not parts:
        return
    (out,), heads = readers, getattr(config, "num_attention_heads", 0)
    shared = getattr(config, "num_key_value_heads", None) or heads
    width = out.shape[1]
    if not heads or width % heads or heads % shared:
        return
    size, module = width // heads, out.parameter.rpartition(".")[0].rpartition(".")[0]
    whole = any(n > size and "norm" in name for name, n in sizes.items() if name.startswith(f"{module}."))
    coupled = "a norm over all heads" if whole else None

    def group(name: str, count: int, inside: list[UnitMember]) -> UnitGroup:
        reader = UnitMember(out.parameter, out.in_axis, "out", width=width // count)
        return UnitGroup(f"layer{i}.{name}", "head", count, (*inside, reader), coupled)

    if len(parts) == 1 and getattr(config, "model_type", None) in BY_HEAD:
        (fused,) = parts.values()
        if fused.shape[0] == 3 * width:
            yield group("heads", heads, _entering(fused, sizes, 3 * size))
        return
    expected = {"q": width, "k": shared * size, "v": shared * size}
    if {name: c.shape[0] for name, c in parts.items()} != expected:
        return
    query, *others = (parts[name] for name in "qkv")
    if shared != heads:
        yield group("heads", heads, _entering(query, sizes, size))
    inside = [member for c in others for member in _entering(c, sizes, size)]
    inside += _entering(query, sizes, width // shared)
    yield group("heads" if shared == heads else "key_value_heads", shared, inside)


def _neurons(i: int, layer: list[Connection], sizes: dict[str, int]) -> Iterator[UnitGroup]:
    down, up, gate = ([c for c in layer if c.role == role] for role in ("ffn_down", "ffn_up", "ffn_gate"))
    if len(down) != 1 or len(up) != 1 or len(gate) > 1:
        return
    count = down[0].shape[1]
    inside = [
        member
        for c in (*up, *gate)
        for start in range(0, c.shape[0], count)
        for member in _entering(c, sizes, 1, start)
    ]
    if up[0].shape[0] in (count, 2 * count) and all(c.shape[0] == count for c in gate):
        reader = UnitMember(down[0].parameter, down[0].in_axis, "out")
        yield UnitGroup(f"layer{i}.ffn", "neuron", count, (*inside, reader))


def _entering(c: Connection, sizes: dict[str, int], width: int, start: int = 0) -> list[UnitMember]:
    """A layer's rows of every unit, with its biases where there are some."""
    start += c.rows[0] if c.rows else 0
    bias = f"{c.parameter.removesuffix('weight')}bias"
    own = [UnitMember(bias, 0, "own", start, width)] if bias in sizes else []
    return [UnitMember(c.parameter, c.out_axis, "in", start, width), *own]
