"""What a finished stage says about itself."""

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
