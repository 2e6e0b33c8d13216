"""Units whose inputs are gone, and which therefore give the same number for every example."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.core.units import UnitGroup, UnitMember, in_use

TOLERANCE = 1e-9
"""By how much, relative to the largest, gradients may differ from those of a constant; they are of float64."""


@dataclass(frozen=True, slots=True)
class Folding:
    """What became of units without inputs.

    Attributes:
        folded: how many were taken into the next bias, or gave nothing, over all groups.
        staying: group -> why some of its units stay.
    """

    folded: int
    staying: Mapping[str, str]


def fold_constants(
    module: nn.Module, groups: Sequence[UnitGroup], kept: Mapping[str, Tensor], draw: Callable[[int], Tensor]
) -> Folding:
    """Add what units without inputs give to the biases of their readers, and close the weights by which they are read.

    How much a unit gives is taken from gradients: of y = W a + b, with a column of a that is the same number c for all
    examples and places, dL/dW is c dL/db in that column, for any L. Where the two are not in one proportion, over all
    rows, kernel entries and two draws of examples and L, it gives no constant (a padded convolution sees zeros beside
    it) and stays; so it does where the reader has no bias, unless it gives exactly nothing, and where no example of a
    draw reaches the reader, of which gradients then say nothing.

    Args:
        module: in float64 and evaluation mode; changed.
        groups: units that can be removed.
        kept: group -> bool (count,): those that are still there.
        draw: the inputs of a draw, from its number.
    """
    tensors = dict(module.named_parameters())
    flags = {m.parameter: tensors[m.parameter] != 0 for g in groups for m in g.members if m.parameter in tensors}
    mute = {}
    for group in groups:
        entered = any(member.side == "in" for member in group.members)
        units = kept[group.name] & ~in_use(group, "in", flags) & in_use(group, "out", flags)
        if entered and units.any():
            mute[group.name] = units
    if not mute:
        return Folding(0, {})
    read = sorted({m.parameter for g in groups if g.name in mute for m in g.members if m.side == "out"})
    names = [*read, *(bias for name in read if (bias := _bias(name)) in tensors)]
    draws = [_gradients(module, {name: tensors[name] for name in names}, draw(i), i) for i in range(2)]
    folded, staying = 0, dict[str, str]()
    for group in groups:
        if group.name not in mute:
            continue
        left = mute[group.name].clone()
        for member in group.members:
            if member.side == "out":
                reasons = _fold(tensors, member, group.count, mute[group.name], draws)
                for unit, reason in reasons.items():
                    left[unit] = False
                    staying[group.name] = reason
        folded += int(left.sum())
    return Folding(folded, staying)


def _bias(parameter: str) -> str:
    return f"{parameter.removesuffix('weight')}bias"


def _gradients(module: nn.Module, tensors: Mapping[str, Tensor], inputs: Tensor, seed: int) -> dict[str, Tensor]:
    """Of a random linear function of all outputs."""
    with torch.enable_grad():
        outputs = module(inputs)
        generator = torch.Generator().manual_seed(seed)
        weights = torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype).to(outputs.device)
        found = torch.autograd.grad((outputs * weights).sum(), list(tensors.values()), materialize_grads=True)
    return dict(zip(tensors, found, strict=True))


@torch.no_grad()
def _fold(
    tensors: Mapping[str, Tensor], member: UnitMember, count: int, mute: Tensor, draws: Sequence[Mapping[str, Tensor]]
) -> dict[int, str]:
    """Fold what one reader reads of the ``mute`` units; why some of these stay."""
    weight, bias = tensors[member.parameter], tensors.get(_bias(member.parameter))
    columns = weight.movedim(member.axis, 0)
    units = member.units(len(columns), count)
    staying: dict[int, str] = {}
    reached = all(d[member.parameter].any() for d in draws)
    for entry in (i for i, unit in enumerate(units.tolist()) if unit >= 0 and mute[unit] and columns[i].any()):
        parts = [_rows(d[member.parameter].movedim(member.axis, 0)[entry]) for d in draws]
        constant = None
        if bias is not None:
            constant = _constant(parts, [d[_bias(member.parameter)] for d in draws])
        elif reached and not any(part.any() for part in parts):
            constant = 0.0
        if constant is None:
            staying[int(units[entry])] = f"{member.parameter} {_reason(reached, bias)}"
            continue
        if bias is not None:
            bias += constant * _rows(columns[entry]).sum(1)
        columns[entry] = 0
    return staying


def _reason(reached: bool, bias: Tensor | None) -> str:
    if not reached:
        return "is reached by no example that was tried"
    return (
        "does not read the same of them everywhere"
        if bias is not None
        else "has no bias that could take what they give"
    )


def _rows(column: Tensor) -> Tensor:
    """What is read of one entry, (out, *kernel), as (out, kernel)."""
    return column.reshape(len(column), -1)


def _constant(parts: Sequence[Tensor], biases: Sequence[Tensor]) -> float | None:
    """The number c with part = c x bias in every draw, (out, kernel) and (out,); None if there is none."""
    found = []
    for part, bias in zip(parts, biases, strict=True):
        square = float(bias @ bias)
        if not square:
            return None
        c = float(part.mean(1) @ bias) / square
        if float((part - c * bias[:, None]).abs().max()) > TOLERANCE * max(1.0, abs(c)) * float(bias.abs().max()):
            return None
        found.append(c)
    first, second = found
    return first if abs(first - second) <= TOLERANCE * max(1.0, abs(first)) else None
