"""The trials of one method, as a suite's plan keeps them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class TrialCells(BaseModel):
    """One trial: what it sets, and its cells."""

    model_config = ConfigDict(frozen=True, extra="allow")

    settings: dict[str, Any] = Field({}, description="option: value; empty for the default")
    cells: list[str] = Field(description="names of its cells, one for each seed of tuning")


class TunedMethod(BaseModel):
    """A method on a network and its training data, with its trials in order and the one that was chosen."""

    model_config = ConfigDict(frozen=True, extra="allow")

    experiment: str = Field(description="whose reported cells have the settings that were chosen")
    architecture: str
    trained_on: str = Field(description="label of the benchmark whose validation data choose")
    method: str
    trials: list[TrialCells] = Field(description="the first one is the default")
    space: dict[str, list[Any]] = Field({}, description="option: values that trials after the first are drawn from")
    chosen: int | None = Field(None, description="number of the trial, from 1; null while trials are not finished")

    @property
    def settings(self) -> dict[str, Any]:
        """Of the trial that was chosen."""
        return self.trials[self.chosen - 1].settings if self.chosen else {}
