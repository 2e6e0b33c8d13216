"""The curves of a cell over training."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from harness.results.record_parts import Fraction, WholeNumber


class LossRow(NamedTuple):
    """[phase, step, mean training loss of the last steps, learning rate]."""

    phase: WholeNumber
    step: WholeNumber
    loss: float
    learning_rate: float


class EvaluationRow(NamedTuple):
    """[phase, step, split, {metric: value}]; ``chosen`` marks the step whose weights were kept, if a suite selects."""

    phase: WholeNumber
    step: WholeNumber
    split: Literal["validation", "test", "chosen"]
    scores: dict[str, float]


class DensityRow(NamedTuple):
    """[phase, step, {connection: [hard density, soft density or null]}]."""

    phase: WholeNumber
    step: WholeNumber
    connections: dict[str, tuple[Fraction, Fraction | None]]


class Series(BaseModel):
    """Rows in order of training; a phase is an index into the program, steps are optimizer steps within it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)

    cell: str | None = Field(None, description="the cell's name")
    loss: list[LossRow] = []
    evaluations: list[EvaluationRow] = []
    densities: list[DensityRow] = Field([], description="for methods whose hooks run while training")
