"""What methods share that begin with a random sparse network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from harness import (
    Masks,
    MethodContext,
    Phase,
    Prune,
    SparsityMethod,
    Train,
    TrainingBudget,
    UserError,
    allocate,
    select,
)


class RandomStartOptions(BaseModel):
    """Options of the start.

    Attributes:
        distribution: how the density is spread over connections; another cell's counts per connection, where the suite
            matches them, go before it. ``erk``, the default, is the better one of RigL's paper.
        first_dense: whether the first connection in scope keeps all its weights and the others the rest; with
            ``uniform`` this is the paper's "uniform". Default: False.
    """

    model_config = ConfigDict(extra="forbid")

    distribution: Literal["erk", "uniform"] = "erk"
    first_dense: bool = False


OptionsT = TypeVar("OptionsT", bound=RandomStartOptions)


class RandomStart(SparsityMethod[OptionsT]):
    """Keeps a random subset of the initial weights, the very one that ``random`` keeps, and trains with hooks."""

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """Prune at initialisation, then train."""
        return [Prune(distribution=self.options.distribution), Train(budget.steps)]

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Uniform draws in [0, 1), on the CPU so that they are the same for every device."""
        generator = context.generator("mask")
        return {c.name: torch.rand(c.shape, generator=generator).to(context.device) for c in context.connections}

    def refine(self, masks: Masks, context: MethodContext) -> Masks:
        """Masks with all of the first connection, where the options say so."""
        budget, (first, *rest) = context.budget, context.connections
        assert budget is not None
        if not self.options.first_dense or budget.per_connection is not None:
            return masks
        if budget.keep < first.size:
            raise UserError(
                f"first_dense keeps the {first.size} weights of '{first.name}', and density {budget.requested} leaves "
                f"{budget.keep} for all: ask for more, or set first_dense to false"
            )
        counts = {first.name: first.size, **allocate(budget.keep - first.size, rest, self.options.distribution)}
        budget = replace(budget, per_connection=counts)
        return select(self.scores(context), budget, context.connections, self.options.distribution)
