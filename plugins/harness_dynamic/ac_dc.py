"""The method ``ac_dc``: dense and sparse training by turns."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness import Masks, MethodContext, SparsityMethod, select


class AcDcOptions(BaseModel):
    """Options of ``ac_dc``, as fractions of the training; defaults are the epochs in 100 of the paper's ImageNet runs.

    Attributes:
        warmup: dense training before the first compression.
        period: of each compressed and of each decompressed part that follows.
        last_dense: of the last decompressed part.
        last_sparse: of the compressed part that ends the training.
        distribution: ``global``, the paper's default, ranks all weights together; ``uniform`` and ``erk`` give each
            connection its count.
    """

    model_config = ConfigDict(extra="forbid")

    warmup: float = Field(0.1, ge=0, le=1)
    period: float = Field(0.05, gt=0, le=1)
    last_dense: float = Field(0.1, ge=0, le=1)
    last_sparse: float = Field(0.15, ge=0, le=1)
    distribution: Literal["global", "uniform", "erk"] = "global"

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if (total := self.warmup + self.last_dense + self.last_sparse) > 1:
            raise ValueError(
                f"warmup {self.warmup}, last_dense {self.last_dense} and last_sparse {self.last_sparse} are together "
                f"{total:.3g} of the training: at most 1"
            )
        return self


class AcDc(SparsityMethod[AcDcOptions]):
    """Alternates between all weights and the largest ones, within one schedule; ends with the largest.

    Weights that a compression removes start again from zero at the next decompression. Their momentum is forgotten;
    the paper's code forgets all momentum then. (Alternating compressed / decompressed training: Peste et al. 2021,
    arXiv 2106.12379.)
    """

    Options = AcDcOptions

    def after_step(self, context: MethodContext) -> Masks | None:
        """Other masks, where a part ends."""
        done = context.step + 1
        before, after = (self._compressed(step, context.steps) for step in (context.step, done))
        if before == after:
            return None
        if not after:
            return Masks.full(context.connections, context.device)
        assert context.budget is not None
        scores = {c.name: context.weight(c).abs() for c in context.connections}
        return select(scores, context.budget, context.connections, self.options.distribution)

    def _compressed(self, done: int, steps: int) -> bool:
        """Whether masks hold after ``done`` of ``steps`` optimizer steps; never at first, always at last."""
        options = self.options
        warmup, period = round(options.warmup * steps), max(1, round(options.period * steps))
        last = steps - round(options.last_sparse * steps)
        if done == 0 or done >= last:
            return done > 0
        return warmup <= done < last - round(options.last_dense * steps) and (done - warmup) // period % 2 == 0
