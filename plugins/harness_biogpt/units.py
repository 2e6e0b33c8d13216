"""The units of BioGPT: neurons of columns, their branches, the neurons of their soma FFN, the residual stream."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Literal

from harness import UnitGroup, UnitMember
from harness_biogpt.dendrites import EXPANSION
from harness_biogpt.shape import Shape


def units_of(shape: Shape) -> Iterator[UnitGroup]:
    """Per layer its neurons, then per neuron its branches and the hidden units of its soma FFN; then the stream.

    The hidden units of branch FFNs are no group: a column of ``down`` is another unit in each branch's rows.
    """
    for i, layer in enumerate(shape.layout):
        runs = [(r, branches, len(list(run))) for r, (branches, run) in enumerate(groupby(layer))]
        places = [(r, branches, place, count) for r, branches, count in runs for place in range(count)]
        inside: list[UnitMember] = []
        parts: list[UnitGroup] = []
        for j, (run, branches, place, count) in enumerate(places):
            inside += _neuron(shape, i, j, (run, place, count))
            parts.append(_branches(shape, i, j, (run, place, count), branches))
            if shape.soma_ffn:
                soma = f"columns.{i}.somas.{j}"
                members = (
                    UnitMember(f"{soma}.up.weight", 0, "in"),
                    UnitMember(f"{soma}.up.bias", 0, "own"),
                    UnitMember(f"{soma}.down.weight", 1, "out"),
                )
                parts.append(UnitGroup(f"layer{i}.neuron{j}.ffn", "neuron", shape.soma_units, members))
        inside.append(UnitMember(f"columns.{i}.projection", 1, "out", width=shape.width))
        yield UnitGroup(f"layer{i}.neurons", "neuron", len(layer), tuple(inside))
        yield from parts
    yield _stream(shape)


def _neuron(shape: Shape, i: int, j: int, stack: tuple[int, int, int]) -> Iterator[UnitMember]:
    """All that is inside neuron ``j``; its dendrites are module ``stack[0]``, at place ``stack[1]`` of ``stack[2]``."""
    for name, side, start, width in _dendrites(shape, i, j, stack):
        yield UnitMember(name, 0, side, start, width, only=j)
    soma, width = f"columns.{i}.somas.{j}", shape.width
    yield UnitMember(f"{soma}.projection.weight", 0, "own", width=width, only=j)
    if shape.soma_ffn:
        rows = {"norm.weight": width, "norm.bias": width, "down.weight": width, "down.bias": width}
        rows |= {"up.weight": shape.soma_units, "up.bias": shape.soma_units}
        for leaf, size in rows.items():
            yield UnitMember(f"{soma}.{leaf}", 0, "own", width=size, only=j)


def _branches(shape: Shape, i: int, j: int, stack: tuple[int, int, int], branches: int) -> UnitGroup:
    parts = _dendrites(shape, i, j, stack)
    members = [UnitMember(name, 0, side, start, width // branches) for name, side, start, width in parts]
    reader = UnitMember(f"columns.{i}.somas.{j}.projection.weight", 1, "out", width=shape.width // branches)
    return UnitGroup(f"layer{i}.neuron{j}.branches", "branch", branches, (*members, reader))


def _dendrites(
    shape: Shape, i: int, j: int, stack: tuple[int, int, int]
) -> Iterator[tuple[str, Literal["in", "own"], int, int]]:
    """One neuron's rows of what its dendrites have: parameter, side, first row, rows."""
    run, place, count = stack
    width, module = shape.width, f"columns.{i}.dendrites.{run}"
    for part in range(3):
        yield f"{module}.qkv", "in", (part * count + place) * width, width
    if shape.branch_gate:
        branches = shape.layout[i][j]
        yield f"{module}.gate_weight", "in", place * branches, branches
        yield f"{module}.gate_bias", "own", place * branches, branches
    leaves = ["nmda_decay"] * shape.nmda
    leaves += ["conv_weight", "conv_bias"] * (shape.branch_ffn and shape.temporal_conv)
    leaves += ["down.weight", "down.bias"] * shape.branch_ffn
    leaves += ["norm_weight", "norm_bias"] * shape.branch_norm
    for leaf in leaves:
        yield f"{module}.{leaf}", "own", place * width, width
    for leaf in ("up.weight", "up.bias") if shape.branch_ffn else ():
        yield f"{module}.{leaf}", "own", place * EXPANSION * width, EXPANSION * width


def _stream(shape: Shape) -> UnitGroup:
    members = [UnitMember(f"{name}.weight", 1, "in") for name in ("embedding", "positions")]
    for i, layer in enumerate(shape.layout):
        column = f"columns.{i}"
        members += [UnitMember(f"{column}.norm.{leaf}", 0, "own") for leaf in ("weight", "bias")]
        readers = ("qkv", "gate_weight") if shape.branch_gate else ("qkv",)
        runs = [f"{column}.dendrites.{r}" for r, _ in enumerate(groupby(layer))]
        members += [UnitMember(f"{run}.{leaf}", 1, "out") for run in runs for leaf in readers]
        members.append(UnitMember(f"{column}.projection", 0, "in"))
    for late, early in shape.pairs:
        # A channel of what a late layer feeds back is added to the same channel of the target.
        module = f"feedback.{late}_to_{early}"
        members += [UnitMember(f"{module}.{name}.weight", 0, "in") for name in ("projection", "gate")]
        members += [UnitMember(f"{module}.{leaf}", 0, "own") for leaf in ("gate.bias", "norm.weight", "norm.bias")]
        members.append(UnitMember(f"{module}.projection.weight", 1, "out"))
        members += [UnitMember(f"{module}.gate.weight", 1, "out", start) for start in (0, shape.width)]
    members += [UnitMember(f"norm.{leaf}", 0, "own") for leaf in ("weight", "bias")]
    members.append(UnitMember("head.weight", 1, "out"))
    return UnitGroup("stream", "channel", shape.width, tuple(members), coupled="norms over the residual stream")
