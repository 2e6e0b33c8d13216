"""What both kinds of movement pruning share: scores, straight-through masks and a schedule."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from harness import Connection, Masks, MethodContext, ParameterGroup, SparsityMethod, UpdateSchedule, mask_as_numbers


class ScoreOptions(BaseModel):
    """Options of both kinds; defaults are those of the published commands for SQuAD.

    Attributes:
        start, end: of the schedule, as fractions of the training, 0 <= start <= end <= 1. Published: it starts after
            5,400 of about 55,000 steps, and ends twice as many before the last.
        lr: of the scores, above 0; published: 0.01, on the weights' schedule.
    """

    model_config = ConfigDict(extra="forbid")

    start: float = Field(0.1, ge=0, le=1)
    end: float = Field(0.8, ge=0, le=1)
    lr: float = Field(0.01, gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start > self.end:
            raise ValueError(f"start {self.start} lies after end {self.end}; both are fractions of the training")
        return self


OptionsT = TypeVar("OptionsT", bound=ScoreOptions)


class MovementScores(SparsityMethod[OptionsT]):
    """W' = W * M(S) with one score S for each weight, 0 at first: dL/dS is dL/dW' * W, also where M is 0.

    Attributes:
        left: what of the schedule is left, (1 - progress)^3 from 1 to 0.
        importance: S by connection.
    """

    mode = "composed"

    left: float
    importance: dict[str, nn.Parameter]
    _context: MethodContext
    _masks: Masks

    @abstractmethod
    def kept(self) -> Masks:
        """M(S), at the present position of the schedule."""

    def attach(self, context: MethodContext) -> None:
        """Scores of zero, under which everything is kept."""
        self._context, self.left = context, 1.0
        zeros = {c.name: torch.zeros(c.shape).to(context.weight(c)) for c in context.connections}
        self.importance = {name: nn.Parameter(zero) for name, zero in zeros.items()}

    def effective(self, raw: Mapping[str, Tensor], connections: Sequence[Connection]) -> Mapping[str, Tensor]:
        """Raw weights under the masks, to which training moves the schedule on."""
        if torch.is_grad_enabled():
            options, context = self.options, self._context
            schedule = UpdateSchedule.over(context.steps, options.start, options.end, 1, 1.0, "cubic")
            self.left = schedule.density(context.step, 0.0)
        self._masks = self.kept()
        return super().effective(raw, connections)

    def compose(self, connection: Connection, raw: Tensor) -> Tensor:
        """W * M(S), straight through."""
        masked: Tensor = _Masked.apply(raw, self.importance[connection.name], self._masks[connection.name])
        return masked

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """The scores, which have done their work when the masks are made."""
        scores = list(self.importance.values())
        return [ParameterGroup(scores, self.options.lr, schedule="same", name="scores", in_network=False)]

    def final_masks(self, context: MethodContext) -> Masks:
        """M(S)."""
        return self.kept()

    def state_dict(self) -> dict[str, Any]:
        """``scores``, and what of the schedule is ``left``."""
        return {"scores": {name: scores.detach() for name, scores in self.importance.items()}, "left": self.left}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        for name, scores in self.importance.items():
            scores.copy_(state["scores"][name])
        self.left = float(state["left"])


class _Masked(torch.autograd.Function):
    """W * M; backwards the mask stands for the scores that made it."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
        """All of equal shape."""
        kept = mask_as_numbers(mask, weight.dtype)
        ctx.save_for_backward(weight, kept)
        return weight * kept

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """For weight, scores and mask."""
        weight, kept = ctx.saved_tensors
        return gradient * kept, gradient * weight, None
