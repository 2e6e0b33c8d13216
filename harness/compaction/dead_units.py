"""Which units of a network nothing reads any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from harness.core.units import UnitGroup, in_use


def kept_units(groups: Sequence[UnitGroup], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The units on which something depends: group -> bool (count,).

    A unit goes if all weights by which others read it are zero, or lead to units that go. One unit of each group stays
    in any case, the first if all could go: most layers cannot be built without any.

    Args:
        groups: units that can be removed, see :attr:`UnitGroup.removable`.
        tensors: effective weights by parameter; those that are not here are not zero.
    """
    read = {m.parameter: tensors[m.parameter] != 0 for g in groups for m in g.members if m.parameter in tensors}
    alive = {group.name: torch.ones(group.count, dtype=torch.bool) for group in groups}
    changed = True
    while changed:
        changed = False
        for group in groups:
            left = alive[group.name] & in_use(group, "out", read)
            if not torch.equal(left, alive[group.name]):
                alive[group.name], changed = left, True
                _close(group, ~left, read)
    for left in alive.values():
        if not left.any():
            left[0] = True
    return alive


def _close(group: UnitGroup, gone: Tensor, read: Mapping[str, Tensor]) -> None:
    """What belongs to units that go reads nothing."""
    for member in group.members:
        if member.parameter in read:
            entries = read[member.parameter].movedim(member.axis, 0)
            units = member.units(len(entries), group.count)
            entries[(units >= 0) & gone[units]] = False
