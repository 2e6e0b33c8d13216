"""Units: whole neurons, heads, branches and channels, and where each of them lies in the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from harness.core.connections import Connection
from harness.core.masks import Masks

UnitKind = Literal["neuron", "head", "branch", "channel"]
Side = Literal["in", "out", "own"]


@dataclass(frozen=True, slots=True)
class UnitMember:
    """Where the units of a group lie along one axis of one parameter: unit i from ``start + i * stride`` on.

    Attributes:
        parameter: name in ``module.named_parameters()``, or of a buffer (the running statistics of a norm).
        axis: of the parameter, from 0.
        side: ``in`` are weights that the units receive by, ``out`` weights that others read them by, ``own`` the
            rest that is theirs: biases, scales, weights within a unit, an embedding that is also the head.
        start: the first entry of the first unit.
        width: entries of one unit, at least 1.
        stride: from the beginning of one unit to that of the next, at least ``width``; None is ``width``.
        only: the one unit that is here, where each has parameters of its own; None: all of the group.
    """

    parameter: str
    axis: int
    side: Side
    start: int = 0
    width: int = 1
    stride: int | None = None
    only: int | None = None

    def units(self, length: int, count: int) -> Tensor:
        """The unit of each entry along an axis of ``length``, int64 (length,) in [0, count); -1 where there is none."""
        place = torch.arange(length) - self.start
        if self.only is not None:
            return torch.where((place >= 0) & (place < self.width), self.only, -1)
        stride = self.stride or self.width
        unit = place.div(stride, rounding_mode="floor")
        inside = (place >= 0) & (unit < count) & (place - unit * stride < self.width)
        return torch.where(inside, unit, -1)


@dataclass(frozen=True, slots=True)
class UnitGroup:
    """Units of one kind that are alike: a layer's neurons or heads, a neuron's branches, a residual stream's channels.

    Attributes:
        name: unique within an architecture, for example ``"layer3.heads"``.
        kind: what a unit is.
        count: number of units, at least 1.
        members: everything that belongs to them.
        coupled: what the units share, in words, so that a unit cannot be cut out without changing what the others
            compute (a norm over all of them, a softmax). None: once its ``out`` entries are zero, nothing
            depends on the rest of a unit, and it can be removed.
    """

    name: str
    kind: UnitKind
    count: int
    members: tuple[UnitMember, ...]
    coupled: str | None = None

    @property
    def removable(self) -> bool:
        """Whether a unit whose ``out`` entries are zero can be cut out of the network."""
        return self.coupled is None


def outermost(groups: Sequence[UnitGroup]) -> list[UnitGroup]:
    """Groups whose units can go one by one, and are no parts of larger ones, as query heads that share a key are."""
    return [g for g in groups if not any(_holds(other, g) for other in groups if other.removable)]


def out_units(connection: Connection, groups: Sequence[UnitGroup]) -> list[tuple[UnitGroup, Tensor]]:
    """The groups that a connection's rows belong to, each with the unit of every row, int64 (out,); -1 where none."""
    return _along(connection, groups, connection.out_axis, connection.rows, connection.shape[0])


def in_units(connection: Connection, groups: Sequence[UnitGroup]) -> list[tuple[UnitGroup, Tensor]]:
    """The groups that a connection's columns belong to, each with the unit of every column, int64 (in,); -1: none."""
    return _along(connection, groups, connection.in_axis, connection.columns, connection.shape[1])


def unit_scores(group: UnitGroup, values: Mapping[str, Tensor]) -> Tensor:
    """Sum of the squares of everything that belongs to each unit, float64 (count,).

    Args:
        group: whose units.
        values: parameter -> a number for each of its entries: weights, gradients, ... Members that are not here do
            not count: ``context.raw`` holds what can be masked, ``dict(context.model.named_parameters())`` all.
            An entry counts once for every member that it lies in.
    """
    total = torch.zeros(group.count, dtype=torch.float64)
    for member in group.members:
        if member.parameter in values:
            squares = values[member.parameter].detach().double().square().movedim(member.axis, 0)
            units = member.units(len(squares), group.count)
            sums = squares.reshape(len(squares), -1).sum(1).cpu()
            total.index_add_(0, units[units >= 0], sums[units >= 0])
    return total


def in_use(group: UnitGroup, side: Side, flags: Mapping[str, Tensor]) -> Tensor:
    """Which units have an entry that is True on one of their sides, bool (count,).

    Parameters that are not in ``flags`` count as True.
    """
    found = torch.zeros(group.count, dtype=torch.bool)
    for member in group.members:
        if member.side != side:
            continue
        if member.parameter not in flags:
            return torch.ones_like(found)
        along = flags[member.parameter].movedim(member.axis, 0).flatten(1).any(1).cpu()
        units = member.units(len(along), group.count)
        found[units[(units >= 0) & along]] = True
    return found


def unit_masks(connections: Sequence[Connection], groups: Sequence[UnitGroup], kept: Mapping[str, Tensor]) -> Masks:
    """Masks that keep exactly the weights of kept units: both what enters and what leaves the others is gone.

    Args:
        connections: those to mask.
        groups: the architecture's.
        kept: group -> bool (count,); groups that are not here stay whole.
    """
    chosen = [group for group in groups if group.name in kept]
    masks = {}
    for connection in connections:
        mask = torch.ones(connection.shape, dtype=torch.bool)
        for axis, found in enumerate((out_units(connection, chosen), in_units(connection, chosen))):
            for group, units in found:
                alive = (units < 0) | kept[group.name].cpu()[units]
                mask &= alive.reshape(-1, *(1,) * (mask.ndim - 1 - axis))
        masks[connection.name] = mask
    return Masks(masks)


def _holds(larger: UnitGroup, group: UnitGroup) -> bool:
    """Whether the units of a group are parts of fewer, ``larger`` units: they are read in the same places."""

    def places(of: UnitGroup) -> set[tuple[str, int, int]]:
        return {(m.parameter, m.axis, m.start) for m in of.members if m.side == "out" and m.only is None}

    return larger.count < group.count and bool(places(larger) & places(group))


def _along(
    connection: Connection, groups: Sequence[UnitGroup], axis: int, span: tuple[int, int] | None, length: int
) -> list[tuple[UnitGroup, Tensor]]:
    start, found = span[0] if span else 0, []
    for group in groups:
        whole = torch.full((length,), -1)
        for member in group.members:
            if member.parameter == connection.parameter and member.axis == axis:
                units = member.units(start + length, group.count)[start:]
                whole = torch.where(units < 0, whole, units)
        if bool((whole >= 0).any()):
            found.append((group, whole))
    return found
