"""Which of the network's weights can be masked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from harness import Band, Connection
from harness_biogpt.dendrites import EXPANSION
from harness_biogpt.shape import Shape
from harness_biogpt.temporal import TAPS

_ROLES = {"query": "qkv", "key": "qkv", "value": "qkv"}


def maskable(shape: Shape) -> Iterator[Connection]:
    """Every connection in network order; not the positions, norms, biases, gates, mixing weights and NMDA decays.

    Depths: 0 the embedding, 1 to n_layers the layers, n_layers + 1 the head; every connection within layer
    i, counted from 0, joins depths i and i + 1. What is inside neuron j of layer i has a name that starts
    with ``layer<i>.neuron<j>.``; its projection into the column is ``layer<i>.column<j>``.
    """
    width = shape.width
    tokens, head = Band("tokens", shape.vocabulary, 0), Band("head", shape.vocabulary, len(shape.layout) + 1)
    streams = [Band("embedding", width, 0), *(Band(f"layer{i}", width, i + 1) for i in range(len(shape.layout)))]
    yield Connection(
        name="embedding",
        parameter="embedding.weight",
        role="embedding",
        source=tokens,
        target=streams[0],
        shape=(width, shape.vocabulary),
        out_axis=1,
        in_axis=0,
        default=False,
    )
    for i in range(len(shape.layout)):
        yield from _column(shape, i, streams[i], streams[i + 1])
    for late, early in shape.pairs:
        yield from _feedback(shape, late, early, streams)
    yield Connection(
        name="head",
        parameter="head.weight",
        role="head",
        source=streams[-1],
        target=head,
        shape=(shape.vocabulary, width),
        default=False,
    )


def _column(shape: Shape, i: int, source: Band, target: Band) -> Iterator[Connection]:
    """The neurons of layer ``i``, in order, then their projections."""
    width, layer = shape.width, shape.layout[i]
    neurons = iter(range(len(layer)))
    for r, (branches, run) in enumerate(groupby(layer)):
        count = len(list(run))
        for place in range(count):
            yield from _neuron(shape, i, next(neurons), (r, place, count), branches, source)
    for j in range(len(layer)):
        yield Connection(
            name=f"layer{i}.column{j}",
            parameter=f"columns.{i}.projection",
            role="column",
            source=Band(f"layer{i}.column{j}.in", width, i),
            target=target,
            shape=(width, width),
            columns=(j * width, (j + 1) * width),
        )


def _neuron(
    shape: Shape, i: int, j: int, stack: tuple[int, int, int], branches: int, stream: Band
) -> Iterator[Connection]:
    """Neuron ``j`` of layer ``i``; its dendrites are in module ``stack[0]``, at place ``stack[1]`` of ``stack[2]``."""
    width, hidden, units = shape.width, shape.soma_units, shape.width // branches
    run, place, count = stack

    def connection(
        leaf: str, parameter: str, size: tuple[int, ...], source: int | Band, at: int | None = None
    ) -> Connection:
        # One band has one depth, so the units between two connections are one band as targets, one as sources.
        return Connection(
            name=f"layer{i}.neuron{j}.{leaf}",
            parameter=f"columns.{i}.{parameter}",
            role=_ROLES.get(leaf, leaf),
            source=source if isinstance(source, Band) else Band(f"layer{i}.neuron{j}.{leaf}.in", source, i),
            target=Band(f"layer{i}.neuron{j}.{leaf}", size[0], i + 1),
            shape=size,
            rows=None if at is None else (at * size[0], (at + 1) * size[0]),
        )

    for part, leaf in enumerate(("query", "key", "value")):
        yield connection(leaf, f"dendrites.{run}.qkv", (width, width), stream, part * count + place)
    if shape.branch_ffn:
        if shape.temporal_conv:
            yield connection("conv", f"dendrites.{run}.conv_weight", (width, units, TAPS), width, place)
        up, down = (EXPANSION * width, units), (width, EXPANSION * units)
        yield connection("branch_up", f"dendrites.{run}.up.weight", up, width, place)
        yield connection("branch_down", f"dendrites.{run}.down.weight", down, EXPANSION * width, place)
    yield connection("soma", f"somas.{j}.projection.weight", (width, width), width)
    if shape.soma_ffn:
        yield connection("ffn_up", f"somas.{j}.up.weight", (hidden, width), width)
        yield connection("ffn_down", f"somas.{j}.down.weight", (width, hidden), hidden)


def _feedback(shape: Shape, late: int, early: int, streams: list[Band]) -> Iterator[Connection]:
    """The projection of a late layer, and the gate's columns for the target and for the projected."""
    width, module = shape.width, f"feedback.{late}_to_{early}"
    target = streams[early if shape.feedback_into == "layer" else 0]
    fed = Band(f"{module}.fed", width, target.depth)
    parts = (
        ("projection", "projection", streams[late + 1], None),
        ("gate_target", "gate", target, (0, width)),
        ("gate_late", "gate", Band(f"{module}.projected", width, late + 1), (width, 2 * width)),
    )
    for leaf, parameter, source, columns in parts:
        yield Connection(
            name=f"{module}.{leaf}",
            parameter=f"{module}.{parameter}.weight",
            role="feedback",
            source=source,
            target=fed,
            shape=(width, width),
            columns=columns,
            # With one pass these are never trained: masking them would only make numbers look better.
            default=shape.n_passes > 1,
        )
