"""Plain training of the whole network."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from harness import Phase, SparsityMethod, Train, TrainingBudget


class Dense(SparsityMethod[BaseModel]):
    """Trains every weight for one training budget; shares that training with methods that start from it."""

    takes_density = "never"
    kinds = frozenset({"weight", "attention"})  # it leaves all of them as they are

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """One training without hooks."""
        return [Train(budget.steps, hooks=False)]
