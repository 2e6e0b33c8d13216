"""How much each unit of a group matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from harness import MethodContext, UnitGroup

Score = Literal["l2", "l1", "taylor", "random"]


def importance(score: Score, groups: Sequence[UnitGroup], context: MethodContext, batches: int) -> list[Tensor]:
    """A number for every unit, float64 (count,) for each group; the higher, the more it matters.

    Args:
        score: ``l2`` and ``l1``: norms of the maskable weights that enter and leave a unit (Li et al. 2017; leaving
            ones count too, as in Torch-Pruning, Fang et al. 2023). ``taylor``: (sum of w dL/dw over the weights that
            leave it)^2, mean over batches: the squared change of the loss, to first order, when a gate of 1 behind the
            unit closes (Molchanov et al. 2019, equation 8 for gates). ``random``: uniform in [0, 1).
        groups: whose units.
        context: weights, batches and random numbers.
        batches: how many ``taylor`` looks at.
    """
    if score == "random":
        return [torch.rand(g.count, generator=context.generator(g.name), dtype=torch.float64) for g in groups]
    if score == "taylor":
        return _taylor(groups, context, batches)
    power = 2 if score == "l2" else 1
    weights = {name: weight.detach().abs().double() ** power for name, weight in context.raw.items()}
    return [_sums(group, weights, ("in", "out")) ** (1 / power) for group in groups]


def _taylor(groups: Sequence[UnitGroup], context: MethodContext, batches: int) -> list[Tensor]:
    names = sorted({m.parameter for group in groups for m in group.members if m.side == "out"})
    weights = [context.model.get_parameter(name) for name in names]
    totals = [torch.zeros(group.count, dtype=torch.float64) for group in groups]
    for inputs, targets in context.batches(batches):
        gradients = torch.autograd.grad(context.loss(inputs, targets), weights, materialize_grads=True)
        changes = {n: (w.detach() * g).double() for n, w, g in zip(names, weights, gradients, strict=True)}
        for group, total in zip(groups, totals, strict=True):
            total += _sums(group, changes, ("out",)).square() / batches
    return totals


def _sums(group: UnitGroup, values: Mapping[str, Tensor], sides: tuple[str, ...]) -> Tensor:
    """The sum of all that lies in each unit on some ``sides``, float64 (count,)."""
    total = torch.zeros(group.count, dtype=torch.float64)
    for member in group.members:
        if member.side in sides and member.parameter in values:
            rows = values[member.parameter].movedim(member.axis, 0)
            units = member.units(len(rows), group.count)
            sums = rows.reshape(len(rows), -1).sum(1).cpu()
            total.index_add_(0, units[units >= 0], sums[units >= 0])
    return total
