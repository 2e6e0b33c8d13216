"""Which cells belong to a suite now."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from harness.results.tuned_method import TunedMethod
from harness.suites.comparisons import Comparisons
from harness.suites.network_pairs import NetworkPair


class MaskPairs(BaseModel):
    """Cells whose masks the suite sets beside each other."""

    model_config = ConfigDict(frozen=True, extra="allow")

    first: str = Field(description="what the first of each pair are")
    second: str = Field(description="and the second")
    cells: list[tuple[str, str]] = Field(description="names of two cells each")


class SuitePlan(BaseModel):
    """The latest plan of a suite, its ``suite.json``."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    suite: str = Field("", description="its name")
    description: str = ""
    path: str = Field("", description="of the suite's file, as it was given")
    options: list[str] = Field([], description="of harness run, those that change cells")
    baselines: dict[str, str | None] = Field({}, description="experiment: method that the others are compared with")
    comparisons: dict[str, Comparisons] = Field({}, description="experiment: what it asks, and what controls what")
    agreements: list[MaskPairs] = Field([], description="masks to be set beside each other")
    networks: list[NetworkPair] = Field([], description="rows of different networks that are tested against each other")
    cells: list[str] = Field(description="names of all cells, done or not, trials included")
    tuning: list[TunedMethod] = Field([], description="trials of each method, and which was chosen")
    waiting: int = Field(0, description="cells that have no name yet, because their settings are not chosen")

    @property
    def trials(self) -> frozenset[str]:
        """Cells of trials, which choose settings and are not reported."""
        return frozenset(cell for method in self.tuning for trial in method.trials for cell in trial.cells)
