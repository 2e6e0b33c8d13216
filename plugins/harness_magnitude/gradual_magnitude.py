"""The method ``gradual_magnitude``: weights go little by little while the network trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness import (
    DensityBudget,
    Masks,
    MethodContext,
    Phase,
    SparsityMethod,
    Train,
    TrainingBudget,
    UpdateSchedule,
    select,
)


class GradualMagnitudeOptions(BaseModel):
    """Options of ``gradual_magnitude``.

    Attributes:
        start, end: first and last update, as fractions of the training, 0 <= start <= end <= 1. The paper
            begins when the rate is high and ends with time to recover; 0.05 and 0.75 bound what it used.
        interval: optimizer steps between updates; the paper: 100 to 1,000.
        distribution: ``uniform``, the paper's, brings every connection to the density; ``global`` ranks all
            weights together; ``erk`` gives each connection its count.
    """

    model_config = ConfigDict(extra="forbid")

    start: float = Field(0.05, ge=0, le=1)
    end: float = Field(0.75, ge=0, le=1)
    interval: int = Field(100, ge=1)
    distribution: Literal["global", "uniform", "erk"] = "uniform"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start > self.end:
            raise ValueError(f"start {self.start} lies after end {self.end}; both are fractions of the training")
        return self


class GradualMagnitude(SparsityMethod[GradualMagnitudeOptions]):
    """Removes the smallest weights at every update, fewer and fewer, until the density is reached.

    The count kept after update t of n is k + (N - k) (1 - t/n)^3 for N weights of which k shall stay; what
    is removed never comes back. (Zhu and Gupta 2017, arXiv 1710.01878, equation 1.)
    """

    Options = GradualMagnitudeOptions

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """One training."""
        return [Train(budget.steps)]

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """All options."""
        return self.options.model_dump(mode="json")

    def after_step(self, context: MethodContext) -> Masks | None:
        """Fewer weights, where an update is due."""
        options = self.options
        schedule = UpdateSchedule.over(context.steps, options.start, options.end, options.interval, 1.0, "cubic")
        if not schedule.due(context.step):
            return None
        assert context.budget is not None
        sizes, final = {c.name: c.size for c in context.connections}, context.budget.per_connection
        total = sum(sizes.values())
        budget = DensityBudget(
            keep=round(schedule.density(context.step, context.budget.keep, total)),
            requested=context.budget.requested,
            per_connection=final
            and {name: round(schedule.density(context.step, final[name], size)) for name, size in sizes.items()},
        )
        kept = context.masks
        scores = {c.name: context.weight(c).abs().masked_fill(~kept[c.name], -1.0) for c in context.connections}
        return select(scores, budget, context.connections, options.distribution)
