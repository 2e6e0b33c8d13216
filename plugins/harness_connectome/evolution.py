"""Evolution of masks: mutation and selection by the loss, no score of single weights."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from math import ceil, inf, isfinite
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.func import functional_call

from harness import Masks, MethodContext


class EvolutionOptions(BaseModel):
    """Options of ``score: evolution``. No paper gives them: they are small enough for a laptop.

    Attributes:
        evaluations: masks whose loss is measured in one pruning, exactly, at least ``population``; 64 by default. This
            is the cap on what selection may see, and what it costs is taken off the training.
        population: masks that are alive at a time, at least 1; 8 by default.
        mutation: fraction of a connection's kept weights that a child swaps for others, in (0, 1], at least one weight;
            0.005 by default: than a mask by magnitude none of 63 children was better at 0.02, 29 at 0.005 (GPT-2 of
            four layers, docs/decisions.md).
        batches: training batches on which a mask's loss is the mean, always the same ones; 4 by default.
        start: how the first mask is chosen: by ``magnitude``, the default, or at ``random``.
    """

    model_config = ConfigDict(extra="forbid")

    evaluations: int = Field(64, ge=1)
    population: int = Field(8, ge=1)
    mutation: float = Field(0.005, gt=0, le=1)
    batches: int = Field(4, ge=1)
    start: Literal["magnitude", "random"] = "magnitude"

    @model_validator(mode="after")
    def _whole_population(self) -> EvolutionOptions:
        if self.evaluations < self.population:
            raise ValueError(
                f"evaluations: {self.evaluations} are too few for population: {self.population}: each of its masks "
                "takes one; raise evaluations or lower population"
            )
        return self

    @property
    def steps(self) -> int:
        """What a pruning costs, in optimizer steps: a forward pass is a third of a step."""
        return ceil(self.evaluations * self.batches / 3)


@torch.no_grad()
def evolve(first: Masks, context: MethodContext, options: EvolutionOptions) -> Masks:
    """The best of ``options.evaluations`` masks with the counts of ``first``, itself among them.

    Steady-state evolution with elitism, (mu + 1)-ES: the population begins with ``first`` and its children; after that
    each child of a random member replaces the worst if its loss is lower. Loss is that of the trained weights under the
    mask, on training batches that are apart from the order in which training reads the data.

    Args:
        first: connection -> bool (out, in, *kernel); keeps nothing that ``context.masks`` has closed.
        context: of a ``Prune`` phase, which may ask for batches.
        options: how many masks, and how far apart.
    """
    generator = context.generator(f"evolution {context.phase}")
    open_before, start = context.masks.to("cpu"), first.to("cpu")
    child = start
    population: list[tuple[float, int, Masks]] = []
    for number in range(options.evaluations):
        if number:
            full = number >= options.population
            parent = population[int(torch.randint(len(population), (), generator=generator))][2] if full else start
            child = mutated(parent, open_before, options.mutation, generator)
        # Of equal ones the earlier stays, so that a tie changes nothing.
        insort(population, (loss_under(child, context, options.batches), number, child), key=lambda member: member[:2])
        del population[options.population :]
    return population[0][2].to(context.device)


def mutated(parent: Masks, open_before: Masks, rate: float, generator: torch.Generator) -> Masks:
    """A child: in each connection a fraction of the kept weights, drawn at random, swapped for as many others.

    Args:
        parent, open_before: connection -> bool, on the CPU; ``parent`` keeps a part of ``open_before``, as its child.
        rate: fraction of the kept weights, in (0, 1]; at least one is swapped where there is one on both sides.
        generator: draws which.
    """
    children = {}
    for name, mask in parent.items():
        kept = mask.flatten().nonzero().flatten()
        closed = (open_before[name] & ~mask).flatten().nonzero().flatten()
        n = min(max(1, round(rate * len(kept))), len(kept), len(closed))
        child = mask.flatten().clone()
        child[kept[torch.randperm(len(kept), generator=generator)[:n]]] = False
        child[closed[torch.randperm(len(closed), generator=generator)[:n]]] = True
        children[name] = child.view(mask.shape)
    return Masks(children)


@torch.no_grad()
def loss_under(masks: Masks, context: MethodContext, batches: int) -> float:
    """Mean loss over the first ``batches`` calibration batches of the raw weights under ``masks``; inf for NaN."""
    weights: dict[str, Tensor] = {}
    for connection in context.connections:
        name = connection.parameter
        weights.setdefault(name, context.raw[name].detach().clone())
        connection.region(weights[name]).masked_fill_(~masks[connection.name].to(context.device), 0)
    loss = _Loss(context)
    substituted: Mapping[str, Tensor] = {f"model.{name}": weight for name, weight in weights.items()}
    losses = [float(functional_call(loss, dict(substituted), batch)) for batch in context.batches(batches)]
    mean = sum(losses) / batches
    return mean if isfinite(mean) else inf


class _Loss(nn.Module):
    """The loss as training computes it, as a module, so that other weights can stand in for the network's."""

    def __init__(self, context: MethodContext) -> None:
        super().__init__()
        self.model, self._loss = context.model, context.loss

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """A scalar."""
        return self._loss(inputs, targets)
