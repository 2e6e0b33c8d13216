"""N of every M weights: a trained network is pruned to the pattern and trained again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field
from torch import Tensor

from harness import Finetune, Masks, MethodContext, Phase, Prune, Train, TrainingBudget
from harness_structured.pattern import PatternMethod, PatternOptions


class NMOptions(PatternOptions):
    """Options of ``n_m``.

    Attributes:
        recovery_steps: optimizer steps after pruning, on top of the training budget; 0 for none, None for the whole
            training once more, with its schedule, as in Mishra et al. 2021.
        recovery_lr: constant learning rate of a recovery whose steps are given, or None for the suite's.
    """

    recovery_steps: int | None = Field(None, ge=0)
    recovery_lr: float | None = Field(None, gt=0)


class NM(PatternMethod[NMOptions]):
    """Trains the whole network, keeps the largest N of every M weights, and trains those again.

    Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks", arXiv:2104.08378, section 4.
    """

    Options = NMOptions

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """Train, prune, recover."""
        options = self.options
        phases: list[Phase] = [Train(budget.steps, hooks=False), Prune(density=self.pattern.agreed(budget))]
        if options.recovery_steps is None:
            phases.append(Train(budget.steps, hooks=False))
        elif options.recovery_steps:
            phases.append(Finetune(options.recovery_steps, lr=options.recovery_lr))
        return phases

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """The pattern; the phases carry recovery."""
        return self.options.model_dump(mode="json", include={"pattern", "indivisible"})

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Magnitudes."""
        return {c.name: context.weight(c).abs() for c in context.connections}

    def refine(self, masks: Masks, context: MethodContext) -> Masks:
        """The pattern in place of a ranking over all weights."""
        return Masks({c.name: self.mask(c, context.weight(c)) for c in context.connections})
