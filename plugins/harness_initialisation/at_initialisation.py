"""What methods that prune before training have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from harness import Phase, Prune, SparsityMethod, Train, TrainingBudget


class AtInitialisationOptions(BaseModel):
    """Options of all methods that prune before training.

    Attributes:
        distribution: ``global`` ranks all weights together, as the papers do; ``uniform`` and ``erk`` give each
            connection its count.
    """

    model_config = ConfigDict(extra="forbid")

    distribution: Literal["global", "uniform", "erk"] = "global"


OptionsT = TypeVar("OptionsT", bound=AtInitialisationOptions)


class AtInitialisation(SparsityMethod[OptionsT]):
    """Keeps the initial weights with the highest scores, and trains them for one training budget."""

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """Prune, then train with the mask held."""
        return [*self.prunings(), Train(budget.steps, hooks=False)]

    def prunings(self) -> Sequence[Phase]:
        """From all weights to the cell's density."""
        return [Prune(distribution=self.options.distribution)]

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """The options that scores depend on; the phases carry the distribution."""
        return self.options.model_dump(mode="json", exclude={"distribution"})
