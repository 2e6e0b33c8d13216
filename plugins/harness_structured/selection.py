"""Which units stay, so that as many weights do as were asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import inf
from typing import Literal

import torch
from torch import Tensor

from harness import Connection, UnitGroup, Unsupported, in_units, out_units


def ranked(scores: Sequence[Tensor], distribution: Literal["uniform", "global"], least: int) -> Tensor:
    """The order in which units are kept, int64 (units,): places in the groups laid end to end.

    Args:
        scores: of each group's units, (count,); of equal ones the lower index is kept first.
        distribution: ``uniform`` keeps the same fraction of every group, to half a unit; where groups are of one size,
            earlier ones get a unit more first. ``global`` goes by the scores alone.
        least: units of each group that come before all others.

    Raises:
        ValueError: if a score is NaN.
    """
    keys = []
    for values in scores:
        if torch.isnan(values).any():
            raise ValueError("scores of units hold NaN: the ranking would be meaningless")
        rank = torch.empty(len(values), dtype=torch.float64)
        rank[values.argsort(descending=True, stable=True)] = torch.arange(len(values), dtype=torch.float64)
        key = (rank + 0.5) / len(values) if distribution == "uniform" else -values
        keys.append(key.masked_fill(rank < least, -inf))
    return torch.cat(keys).argsort(stable=True)


def nearest(
    asked: int, order: Tensor, groups: Sequence[UnitGroup], connections: Sequence[Connection], least: int
) -> dict[str, Tensor]:
    """The first units of an ``order`` that leave nearly ``asked`` weights: group -> bool (count,), for ``unit_masks``.

    No other number of units comes nearer; of two that are as near, the smaller is taken.

    Args:
        asked: weights to keep in all connections; those that belong to no unit always stay.
        order: see :func:`ranked`.
        groups: to which its places refer.
        connections: those in scope.
        least: units of each group that stay in any case.

    Raises:
        Unsupported: if more weights stay in any case.
    """
    sides = [(c, (out_units(c, groups), in_units(c, groups))) for c in connections]

    def kept(units: int) -> dict[str, Tensor]:
        flat = torch.zeros(len(order), dtype=torch.bool)
        flat[order[:units]] = True
        return dict(zip((g.name for g in groups), flat.split_with_sizes([g.count for g in groups]), strict=True))

    def weights(units: int) -> int:
        staying = kept(units)
        return sum(_left(c, both, staying) for c, both in sides)

    fewest = sum(min(least, group.count) for group in groups)
    if weights(fewest) > asked:
        size = sum(c.size for c in connections)
        raise Unsupported(
            f"density {asked / size:.4g} cannot be reached: weights that belong to no unit, and {least} of each group "
            f"of units, are {weights(fewest) / size:.4g} of all. Ask for more, name more kinds, or lower 'least'"
        )
    units = fewest + bisect_left(range(fewest, len(order)), asked, key=weights)
    before = max(fewest, units - 1)
    return kept(before if asked - weights(before) <= weights(units) - asked else units)


def _left(connection: Connection, sides: Sequence[list[tuple[UnitGroup, Tensor]]], kept: Mapping[str, Tensor]) -> int:
    """Weights of a connection between rows and columns of which no unit is gone."""
    count = connection.size
    for axis, found in enumerate(sides):
        alive = torch.ones(connection.shape[axis], dtype=torch.bool)
        for group, units in found:
            alive &= (units < 0) | kept[group.name][units]
        count = count // connection.shape[axis] * int(alive.sum())
    return count
