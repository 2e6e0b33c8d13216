"""The method ``rigl``: small weights make place for those with the largest gradients."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness import Masks, MethodContext, UpdateSchedule, drop_grow
from harness_dynamic.random_start import RandomStart, RandomStartOptions


class RigLOptions(RandomStartOptions):
    """Options of ``rigl``; all defaults are the paper's.

    Attributes:
        interval: optimizer steps between updates, at least 1; the first update is at the first step.
        fraction: of a connection's kept weights that the first update drops, in [0, 1]; the paper's alpha.
        decay: how the fraction becomes less, to 0 at the end with ``cosine``.
        end: last update, as a fraction of the training, in [0, 1).
    """

    interval: int = Field(100, ge=1)
    fraction: float = Field(0.3, ge=0, le=1)
    decay: Literal["cosine", "constant"] = "cosine"
    end: float = Field(0.75, ge=0, lt=1)


class RigL(RandomStart[RigLOptions]):
    """Drops the smallest weights of each connection, and grows as many where the loss's gradient is largest.

    Grown are any but the survivors, from zero; a weight dropped and grown at once goes on as it was, as in the paper's
    code. Numbers to drop are rounded down. Where the paper replaces an optimizer step by an update, the step is taken
    here, and masks change after it by the weights and gradients before it. (Evci et al. 2020, "Rigging the Lottery",
    algorithm 1; operations: appendix H.)
    """

    Options = RigLOptions

    @property
    def dense_gradient_share(self) -> float:
        """So that a step costs (3 f_S T + 2 f_S + f_D) / (T + 1), the paper's count, which forgets that updates end."""
        return 1 / (self.options.interval + 1)

    def on_gradients(self, context: MethodContext) -> None:
        """Choose, where an update is due."""
        options, masks = self.options, {}
        schedule = UpdateSchedule.over(
            context.steps, 0.0, options.end, options.interval, options.fraction, options.decay
        )
        for c in context.connections if schedule.due(context.step) else ():
            mask = context.masks[c.name]
            n = int(schedule.fraction(context.step) * int(mask.sum()))
            masks[c.name] = drop_grow(mask, context.weight(c).abs(), context.gradient(c).abs(), n)
        self._masks = Masks(masks)

    def after_step(self, context: MethodContext) -> Masks | None:
        """What was chosen."""
        return self._masks or None
