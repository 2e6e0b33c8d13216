"""The method ``soft_movement``: movement pruning that finds its own density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from harness import Masks, MethodContext, Phase, TrainingBudget
from harness_learned.exact_density import at_least_asked, then_exact
from harness_learned.movement_scores import MovementScores, ScoreOptions


class SoftMovementOptions(ScoreOptions):
    """Options of ``soft_movement``; defaults are those of the published command for SQuAD.

    Attributes:
        start, end: of the schedule, as fractions of the training, with a density of its part before the pruning,
            0 <= start <= end <= 1. Published: it starts after 5,400 of about 55,000 steps, and ends twice as many
            before the last.
        lr: of the scores, above 0; published: 0.01, on the weights' schedule.
        threshold: tau at ``end``, in (0, 1): what the sigmoid of a score must exceed, 0.5 at first.
        strength: lambda at ``end``, at least 0: what a mean sigmoid of 1 adds to the loss. It sets the density and
            wants tuning; published: 400, for 85 million weights.
        recovery: with a density, the fraction of the training after the pruning to it, in [0, 1).
    """

    threshold: float = Field(0.1, gt=0, lt=1)
    strength: float = Field(400.0, ge=0)
    recovery: float = Field(0.5, ge=0, lt=1)


class SoftMovement(MovementScores[SoftMovementOptions]):
    """Trains under the mask sigmoid(S) > tau, with a penalty on sigmoid(S).

    A score S has dL/dW' * W as its gradient, whether or not its weight is masked, and lambda times the mean over
    connections of the mean sigmoid(S) is added to the loss; tau and lambda grow from 0 by the cubic of the hard kind.
    What is left is the method's to determine; with a density, after ``1 - recovery`` of the training every connection
    is pruned to exactly that by S, or filled up to it, and trained on under that mask: scores of different connections
    have different penalties and cannot be compared. Every step before needs the gradients of masked weights. (Sanh,
    Wolf, Rush 2020, arXiv 2005.07683, soft movement pruning; schedules as in its code, which besides keeps at least
    0.5 % of every matrix: not done here.)
    """

    Options = SoftMovementOptions
    takes_density = "optional"

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """One training, with a pruning before its end where there is a density."""
        return then_exact(budget, self.options.recovery, "uniform")

    @torch.no_grad()
    def kept(self) -> Masks:
        """Where sigmoid(S) > tau."""
        tau = self.options.threshold * (1 - self.left)
        return Masks({name: scores.sigmoid() > tau for name, scores in self.importance.items()})

    def regularizers(self, context: MethodContext) -> Mapping[str, Tensor]:
        """``movement``: the penalty."""
        means = torch.stack([scores.sigmoid().mean() for scores in self.importance.values()])
        return {"movement": self.options.strength * (1 - self.left) * means.mean()}

    def final_masks(self, context: MethodContext) -> Masks:
        """Those of the schedule's present position, with at least as many as are asked for."""
        return at_least_asked(self.kept(), self.scores(context), context, "uniform")

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """S."""
        return {name: scores.detach() for name, scores in self.importance.items()}
