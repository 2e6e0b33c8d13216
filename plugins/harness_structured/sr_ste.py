"""N of every M weights, trained from the first step on (SR-STE)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from harness import Connection, Masks, MethodContext, Phase, Train, TrainingBudget
from harness_structured.pattern import PatternMethod, PatternOptions


class SrSteOptions(PatternOptions):
    """Options of ``sr_ste``.

    Attributes:
        decay: pull of the weights that are not in the pattern towards 0, at least 0; 2e-4 in Zhou et al. 2021
            (lambda_W), where 0 is the plain straight-through estimator.
    """

    decay: float = Field(2e-4, ge=0)


class SrSte(PatternMethod[SrSteOptions]):
    """Computes with the largest N of every M weights, of which it chooses anew in every step, and trains all of them.

    Gradients pass straight through to every weight; those that are not in the pattern get ``decay`` times their value
    besides, so that they do not come back too easily. The optimizer's own decay acts on all weights, as published.

    Source: Zhou et al. 2021, "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch",
    arXiv:2102.04010, eq. 9.
    """

    Options = SrSteOptions
    mode = "composed"

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """One training."""
        self.pattern.agreed(budget)
        return [Train(budget.steps)]

    def compose(self, connection: Connection, raw: Tensor) -> Tensor:
        """The weights in the pattern, and 0."""
        effective: Tensor = _SparseRefined.apply(raw, self.mask(connection, raw.detach()), self.options.decay)
        return effective

    @torch.no_grad()
    def final_masks(self, context: MethodContext) -> Mapping[str, Tensor]:
        """The pattern of the weights as they are."""
        return Masks({c.name: self.mask(c, context.weight(c)) for c in context.connections})


class _SparseRefined(torch.autograd.Function):
    """raw where the mask is True; its gradient is that of the result, plus decay x raw where it is False."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, mask: Tensor, decay: float) -> Tensor:
        ctx.save_for_backward(raw, mask)
        ctx.decay = decay
        return raw.masked_fill(~mask, 0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        raw, mask = ctx.saved_tensors
        return gradient + ctx.decay * raw.masked_fill(mask, 0), None, None
