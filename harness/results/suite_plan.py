"""Which cells belong to a suite now."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from harness.suites.comparisons import Comparisons


class SuitePlan(BaseModel):
    """The latest plan of a suite, its ``suite.json``."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    suite: str = Field("", description="its name")
    description: str = ""
    path: str = Field("", description="of the suite's file, as it was given")
    options: list[str] = Field([], description="of harness run, those that change cells")
    baselines: dict[str, str | None] = Field({}, description="experiment: method that the others are compared with")
    comparisons: dict[str, Comparisons] = Field({}, description="experiment: what it asks, and what controls what")
    cells: list[str] = Field(description="names of all cells, done or not")
