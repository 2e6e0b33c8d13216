"""The method ``set``: weights that came close to zero make place for random ones."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness import Connection, Masks, MethodContext, drop_grow, top_k
from harness_dynamic.random_start import RandomStart, RandomStartOptions


class SetOptions(RandomStartOptions):
    """Options of ``set``.

    Attributes:
        interval: optimizer steps before the first update and between updates, a whole number, or a fraction of the
            training, below 1. The paper's is an epoch; 100, the default, is RigL's.
        fraction: of a connection's kept weights that an update drops, in [0, 1]; 0.3 is the paper's zeta.
        drop: ``sign``, the paper's, drops the fraction of the positive weights that are smallest and of the negative
            ones that are largest, each by itself, and every kept weight that is exactly zero; ``magnitude`` drops the
            smallest of both together.
        end: updates stop after this fraction of the training, in [0, 1). The paper goes on to the end, where what has
            just grown is still zero; 0.75, the default, is RigL's.
    """

    interval: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] = 100
    fraction: float = Field(0.3, ge=0, le=1)
    drop: Literal["sign", "magnitude"] = "sign"
    end: float = Field(0.75, ge=0, lt=1)


class Set(RandomStart[SetOptions]):
    """Drops the weights of each connection that are closest to zero, and grows as many at random.

    Grown are any that are zero then, those just dropped too, as in the paper's code; such a weight goes on from its
    value here, from zero there. Numbers to drop are rounded down. (Sparse evolutionary training: Mocanu et al. 2018,
    "Scalable training of artificial neural networks with adaptive sparse connectivity".)
    """

    Options = SetOptions

    def after_step(self, context: MethodContext) -> Masks | None:
        """The masks after an update, every so many steps."""
        interval, done = self.options.interval, context.step + 1
        steps = interval if isinstance(interval, int) else max(1, round(interval * context.steps))
        if done % steps or done > self.options.end * context.steps:
            return None
        return Masks({c.name: self._evolved(c, context) for c in context.connections})

    def _evolved(self, connection: Connection, context: MethodContext) -> Tensor:
        weight, mask = context.weight(connection), context.masks[connection.name]
        groups = (weight > 0, weight < 0) if self.options.drop == "sign" else (mask,)
        survivors = torch.zeros_like(mask)
        for group in groups:
            size = int(group.sum())
            survivors |= top_k(weight.abs().where(group, -1.0), size - int(self.options.fraction * size))
        generator = context.generator(f"{connection.name} {context.phase} {context.step}")
        draws = torch.rand(connection.shape, generator=generator).to(context.device)
        return drop_grow(mask, survivors.float(), draws, int(mask.sum()) - int(survivors.sum()))
