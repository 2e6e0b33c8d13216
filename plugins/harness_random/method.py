"""A random mask of exact density, fixed before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from harness import (
    Architecture,
    Connection,
    Masks,
    MethodContext,
    Phase,
    Prune,
    SparsityMethod,
    Train,
    TrainingBudget,
    UserError,
)


class RandomOptions(BaseModel):
    """Options of ``random``.

    Attributes:
        distribution: how the density is spread over connections; another cell's counts per connection,
            where the suite matches them, go before it.
        granularity: ``kernel`` draws whole (out, in) pairs, exact to one kernel per connection.
        weight_scale: what the initial weights in scope are multiplied by, for networks whose own are too large or too
            small for what is left of them; None leaves them.
        attention: role of masks on attention -> share of the keys that each query sees, the same number for each and at
            least one; ``matched`` opens as many entries as the cell does whose density the suite matches, as many for
            each query as for any other, to one; None leaves attention as it is.
        attention_draw: which draw of those masks, for several with the same weights.
    """

    model_config = ConfigDict(extra="forbid")

    distribution: Literal["uniform", "erk"] = "uniform"
    granularity: Literal["weight", "kernel"] = "weight"
    weight_scale: float | None = Field(default=None, gt=0, json_schema_extra={"hashed": "unless_none"})
    attention: Literal["matched"] | dict[str, Annotated[float, Field(gt=0, le=1)]] | None = Field(
        default=None, json_schema_extra={"hashed": "unless_none"}
    )
    attention_draw: int | None = Field(default=None, ge=0, json_schema_extra={"hashed": "unless_none"})


class Random(SparsityMethod[RandomOptions]):
    """Keeps a random subset of the initial weights and trains it for one training budget.

    Every subset with the right count per connection is equally likely. Within a seed all densities rank
    the same draw, so that a connection's smaller masks lie within its larger ones.
    """

    Options = RandomOptions
    control = True

    def __init__(self, options: RandomOptions) -> None:
        super().__init__(options)
        if options.attention is not None:
            self.kinds = frozenset({"weight", "attention"})

    def unsupported(self, architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
        """Roles of masks on attention that are not those of the network."""
        known = {c.role for c in connections if c.kind == "attention"}
        if self.options.attention == "matched":
            return None if known else "it has no masks on attention: leave out random's option attention"
        given = set(self.options.attention or known)
        if given != known:
            has = ", ".join(sorted(known)) or "none"
            return f"attention is given for {', '.join(sorted(given))}, and the network has {has}"
        return None

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """Prune at initialisation, then train.

        Raises:
            UserError: for attention like that of another cell, where there is none.
        """
        if self.options.attention == "matched" and not budget.matched:
            raise UserError("attention: matched takes another cell's counts: give density: {match: METHOD, by: ...}")
        prune = Prune(distribution=self.options.distribution, granularity=self.options.granularity)
        return [prune, Train(budget.steps, hooks=False)]

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """What the phases do not carry, where it is set: the scale, and what is drawn for attention."""
        late = self.options.model_dump(include={"weight_scale", "attention", "attention_draw"}, exclude_none=True)
        return late if isinstance(phase, Prune) else {}

    def refine(self, masks: Masks, context: MethodContext) -> Masks | tuple[Masks, Mapping[str, Tensor]]:
        """The masks as they are but for attention, and the scaled weights."""
        options = self.options
        if options.attention is not None:
            masks = Masks({**masks, **self._seen(options.attention, context)})
        if options.weight_scale is None:
            return masks
        weights = [c for c in context.connections if c.kind == "weight"]
        return masks, {c.name: context.weight(c) * options.weight_scale for c in weights}

    def other_count(self, asked: int, kept: int, connections: Sequence[Connection]) -> str | None:
        """Whole kernels: exact to one of each connection."""
        kernels = sum(prod(c.shape[2:]) for c in connections)
        near = self.options.granularity == "kernel" and abs(asked - kept) < kernels
        return "whole kernels, exact to one of each connection" if near else None

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Uniform draws in [0, 1), on the CPU so that they are the same for every device."""
        generator = context.generator("mask")
        weights = [c for c in context.connections if c.kind == "weight"]
        return {c.name: torch.rand(c.shape, generator=generator).to(context.device) for c in weights}

    def _seen(self, asked: Mapping[str, float] | Literal["matched"], context: MethodContext) -> dict[str, Tensor]:
        """Masks on attention, (queries, keys), each query's keys drawn by themselves."""
        matched = (context.budget.attention if context.budget is not None else None) or {}
        found = {}
        for c in context.connections:
            if c.kind != "attention":
                continue
            generator = context.generator(f"attention.{self.options.attention_draw or 0}.{c.name}")
            drawn = torch.rand(c.shape, generator=generator)
            if asked != "matched":
                keys = torch.full((c.shape[0],), max(1, round(asked[c.role] * c.shape[1])))
            elif c.name in matched:
                each, rest = divmod(matched[c.name], c.shape[0])
                keys = each + (torch.randperm(c.shape[0], generator=generator) < rest).long()
            else:
                raise UserError(f"attention: matched finds no mask on '{c.name}' in the cell whose density is taken")
            mask = drawn.argsort(1, descending=True).argsort(1) < keys[:, None]
            found[c.name] = mask.to(context.device)
        return found
