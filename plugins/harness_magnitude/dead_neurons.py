"""The dead-neuron rule: a neuron that lost nearly all its weights loses the rest."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from harness import Connection, Masks, UnitGroup, in_units, out_units, unit_masks


def without_dead_rows(masks: Masks, connections: Sequence[Connection], lost: float) -> Masks:
    """Masks in which output units of a parameter that lost more than a fraction of their weights keep none.

    All that enters a unit counts: a layer that reads several bands has them together.

    Args:
        masks: the masks after pruning.
        connections: those that ``masks`` covers.
        lost: fraction in [0, 1) of a unit's maskable weights; more than that gone is dead.
    """
    groups: dict[Hashable, list[Connection]] = {}
    for connection in connections:
        groups.setdefault((connection.parameter, connection.rows), []).append(connection)
    refined = dict(masks)
    for group in groups.values():
        kept = torch.stack([masks[c.name].flatten(1).sum(1) for c in group]).sum(0)
        alive = _alive(kept, torch.full_like(kept, sum(c.size // c.shape[0] for c in group)), lost)
        for c in group:
            refined[c.name] = masks[c.name] & alive.reshape(-1, *(1,) * (len(c.shape) - 1))
    return Masks(refined)


def without_dead_units(
    masks: Masks, connections: Sequence[Connection], lost: float, groups: Sequence[UnitGroup]
) -> Masks:
    """The same for units: of what enters them and what is their own; what leaves them is not looked at.

    Args:
        masks, connections, lost: as above.
        groups: the units; other weights are left alone.
    """
    # What a neuron's way out looks like is the reader's affair: the published rule ends at the neuron.
    inner = [replace(g, members=tuple(m for m in g.members if m.side != "out")) for g in groups]
    kept, size = ({g.name: torch.zeros(g.count, dtype=torch.int64) for g in inner} for _ in range(2))
    for c in connections:
        mask = masks[c.name].cpu()
        for axis, found in enumerate((out_units(c, inner), in_units(c, inner))):
            counts = mask.movedim(axis, 0).reshape(c.shape[axis], -1).sum(1)
            for group, units in found:
                inside = units >= 0
                kept[group.name].index_add_(0, units[inside], counts[inside])
                size[group.name] += torch.bincount(units[inside], minlength=group.count) * (c.size // c.shape[axis])
    alive = {name: _alive(kept[name], size[name], lost) for name in kept}
    whole = unit_masks(connections, inner, alive)
    return Masks({name: mask & whole[name].to(mask.device) for name, mask in masks.items()})


def _alive(kept: Tensor, size: Tensor, lost: float) -> Tensor:
    """Which lost at most a fraction ``lost``; those without maskable weights have lost none."""
    return (size - kept).double() / size.clamp_min(1) <= lost
