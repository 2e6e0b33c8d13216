"""The dead-neuron rule: a neuron that lost nearly all its weights loses the rest."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from harness import Connection, Masks


def without_dead_neurons(
    masks: Masks, connections: Sequence[Connection], lost: float, names: str | None = None
) -> Masks:
    """Masks in which neurons that lost more than a fraction of their weights keep none.

    Args:
        masks: the masks after pruning.
        connections: those that ``masks`` covers.
        lost: fraction in [0, 1) of a neuron's maskable weights; more than that gone is dead.
        names: what a neuron is. None: one output unit of a parameter, with all that enters it there (a
            layer that reads several bands counts them together). A regular expression: all connections
            in whose names it finds the same text are one neuron; others are left alone.
    """
    groups: dict[Hashable, list[Connection]] = {}
    for connection in connections:
        key: Hashable = (connection.parameter, connection.rows)
        if names is not None:
            found = re.search(names, connection.name)
            if found is None:
                continue
            key = found.group()
        groups.setdefault(key, []).append(connection)
    refined = dict(masks)
    for group in groups.values():
        rows = [_by_neuron(masks[c.name], one=names is not None) for c in group]
        kept = torch.stack([r.sum(1) for r in rows]).sum(0)
        size = sum(r.shape[1] for r in rows)
        alive = (size - kept).double() / size <= lost
        for connection, row in zip(group, rows, strict=True):
            refined[connection.name] = (row & alive[:, None]).reshape(connection.shape)
    return Masks(refined)


def _by_neuron(mask: Tensor, one: bool) -> Tensor:
    """A mask as (neurons, weights of each); ``one``: the whole region belongs to one neuron."""
    return mask.reshape(1, -1) if one else mask.flatten(1)
