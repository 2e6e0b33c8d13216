"""The curves of a cell over training."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from harness.storage.numbers import Fraction, WholeNumber


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


class SettlingRow(NamedTuple):
    """[phase, step, epoch, distance or null, {connection: [entries as at the end, open entries]}].

    The epoch counts passes over the training data in this phase. The distance is that of the effective weights of all
    connections to what they are at the phase's end, as a share of the latter's norm.
    """

    phase: WholeNumber
    step: WholeNumber
    epoch: Annotated[float, Field(ge=0)]
    distance: float | None
    masks: dict[str, tuple[WholeNumber, WholeNumber]]


class Series(BaseModel):
    """Rows in order of training; a phase is an index into the program, steps are optimizer steps within it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)

    cell: str | None = Field(None, description="the run's name")
    loss: list[LossRow] = []
    evaluations: list[EvaluationRow] = []
    densities: list[DensityRow] = Field([], description="for methods whose hooks run while training")
    settling: list[SettlingRow] = Field([], description="where a suite says `evaluation: {settling: true}`")

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = serialize(self)
        if not self.settling:
            del found["settling"]
        return found
