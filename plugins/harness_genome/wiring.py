"""Hard masks of an exact number of weights from the logits of a genome."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod
from typing import Literal

import torch
from torch import Tensor

from harness import Connection, DensityBudget, Masks, select
from harness_genome.layout import Layout

Distribution = Literal["global", "uniform", "erk"]


def pairwise(values: Tensor, connection: Connection) -> Tensor:
    """Values of pairs (out, in) for every weight (out, in, *kernel) of a connection; a view."""
    return values.reshape(*values.shape, *(1,) * (len(connection.shape) - 2)).expand(connection.shape)


def largest(
    layout: Layout,
    logits: Sequence[Tensor],
    budget: DensityBudget,
    connections: Sequence[Connection],
    distribution: Distribution,
) -> Masks:
    """The weights of the largest logits, exactly as many as the ``budget`` says; whole kernels, exact to one kernel.

    Of equal logits the first are kept, in the order of connections, then of rows, then of columns.

    Args:
        layout: of the ``connections``.
        logits: of its blocks, (out, in) each.
        budget: its counts per connection, where it has some, override ``distribution``.
        connections: those in scope.
        distribution: what is ranked together: ``global`` everything, ``uniform`` and ``erk`` each connection.
    """
    shapes = {c.name: c for c in connections}
    scores = {name: pairwise(part, shapes[name]) for name, part in layout.parts(logits)}
    return select(scores, budget, connections, distribution, "kernel")


@torch.no_grad()
def thresholds(layout: Layout, logits: Sequence[Tensor], masks: Masks, shared: bool) -> list[Tensor]:
    """The smallest logit that ``masks`` keep, for every column of every block, (in,); infinite where none is kept.

    ``shared``: the smallest of all; otherwise each connection has its own.
    """
    lowest = {
        name: torch.where(_pairs(masks[name]), part, inf).amin().reshape(1) for name, part in layout.parts(logits)
    }
    if shared:
        lowest = dict.fromkeys(lowest, torch.cat(list(lowest.values())).amin().reshape(1))
    return [torch.cat([lowest[c.name].expand(c.shape[1]) for c in block.connections]) for block in layout.blocks]


def block_masks(layout: Layout, masks: Masks) -> list[Tensor]:
    """The masks of pairs (out, in) of every block; the inverse of :meth:`Layout.parts`."""
    return [torch.cat([_pairs(masks[c.name]) for c in block.connections], dim=1) for block in layout.blocks]


def whole_kernels(asked: int, kept: int, connections: Sequence[Connection]) -> str | None:
    """Why the count may differ: kernels are kept whole, exact to one of each connection."""
    near = abs(asked - kept) < sum(prod(c.shape[2:]) for c in connections if len(c.shape) > 2)
    return "whole kernels, exact to one of each connection" if near else None


def _pairs(mask: Tensor) -> Tensor:
    return mask.flatten(2)[..., 0] if mask.ndim > 2 else mask
