"""Bands, and the connections between them that a sparsity method may mask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["weight", "attention"]
Counts = Literal["weight", "pair"]

CLOSED = -1e4
"""What a closed entry of an attention mask adds to its score: its share is exactly 0 beside any that is open.

Finite, because a query that keeps no key would have NaN for minus infinity. Where all that it sees is closed, the
number cancels in the softmax, and the query sees all of it as without a mask.
"""


@dataclass(frozen=True, slots=True)
class Band:
    """A group of units at one depth of the network: the input, a layer's neurons, a block's channels.

    Attributes:
        name: unique within an architecture, for example ``"hidden2"``.
        size: number of units, at least 1.
        depth: position in the network's order, counted from 0; bands of equal name have equal depth.
        grid: how the units lie, row by row: (8, 8) patches of a picture; () in a line.
    """

    name: str
    size: int
    depth: int
    grid: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Connection:
    """A maskable region of one parameter, from a source band to a target band.

    Attributes:
        name: unique within an architecture, for example ``"block3.attn.out"``.
        parameter: canonical name in ``module.named_parameters()``; several connections may share one
            (a fused qkv, or the columns of a layer that reads several earlier bands).
        role: what the region does. Conventional roles: ``ffn_up``, ``ffn_down``, ``qkv``, ``attn_out``,
            ``conv``, ``skip``, ``dense``, ``classifier``, ``embedding``, ``head``; of attention
            biases ``temporal_attention``, ``spatial_attention``.
        source, target: the bands it joins. Their sizes are the region's in and out widths, except for
            grouped weights, where ``shape`` alone says what is there.
        shape: shape of the region, (out, in) or (out, in, *kernel).
        rows, columns: half-open ranges of the region on the parameter's out and in axes;
            None is the whole axis.
        out_axis, in_axis: which axes of the parameter are out and in (1, 0 for transposed layouts).
        kind: ``weight`` is multiplied by its mask. ``attention`` is no weight: ``parameter`` names a buffer of zeros
            that the network adds to the scores of attention, rows are queries (targets), columns keys (sources), and
            further axes heads. Its masks are in scope for methods that say so (``kinds``), and counted apart.
        default: whether a suite that names no scope masks this connection (embeddings and heads: no).
        counts: what records count besides weights: ``pair`` (out, in) where those with one kernel are one.
    """

    name: str
    parameter: str
    role: str
    source: Band
    target: Band
    shape: tuple[int, ...]
    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None
    out_axis: int = 0
    in_axis: int = 1
    kind: Kind = "weight"
    default: bool = field(default=True)
    counts: Counts = "weight"

    @property
    def size(self) -> int:
        """Number of weights in the region."""
        return prod(self.shape)

    def region(self, parameter: Tensor) -> Tensor:
        """The region as a view of ``parameter`` with axes in the order (out, in, *kernel)."""
        view = parameter
        if self.rows is not None:
            view = view.narrow(self.out_axis, self.rows[0], self.rows[1] - self.rows[0])
        if self.columns is not None:
            view = view.narrow(self.in_axis, self.columns[0], self.columns[1] - self.columns[0])
        if (self.out_axis, self.in_axis) != (0, 1):
            view = view.movedim((self.out_axis, self.in_axis), (0, 1))
        return view

    def fills(self, parameter: Tensor) -> bool:
        """Whether the region is the whole parameter as it is stored."""
        return self.shape == tuple(parameter.shape) and (self.out_axis, self.in_axis) == (0, 1)


def weights_among(connections: Iterable[Connection]) -> tuple[Connection, ...]:
    """Those whose masks are on weights: all but attention masks."""
    return tuple(c for c in connections if c.kind == "weight")
