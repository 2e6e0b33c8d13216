"""The method ``powerprop``: weights as powers of what is trained, so that small ones stay small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from harness import Bake, Connection, MethodContext, Phase, Prune, SparsityMethod, Train, TrainingBudget, UserError


class PowerpropOptions(BaseModel):
    """Options of ``powerprop``.

    Attributes:
        alpha: the power, above 1 (1 would be plain training: method ``magnitude``). The paper tries 2 to 5 on MNIST.
        distribution: of the pruning: ``global`` ranks all weights together, ``uniform`` and ``erk`` give each
            connection its count. The paper's MNIST: uniform, with twice the density in the last layer.
        recovery: fraction of the training after the pruning, in [0, 1). The paper's MNIST: none.
    """

    model_config = ConfigDict(extra="forbid")

    alpha: float = Field(2.0, gt=1)
    distribution: Literal["global", "uniform", "erk"] = "global"
    recovery: float = Field(0.5, ge=0, lt=1)


class Powerprop(SparsityMethod[PowerpropOptions]):
    """W = theta |theta|^(alpha - 1): theta is trained and decayed, and W starts as every method's weights do.

    The gradient of theta has the factor alpha |theta|^(alpha - 1): large weights move faster, small ones hardly, and
    more of them can be pruned by magnitude. Once, after ``1 - recovery`` of the training, the largest W are kept, and
    go on as powers: theta = 0 has no gradient, so what is pruned stays so without gradients of masked weights.
    For the same reason a connection whose initial weights are all zero can never be trained.
    (Schwarz et al. 2021, arXiv 2110.00296, equations 1 and 2; initial values as in its code.)
    """

    Options = PowerpropOptions
    mode = "composed"
    dense_gradient_share = property(lambda self: 0.0)

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """One training with a pruning before its end."""
        n, prune = budget.steps, Prune(distribution=self.options.distribution)
        rest = min(round(self.options.recovery * n), n - 1)
        if not rest:
            return [Train(n), Bake(), prune]
        return [Train(n - rest, of=n), Bake(), prune, Train(rest, begin=n - rest, of=n)]

    def attach(self, context: MethodContext) -> None:
        """Nothing of its own.

        Raises:
            UserError: if a connection could never be trained.
        """
        for c in context.connections:
            if not context.weight(c).any():
                raise UserError(f"the initial weights of '{c.name}' are all zero, where powers have no gradient")

    def start(self, connection: Connection, weight: Tensor) -> Tensor:
        """Theta = sign(W) |W|^(1 / alpha)."""
        return weight.sign() * weight.abs() ** (1 / self.options.alpha)

    def compose(self, connection: Connection, raw: Tensor) -> Tensor:
        """W."""
        power: Tensor = _Power.apply(raw, self.options.alpha)
        return power

    final = compose

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Absolute values of W, which :class:`harness.Bake` has made the weights."""
        return {c.name: context.weight(c).abs() for c in context.connections}


class _Power(torch.autograd.Function):
    """theta |theta|^(alpha - 1), whose gradient is 0 at 0 for every alpha above 1."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, alpha: float) -> Tensor:
        """Of any shape."""
        size = theta.abs() ** (alpha - 1)
        ctx.save_for_backward(size)
        ctx.alpha = alpha
        return theta * size

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The factor alpha |theta|^(alpha - 1)."""
        return (gradient * ctx.saved_tensors[0]).mul_(ctx.alpha), None
