"""Whether imported weights are those of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.errors import UserError

if TYPE_CHECKING:
    from torch import nn


def require_fit(module: nn.Module, given: Mapping[str, Sequence[int]], name: str) -> None:
    """Raise UserError unless there is a tensor of its shape for every one of a module, and no other.

    A tied parameter is given once, under its first name.

    Args:
        module: any device, also torch's meta device.
        given: name -> shape of what the folder ``name`` holds.
    """
    own = {n: tuple(tensor.shape) for n, tensor in module.state_dict().items()}
    canonical = {n for n, _ in module.named_parameters()}
    tied = {n for n, _ in module.named_parameters(remove_duplicate=False)} - canonical
    problems = [f"{n} is missing" for n in own if n not in given and n not in tied]
    problems += [f"{n} is not in the network" for n in given if n not in own]
    problems += [
        f"{n} is {tuple(given[n])}, the network's is {own[n]}"
        for n in own.keys() & given.keys()
        if own[n] != tuple(given[n])
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(
            f"the weights '{name}' do not fit the network: {'; '.join(sorted(problems)[:5])}{more}. Give the options "
            "of the architecture that they are of: harness import and harness export print them"
        )
