"""A random mask of exact density, fixed before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from harness import Connection, Masks, MethodContext, Phase, Prune, SparsityMethod, Train, TrainingBudget


class RandomOptions(BaseModel):
    """Options of ``random``.

    Attributes:
        distribution: how the density is spread over connections; another cell's counts per connection,
            where the suite matches them, go before it.
        granularity: ``kernel`` draws whole (out, in) pairs, exact to one kernel per connection.
        weight_scale: what the initial weights in scope are multiplied by, for networks whose own are too large or too
            small for what is left of them; None leaves them.
    """

    model_config = ConfigDict(extra="forbid")

    distribution: Literal["uniform", "erk"] = "uniform"
    granularity: Literal["weight", "kernel"] = "weight"
    weight_scale: float | None = Field(default=None, gt=0, json_schema_extra={"hashed": "unless_none"})


class Random(SparsityMethod[RandomOptions]):
    """Keeps a random subset of the initial weights and trains it for one training budget.

    Every subset with the right count per connection is equally likely. Within a seed all densities rank
    the same draw, so that a connection's smaller masks lie within its larger ones.
    """

    Options = RandomOptions
    control = True

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """Prune at initialisation, then train."""
        prune = Prune(distribution=self.options.distribution, granularity=self.options.granularity)
        return [prune, Train(budget.steps, hooks=False)]

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """The scale, where it is set; the phases carry the other options."""
        scale = self.options.weight_scale
        return {} if scale is None or not isinstance(phase, Prune) else {"weight_scale": scale}

    def refine(self, masks: Masks, context: MethodContext) -> Masks | tuple[Masks, Mapping[str, Tensor]]:
        """The masks as they are, and the scaled weights."""
        scale = self.options.weight_scale
        if scale is None:
            return masks
        return masks, {c.name: context.weight(c) * scale for c in context.connections if c.kind == "weight"}

    def other_count(self, asked: int, kept: int, connections: Sequence[Connection]) -> str | None:
        """Whole kernels: exact to one of each connection."""
        kernels = sum(prod(c.shape[2:]) for c in connections)
        near = self.options.granularity == "kernel" and abs(asked - kept) < kernels
        return "whole kernels, exact to one of each connection" if near else None

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Uniform draws in [0, 1), on the CPU so that they are the same for every device."""
        generator = context.generator("mask")
        return {c.name: torch.rand(c.shape, generator=generator).to(context.device) for c in context.connections}
