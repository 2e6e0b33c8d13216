"""The method ``movement``: weights that move away from zero stay."""

from __future__ import annotations

from typing import Literal

from harness import DensityBudget, Masks, select
from harness_learned.movement_scores import MovementScores, ScoreOptions


class MovementOptions(ScoreOptions):
    """Options of ``movement``; defaults are those of the published command for SQuAD.

    Attributes:
        start, end: of the schedule, as fractions of the training, 0 <= start <= end <= 1. Published: it starts after
            5,400 of about 55,000 steps, and ends twice as many before the last.
        lr: of the scores, above 0; published: 0.01, on the weights' schedule.
        distribution: ``uniform``, as published, keeps the same share of every connection, ``global`` ranks all scores
            together, ``erk`` gives each connection its count.
    """

    distribution: Literal["uniform", "global", "erk"] = "uniform"


class Movement(MovementScores[MovementOptions]):
    """Trains under the mask of the highest scores, which fall where weights move towards zero.

    A score S has dL/dW' * W as its gradient, whether or not its weight is masked. In each step
    k + (N - k) (1 - progress)^3 of N weights are kept, of which k shall stay. Masked weights keep their values, without
    gradient but with the suite's decay, and may come back until the last step, in the cool-down after ``end`` too.
    Every step needs the gradients of masked weights. (Sanh, Wolf, Rush 2020, arXiv 2005.07683, hard movement pruning;
    the paper starts from a pre-trained network.)
    """

    Options = MovementOptions

    def kept(self) -> Masks:
        """The highest scores, of equal ones the first."""
        connections, asked = self._context.connections, self._context.budget
        assert asked is not None, "the method takes a density"
        if self.left == 1.0:
            return Masks.full(connections, self._context.device)
        sizes = {c.name: c.size for c in connections}
        counts = asked.per_connection and {
            name: _count(size, asked.per_connection[name], self.left) for name, size in sizes.items()
        }
        keep = sum(counts.values()) if counts else _count(sum(sizes.values()), asked.keep, self.left)
        budget = DensityBudget(keep, asked.requested, counts)
        return select(self.importance, budget, connections, self.options.distribution)


def _count(size: int, final: int, left: float) -> int:
    """``size`` where all of the schedule is left, ``final`` where nothing is."""
    return final + round((size - final) * left)
