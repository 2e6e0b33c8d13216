"""Training that goes on from another cell, on other data perhaps."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from harness import Inherit, Phase, SparsityMethod, Train, TrainingBudget


class Continued(SparsityMethod[BaseModel]):
    """Trains with another cell's final weights and mask as the start, and holds the mask.

    With a connectome whose ``inner_steps`` are 0 as its source, on another corpus, it is the inner loop of
    model connectomes (Kotar and Tuckute 2025, arXiv 2504.21047); with dense training it is transfer.
    """

    takes_density = "never"
    takes_source = "required"
    kinds = frozenset({"weight", "attention"})

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """Take over weights and mask, train."""
        return [Inherit(), Train(budget.steps, hooks=False)]
