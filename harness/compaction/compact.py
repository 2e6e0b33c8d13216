"""A network without the units that do nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.compaction.constants import fold_constants
from harness.compaction.dead_units import kept_units
from harness.core.units import UnitGroup, outermost
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.core.architecture import Architecture
    from harness.core.data import DataSpec

EXAMPLES = 32
"""Of a draw, on which constants are found and outputs compared."""
NUMBERS = 4096
"""Inputs of a draw are cut to about so many numbers in all, where they may be shorter; at least one example."""
AGREEMENT = 1e-10
"""By how much outputs in float64 may differ from the whole network's, relative to the largest."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """A smaller network and what it lacks.

    Attributes:
        module: computes what the whole one did, in its type.
        units: group -> (units left, units there were), for those that can be removed.
        folded: how many units without inputs were taken into the next bias, or gave nothing.
        staying: group -> why units without inputs stay.
    """

    module: nn.Module
    units: Mapping[str, tuple[int, int]]
    folded: int
    staying: Mapping[str, str]


def compact(architecture: Architecture[Any], module: nn.Module) -> Compacted:
    """The network without the units on which no output depends; the given one is not touched.

    Masks show in the weights: what is zero is gone. Units without inputs go as well where what they give fits into
    the next bias. Computed in float64, and compared with the whole network on random inputs.

    Args:
        architecture: that built it, for its units.
        module: with effective weights.

    Raises:
        HarnessError: if the smaller network computes something else; that is a fault of ``architecture.units()`` or
            ``architecture.cut()``.
    """
    whole = copy.deepcopy(module).double().eval().requires_grad_(True)
    groups = [group for group in outermost(architecture.units()) if group.removable]
    device = next(iter(whole.parameters())).device

    def draw(number: int) -> Tensor:
        return random_inputs(architecture.data, number).to(device)

    with torch.no_grad():
        expected = whole(draw(2))
    folded = 0
    while True:
        kept = kept_units(groups, dict(whole.named_parameters()))
        found = fold_constants(whole, groups, kept, draw)
        folded += found.folded
        if not found.folded:
            break
    original = {**dict(whole.named_parameters()), **dict(whole.named_buffers())}
    cut(whole, groups, kept)
    architecture.cut(whole, kept, {name: tensor.detach() for name, tensor in original.items()})
    name = type(architecture).__name__
    try:
        with torch.no_grad():
            difference = float((whole(draw(2)) - expected).abs().max())
    except RuntimeError as error:
        raise HarnessError(f"without its dead units {name} cannot compute: {error}") from error
    if not difference <= AGREEMENT * max(1.0, float(expected.abs().max())):
        raise HarnessError(f"without its dead units {name} is off by {difference:.3g}")
    units = {group.name: (int(kept[group.name].sum()), group.count) for group in groups}
    dtype = next(iter(module.parameters())).dtype
    return Compacted(whole.to(dtype).requires_grad_(False), units, folded, found.staying)


def cut(module: nn.Module, groups: Sequence[UnitGroup], kept: Mapping[str, Tensor]) -> None:
    """Delete everything that belongs to units that are not ``kept`` from the tensors of a module."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    staying: dict[tuple[str, int], Tensor] = {}
    for group in groups:
        for member in group.members:
            if member.parameter in tensors and not bool(kept[group.name].all()):
                length = tensors[member.parameter].shape[member.axis]
                units = member.units(length, group.count)
                flags = (units < 0) | kept[group.name][units]
                place = (member.parameter, member.axis)
                staying[place] = staying.get(place, torch.ones(length, dtype=torch.bool)) & flags
    for (name, axis), flags in staying.items():
        owner, _, leaf = name.rpartition(".")
        smaller = tensors[name].detach().index_select(axis, flags.nonzero().flatten().to(tensors[name].device))
        tensors[name] = nn.Parameter(smaller) if isinstance(tensors[name], nn.Parameter) else smaller
        setattr(module.get_submodule(owner), leaf, tensors[name])
    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.out_features, part.in_features = part.weight.shape
        elif isinstance(part, nn.Conv2d):
            part.out_channels, part.in_channels = part.weight.shape[0], part.weight.shape[1] * part.groups
        elif isinstance(part, nn.BatchNorm2d) and part.running_mean is not None:
            part.num_features = len(part.running_mean)


def random_inputs(
    spec: DataSpec, draw: int, examples: int = EXAMPLES, dtype: torch.dtype = torch.float64, whole: bool = False
) -> Tensor:
    """Inputs of a network for such data: tokens, or numbers from N(0, 1).

    Args:
        spec: of the data.
        draw: seed.
        examples: how many; fewer, and of language shorter, where they would be more than :data:`NUMBERS`.
        dtype: of numbers.
        whole: so many in any case, and as long as the data's: (examples, *inputs).
    """
    generator = torch.Generator().manual_seed(draw)
    if spec.token_ids:
        short = spec.kind == "language" and not whole
        shape = (min(spec.inputs[0], max(1, NUMBERS // examples)),) if short else spec.inputs
        return torch.randint(spec.token_ids, (examples, *shape), generator=generator)
    count = examples if whole else max(1, min(examples, 16 * NUMBERS // prod(spec.inputs)))
    return torch.randn((count, *spec.inputs), generator=generator, dtype=dtype)
