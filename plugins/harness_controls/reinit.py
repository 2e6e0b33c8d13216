"""The reinitialisation control: is it the mask, or the mask together with its initial weights?"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from harness import Phase, Reinitialize, Train, TrainingBudget
from harness_controls.source import TAKE_MASKS, FromSource


class Reinit(FromSource[BaseModel]):
    """Trains with another cell's mask from newly drawn initial weights.

    (Frankle and Carbin 2019, "The Lottery Ticket Hypothesis", section 2: randomly reinitialised tickets.)
    """

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """Take the masks, draw new weights, train."""
        return [TAKE_MASKS, Reinitialize("fresh"), Train(budget.steps, hooks=False)]
