"""The method ``top_kast``: the largest weights compute, some more learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from harness import (
    Connection,
    Masks,
    MethodContext,
    Phase,
    SparsityMethod,
    Train,
    TrainingBudget,
    mask_as_bits,
    masked,
    select,
    top_k,
)


class TopKastOptions(BaseModel):
    """Options of ``top_kast``.

    Attributes:
        exploration: fraction of each connection's weights that learn beside those that compute, in [0, 1]: the paper's
            M. Default 0.1; at most what the density leaves over has an effect.
        interval: optimizer steps for which both sets stay, at least 1; 100 is as often as RigL's masks change.
        regularization: coefficient c, at least 0, in the place of weight decay: the gradient of a weight w that
            computes gets c w, of one that only learns c w / density. Default 1e-4, RigL's decay on ImageNet.
        distribution: of the weights that compute; ``uniform``, the default, gives every connection the density.
    """

    model_config = ConfigDict(extra="forbid")

    exploration: float = Field(0.1, ge=0, le=1)
    interval: int = Field(100, ge=1)
    regularization: float = Field(1e-4, ge=0)
    distribution: Literal["uniform", "erk"] = "uniform"


class TopKast(SparsityMethod[TopKastOptions]):
    """Computes with the largest weights of each connection (set A), and trains these and the next largest (set B).

    Other weights keep their value, but for what momentum they left B with, and may come back when sets are chosen
    anew. What only learns is decayed more, so that it has to earn its place. No parameter of the network has the
    suite's weight decay. (Jayakumar et al. 2020, "Top-KAST: Top-K Always Sparse Training", arXiv 2106.03517.)
    """

    Options = TopKastOptions
    mode = "composed"
    _a: Masks
    _b: Masks
    _density: float
    _whole: dict[str, tuple[Tensor, Tensor, Tensor | None]]

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """One training, without the suite's weight decay."""
        return [Train(budget.steps, weight_decay=0.0)]

    @property
    def dense_gradient_share(self) -> float:
        """(|B| - |A|) / (N - |A|): what lies in B has a gradient, so that a step costs 2 f_A + f_B."""
        computing, learning, total = (sum(m.values()) for m in (self._a.kept, self._b.kept, self._a.sizes))
        return (learning - computing) / max(1, total - computing)

    def attach(self, context: MethodContext) -> None:
        """Choose by the initial weights."""
        self._choose(context)

    def effective(self, raw: Mapping[str, Tensor], connections: Sequence[Connection]) -> dict[str, Tensor]:
        """Set A; what flows back is the gradient of set B."""
        if not self._whole:
            self._whole = {name: self._sets(name, tensor, connections) for name, tensor in raw.items()}
        return {name: _Exchange.apply(tensor, *self._whole[name]) for name, tensor in raw.items()}

    def after_step(self, context: MethodContext) -> None:
        """Choose anew, but for after the last step: the final network is one that was trained."""
        done = context.step + 1
        if done % self.options.interval == 0 and done < context.steps:
            self._choose(context)

    def final_masks(self, context: MethodContext) -> Masks:
        """Set A."""
        return self._a

    def state_dict(self) -> dict[str, Any]:
        """Both sets."""
        return {"a": dict(self._a), "b": dict(self._b)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse."""
        device = next(iter(self._a.values())).device
        self._a, self._b, self._whole = Masks(state["a"]).to(device), Masks(state["b"]).to(device), {}

    def _choose(self, context: MethodContext) -> None:
        assert context.budget is not None
        scores = {c.name: context.weight(c).abs() for c in context.connections}
        self._density = max(1, context.budget.keep) / sum(c.size for c in context.connections)
        self._a = select(scores, context.budget, context.connections, self.options.distribution)
        counts = {c.name: round(self.options.exploration * c.size) for c in context.connections}
        for name, count in self._a.kept.items():
            counts[name] = min(scores[name].numel(), counts[name] + count)
        self._b = Masks({name: top_k(score, counts[name]) for name, score in scores.items()})
        self._whole = {}

    def _sets(
        self, name: str, parameter: Tensor, connections: Sequence[Connection]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Both sets and each entry's decay, of a whole parameter; what is in no connection computes and learns."""
        a, b = (torch.ones_like(parameter, dtype=torch.bool) for _ in range(2))
        decay = torch.zeros_like(parameter, requires_grad=False)
        for c in connections:
            if c.parameter == name:
                c.region(a).copy_(self._a[c.name])
                c.region(b).copy_(self._b[c.name])
                c.region(decay).copy_(self._b[c.name]).div_(self._density).masked_fill_(self._a[c.name], 1.0)
        pull = decay.mul_(self.options.regularization) if self.options.regularization else None
        return mask_as_bits(a, decay.dtype), mask_as_bits(b, decay.dtype), pull


class _Exchange(torch.autograd.Function):
    """Set A of the weights forward; backward the gradient of set B, and of the regularisation."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, a: Tensor, b: Tensor, decay: Tensor | None) -> Tensor:
        ctx.save_for_backward(raw, b, decay)
        return masked(raw, a)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        raw, b, decay = ctx.saved_tensors
        kept = masked(gradient, b)
        return kept if decay is None else kept.addcmul_(raw, decay), None, None, None
