"""The method ``imp``: iterative magnitude pruning, with weights or the learning rate rewound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from harness import MethodContext, Phase, Prune, Rewind, SparsityMethod, Train, TrainingBudget, UserError


class ImpOptions(BaseModel):
    """Options of ``imp``.

    Attributes:
        rewind: ``weights`` sets what survives back to where it was (Frankle and Carbin 2019); ``rate`` keeps
            the weights and repeats the learning-rate schedule (Renda, Frankle, Carbin 2020).
        to: where a training begins again, as a fraction of it in [0, 1): 0 is its beginning, for weights the
            initial ones; 0.01 to 0.1 is what larger networks need (Frankle et al. 2020).
        fraction: of the remaining weights, removed in a round, about: rounds are whole and the last one meets
            the density exactly.
        rounds: how often to prune; None: from ``fraction`` and the density.
        distribution: ``global`` ranks all weights together, as later papers do; ``uniform`` removes the same
            share of every connection, as the first did.
    """

    model_config = ConfigDict(extra="forbid")

    rewind: Literal["weights", "rate"] = "weights"
    to: float = Field(0.0, ge=0, lt=1)
    fraction: float = Field(0.2, gt=0, lt=1)
    rounds: int | None = Field(None, ge=1, le=1_000)
    distribution: Literal["global", "uniform"] = "global"


class Imp(SparsityMethod[ImpOptions]):
    """Rounds of training, removing the smallest weights, and rewinding; then a last training.

    Its trainings are ``rounds`` + 1 times what a training from scratch is granted: a control at equal cost is a
    dense one with ``budget: {match: imp}``. The optimizer begins anew with each of them; the examples are
    those of the first time. (Frankle and Carbin 2019, arXiv 1803.03635; Frankle et al. 2020, arXiv 1912.05671;
    Renda, Frankle, Carbin 2020, arXiv 2003.02389.)
    """

    Options = ImpOptions

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """Train, then per round prune, rewind and train.

        Raises:
            UserError: if another cell gives the density and ``rounds`` is not given.
        """
        options, n = self.options, budget.steps
        k = round(options.to * n)
        again = Train(n - k, begin=k, of=n if k else None, restart_data=k == 0, hooks=False)
        phases: list[Phase] = [Train(n, hooks=False)]
        back: list[Phase] = []
        if options.rewind == "weights":
            phases = [Train(k, of=n, hooks=False), again] if k else phases
            back = [Rewind(0 if k else -1)]
        rounds = self._rounds(budget)
        for i in range(1, rounds + 1):
            phases += [Prune(exponent=i / rounds, distribution=options.distribution), *back, again]
        return phases

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """Nothing: the phases carry it."""
        return {}

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Absolute values of the raw weights."""
        return {c.name: context.weight(c).abs() for c in context.connections}

    def _rounds(self, budget: TrainingBudget) -> int:
        options = self.options
        if options.rounds is not None:
            return options.rounds
        if budget.density is None:
            raise UserError("imp cannot tell how many rounds lead to the density of another cell: give rounds")
        if budget.density in (0.0, 1.0):
            return 1
        return max(1, round(log(budget.density) / log(1 - options.fraction)))
