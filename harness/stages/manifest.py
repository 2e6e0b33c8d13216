"""What stages say about themselves: finished ones, and those in training of their curves."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class StageDensity(BaseModel):
    """A connection's densities, see :class:`harness.core.connection_density.ConnectionDensity`."""

    model_config = ConfigDict(extra="allow")

    shape: list[Annotated[int, Field(ge=0)]]
    kept: Annotated[int, Field(ge=0)]
    soft: float
    kind: str = "weight"


class StageTraining(BaseModel):
    """What its training took."""

    model_config = ConfigDict(extra="allow")

    examples: float
    densities: dict[str, float]
    soft: Any
    dense_gradients: Any


class StageManifest(BaseModel):
    """The content of ``stage.json``; a file that is none is as good as no file."""

    model_config = ConfigDict(extra="allow")

    stage: str
    densities: dict[str, StageDensity] = {}
    trained: StageTraining | None = None
    trained_by: list[dict[str, Any]] = []
    seconds_per_step: float | None = None
    state: str
    series: str
    sha256: str


class StageSeries(BaseModel):
    """Curves over training, as a checkpoint holds them; phases count from 0, steps within a phase."""

    model_config = ConfigDict(extra="allow")

    loss: list[tuple[int, int, float, float | None]]
    evaluations: list[tuple[int, int, str, dict[str, float]]]
    densities: list[tuple[int, int, dict[str, tuple[float, float | None]]]]
