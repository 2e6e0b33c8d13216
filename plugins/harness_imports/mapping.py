"""Strict mapping of foreign names onto a network's own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from harness import Architecture, DataSpec, UserError

Sources = Mapping[str, tuple[str, ...]]
"""Name in the network -> names in the checkpoint, whose tensors are stacked along the first axis."""


def mapped(
    state: Mapping[str, Tensor], sources: Sources, architecture: Architecture[Any], ignored: Collection[str] = ()
) -> dict[str, Tensor]:
    """The network's tensors, copied; every tensor of ``state`` is used once or is among the ``ignored``.

    Raises:
        UserError: for names that are missing or unexpected, or tensors of another shape; lists the first few.
    """
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in architecture.build().state_dict().items()}
    assert shapes.keys() == sources.keys(), sorted(shapes.keys() ^ sources.keys())
    used = {theirs for names in sources.values() for theirs in names}
    _refuse("is missing", used - state.keys())
    _refuse("has unexpected", state.keys() - used - set(ignored))
    wrong = []
    found = {}
    for ours, names in sources.items():
        tensors = [state[theirs] for theirs in names]
        try:
            found[ours] = torch.cat(tensors) if len(tensors) > 1 else tensors[0].clone()
        except (RuntimeError, IndexError):
            found[ours] = torch.empty(0)
        if tuple(found[ours].shape) != shapes[ours]:
            given = ", ".join(f"{theirs} {tuple(state[theirs].shape)}" for theirs in names)
            wrong.append(f"{given} instead of {shapes[ours]}{' together' if len(names) > 1 else ''}")
    _refuse("has wrong shapes:", wrong)
    return found


def layers(state: Mapping[str, Tensor], *prefixes: str) -> int:
    """Number of layers: one more than the largest index behind any of ``prefixes``, at least 1."""
    behind = (name.removeprefix(prefix) for prefix in prefixes for name in state if name.startswith(prefix))
    indices = [int(rest.split(".")[0]) for rest in behind if rest.split(".")[0].isdecimal()]
    # No more than there are tensors: a mistyped index must not ask for a network of that many layers.
    return min(max(indices, default=0) + 1, len(state))


def sizes(state: Mapping[str, Tensor], name: str, dimensions: int = 2) -> tuple[int, ...]:
    """The shape of a tensor that must be there.

    Raises:
        UserError: if it is not there or has another number of dimensions.
    """
    if name not in state:
        _refuse("is missing", [name])
    if state[name].dim() != dimensions:
        _refuse("has wrong shapes:", [f"{name} {tuple(state[name].shape)} instead of {dimensions} dimensions"])
    return tuple(state[name].shape)


def feed_forward(units: int, width: int) -> tuple[int, int | None]:
    """Feed-forward units as ``ffn_multiple`` and ``ffn``, which is None where they are a multiple of the width."""
    return max(1, units // width), units if units % width else None


def multiple(units: int, width: int) -> int:
    """Feed-forward units in widths.

    Raises:
        UserError: if it is no whole number of widths.
    """
    if units % width:
        raise UserError(f"the checkpoint's feed-forward layers have {units} units, no multiple of its width {width}")
    return units // width


def language(context: int, vocabulary: int, tokenizer: str = "") -> DataSpec:
    """The data of a language model."""
    return DataSpec("language", (context,), vocabulary, examples=1, tokens=context, tokenizer=tokenizer)


def _refuse(what: str, names: Iterable[str]) -> None:
    if found := sorted(names):
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise UserError(f"the checkpoint {what} {', '.join(found[:5])}{more}; is it the whole model, and of this kind?")
