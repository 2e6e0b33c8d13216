"""Does a method write to the network behind the harness's back?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from harness.core.method import SparsityMethod
from harness.core.method_context import MethodContext
from harness.testing.checks import require

HOOKS = (
    "attach",
    "scores",
    "refine",
    "calibrate",
    "start",
    "effective",
    "on_gradients",
    "regularizers",
    "after_step",
    "final_masks",
    "final",
    "soft_densities",
    "state_dict",
    "load_state_dict",
)
"""Of which none may write to the network."""


def guard(method: SparsityMethod[Any], context: MethodContext) -> None:
    """From here on every hook that writes to the network fails: what a method wants to change, it returns."""

    def guarded(hook: str) -> Callable[..., Any]:
        original = getattr(method, hook)

        def call(*arguments: Any) -> Any:
            own = {id(tensor): tensor for tensor in (*context.model.parameters(), *context.raw.values())}
            before = {key: tensor.detach().clone() for key, tensor in own.items()}
            found = original(*arguments)
            written = [tensor for key, tensor in own.items() if not _same(tensor.detach(), before[key])]
            require(
                not written,
                f"{type(method).__name__}.{hook}() writes to the network's weights: return new ones from refine(), or "
                "compose() them",
            )
            return found

        return call

    for hook in HOOKS:
        setattr(method, hook, guarded(hook))


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal to the bit, NaN included."""
    return torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8)) if a.ndim else bool(a == b)
