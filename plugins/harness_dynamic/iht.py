"""The method ``iht``: after every step all but the largest weights are set to zero."""

from __future__ import annotations

from math import inf
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from harness import Masks, MethodContext, SparsityMethod, allocate, top_k


class IhtOptions(BaseModel):
    """Options of ``iht``.

    Attributes:
        anneal: fraction of the training, in [0, 1], over which the number of weights falls linearly from all to the
            density's. Gao et al.: 0.5.
        minimum: weights that every row of a connection keeps, however small, as far as its count allows, so that few
            outputs die. Gao et al.: 4.
        interval: optimizer steps between choices, at least 1. Gao et al.: 1. In between weights are set to zero under
            the last choice, so that one can come back by a single step only.
        distribution: ``uniform``, that of Gao et al., gives every connection the same density.
    """

    model_config = ConfigDict(extra="forbid")

    anneal: float = Field(0.5, ge=0, le=1)
    minimum: int = Field(4, ge=0)
    interval: int = Field(1, ge=1)
    distribution: Literal["uniform", "erk"] = "uniform"


class Iht(SparsityMethod[IhtOptions]):
    """Iterative hard thresholding: an ordinary step with dense gradients, then the largest of each connection stay.

    Optimizer state is dense and lives on: a weight that was set to zero takes part in the next step, and stays if it
    comes out among the largest. (Blumensath and Davies 2009; the training of weight-sparse transformers, Gao et al.
    2025, arXiv 2511.13653, appendix A.2.) Of the latter this is the treatment of weight matrices. Left out are sparse
    activations, sparse biases, its optimizer's settings (epsilon 0.1, clipping of the gradient's root mean square),
    and the factor 1 / sqrt(density) of its learning rate: rate and optimizer are the suite's, for every method alike.
    Which matrices are sparse is the suite's ``scope``.

    A choice costs a ``kthvalue`` and a few passes over each connection, a fifth of a step of GPT-2 12x768 on 512 tokens
    (benchmarks/step_overhead.py, one core).
    """

    Options = IhtOptions
    dense_updates = True

    def after_step(self, context: MethodContext) -> Masks | None:
        """The largest weights, where a choice is due; the end of annealing is, whatever the interval."""
        options, done = self.options, context.step + 1
        end = max(1, round(options.anneal * context.steps))
        if context.step % options.interval and done != end:
            return None
        assert context.budget is not None
        final = context.budget.per_connection or allocate(
            context.budget.keep, context.connections, options.distribution
        )
        left = 1 - min(1.0, done / end)
        counts = {c.name: round(final[c.name] + left * (c.size - final[c.name])) for c in context.connections}
        return Masks({c.name: self._largest(context.weight(c), counts[c.name]) for c in context.connections})

    def _largest(self, weight: Tensor, keep: int) -> Tensor:
        scores = weight.abs()
        rows = scores.flatten(1)
        if least := min(self.options.minimum, rows.shape[1], keep // len(rows)):
            rows.scatter_(1, rows.topk(least, 1).indices, inf)
        return top_k(rows, keep).reshape(weight.shape)
