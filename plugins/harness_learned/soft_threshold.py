"""The method ``str``: soft thresholds, one a layer, that are learned with the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from harness import Connection, Masks, MethodContext, ParameterGroup, Phase, SparsityMethod, TrainingBudget
from harness_learned.exact_density import at_least_asked, then_exact


class SoftThresholdOptions(BaseModel):
    """Options of ``str``. The density is set by ``decay``; none of these have a value that fits every network.

    Attributes:
        initial: s at first, below 0: the threshold is its sigmoid, which should be small beside the weights. The
            paper: -3200 for ResNet-50, where decay takes it up over 100 epochs, and about -5 to -10 elsewhere.
        lr: of s, above 0. The paper trains it with the weights' optimizer and rate; here it has Adam and its own.
        decay: of s, decoupled, at least 0: each step takes lr * decay of it away, which raises the threshold.
        recovery: with a density, the fraction of the training after the pruning to it, in [0, 1).
    """

    model_config = ConfigDict(extra="forbid")

    initial: float = Field(-5.0, lt=0)
    lr: float = Field(0.01, gt=0)
    decay: float = Field(0.5, ge=0)
    recovery: float = Field(0.5, ge=0, lt=1)


class SoftThreshold(SparsityMethod[SoftThresholdOptions]):
    """W' = sign(W) relu(|W| - sigmoid(s)), with one s for each connection.

    Decay pulls s towards 0 and so the threshold up, as far as the loss lets it; weights below it get no gradient,
    only the suite's decay, and come back if it falls. The final weights are W', so that the network that is tested
    is the trained one. How many are zero is the method's to determine; with a density, after ``1 - recovery`` of the
    training the largest are kept, exactly as many as are asked for, and trained on as ordinary weights. Where fewer
    were left, those nearest below their thresholds are kept too and start at zero.

    No step needs the gradients of weights that are zero. (Kusupati et al. 2020, arXiv 2002.03231, equations 3 to 6.)
    """

    Options = SoftThresholdOptions
    mode = "composed"
    takes_density = "optional"
    dense_gradient_share = property(lambda self: 0.0)

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """One training, with a pruning before its end where there is a density."""
        return then_exact(budget, self.options.recovery)

    def attach(self, context: MethodContext) -> None:
        """The thresholds."""
        self._s = {
            c.name: nn.Parameter(context.weight(c).new_full((), self.options.initial)) for c in context.connections
        }

    def compose(self, connection: Connection, raw: Tensor) -> Tensor:
        """Equation 3."""
        shrunk: Tensor = _Shrunk.apply(raw, self._s[connection.name].sigmoid())
        return shrunk

    final = compose

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """The thresholds, which are in the final weights."""
        options = self.options
        own = list(self._s.values())
        return [ParameterGroup(own, options.lr, options.decay, schedule="same", name="thresholds", in_network=False)]

    @torch.no_grad()
    def final_masks(self, context: MethodContext) -> Masks:
        """Where the final weights are not zero."""
        above = {c.name: context.weight(c).abs() - self._s[c.name].sigmoid() for c in context.connections}
        return at_least_asked({name: margin > 0 for name, margin in above.items()}, above, context)

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Absolute values of what :class:`harness.Bake` has made the weights."""
        return {c.name: context.weight(c).abs() for c in context.connections}

    def state_dict(self) -> dict[str, Any]:
        """The thresholds' s by connection."""
        return {name: s.detach() for name, s in self._s.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        for name, s in self._s.items():
            s.copy_(state[name])


class _Shrunk(torch.autograd.Function):
    """sign(W) relu(|W| - t), in fewer passes over memory than autograd takes for these three."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, threshold: Tensor) -> Tensor:
        """A weight of any shape, a threshold without axes."""
        shrunk = weight.abs().sub_(threshold).relu_().mul_(weight.sign())
        ctx.save_for_backward(shrunk)
        return shrunk

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Of weights that are not zero; of the threshold, which moves each of them against its sign."""
        signs = ctx.saved_tensors[0].sign()
        against = gradient * signs
        return against * signs, -against.sum()
