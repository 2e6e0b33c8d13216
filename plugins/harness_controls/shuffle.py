"""The shuffle control: do the positions of a mask matter, or only its counts?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from harness import Masks, MethodContext, Phase, Train, TrainingBudget, UserError
from harness_controls.source import TAKE_MASKS, FromSource


class ShuffleOptions(BaseModel):
    """Options of ``shuffle``.

    Attributes:
        granularity: ``weight`` permutes single weights; ``kernel`` whole (out, in) pairs, for masks that
            keep or remove kernels as one.
    """

    model_config = ConfigDict(extra="forbid")

    granularity: Literal["weight", "kernel"] = "weight"


class Shuffle(FromSource[ShuffleOptions]):
    """Trains from the initial weights with another cell's mask permuted within each connection.

    Counts per connection are the source's exactly, of attention masks those of each query. A permuted mask that equals
    the original is drawn again, so that every connection that is neither full nor empty differs.
    """

    Options = ShuffleOptions

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """Take the permuted masks, then train."""
        return [TAKE_MASKS, Train(budget.steps, hooks=False)]

    def refine(self, masks: Masks, context: MethodContext) -> Masks:
        """The source's masks, permuted; drawn on the CPU so that they are the same for every device."""
        generator = context.generator("mask")
        permute = _permuted if self.options.granularity == "weight" else _permuted_kernels
        original = super().refine(masks, context).to("cpu")
        shuffled = {}
        for c in context.connections:
            if c.kind == "attention":
                shuffled[c.name] = torch.stack([_permuted(keys, generator) for keys in original[c.name]])
            else:
                shuffled[c.name] = permute(original[c.name], generator)
        return Masks(shuffled).to(context.device)


def _permuted(mask: Tensor, generator: torch.Generator) -> Tensor:
    """A random permutation of ``mask`` other than itself, unless it is full or empty."""
    if mask.all() or not mask.any():
        return mask
    while True:
        order = torch.randperm(mask.numel(), generator=generator)
        shuffled = mask.reshape(-1)[order].reshape(mask.shape)
        if not torch.equal(shuffled, mask):
            return shuffled


def _permuted_kernels(mask: Tensor, generator: torch.Generator) -> Tensor:
    """The same for whole kernels: ``mask`` (out, in, *kernel) is constant over each."""
    pairs = mask.reshape(*mask.shape[:2], -1)
    if not torch.equal(pairs.all(2), pairs.any(2)):
        raise UserError("the source's mask splits kernels, so they cannot be permuted; use granularity: weight")
    return _permuted(pairs[..., 0], generator)[..., None].expand(pairs.shape).reshape(mask.shape)
