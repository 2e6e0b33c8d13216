"""How an experiment is tuned: as many trials for every method, chosen among by validation data."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from harness.suites.seed_list import Seeds, seeds_from

MOST_COMBINATIONS = 10_000
FIRST_SEED = 1000
"""Of tuning, where a suite gives their number: far from those that are reported."""


def _different(space: dict[str, list[Any]]) -> dict[str, list[Any]]:
    for option, values in space.items():
        if any(value in values[:index] for index, value in enumerate(values)):
            raise ValueError(f"space is option -> values to try, each of them once: '{option}' has one twice")
    return space


def _bounded(space: dict[str, list[Any]]) -> dict[str, list[Any]]:
    if (number := prod(map(len, space.values()))) > MOST_COMBINATIONS:
        raise ValueError(
            f"space has {number:,} combinations of values, and at most {MOST_COMBINATIONS:,} can be drawn from"
        )
    return space


Space = Annotated[
    dict[str, Annotated[list[Any], Field(min_length=1)]], AfterValidator(_bounded), AfterValidator(_different)
]
"""Option -> values that trials try."""


class Tune(BaseModel):
    """As many trials for every method of an experiment, controls included; the first is what the suite says anyway.

    See docs/suites.md.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    trials: int = Field(
        ge=2,
        le=MOST_COMBINATIONS,
        description="for each method, network and training data; the first one is the default",
    )
    space: Space = Field({}, description="option of training -> values to try, the same in every method's trial")
    seeds: Annotated[Seeds, BeforeValidator(partial(seeds_from, first=FIRST_SEED))] = Field(
        [FIRST_SEED, FIRST_SEED + 1],
        description="a number of seeds (2 means 1000, 1001), or a list of them; none that is reported",
    )
    density: float | None = Field(
        None, ge=0, le=1, description="at which methods are tuned that are asked for one; needed where one has several"
    )
    draw: int = Field(0, ge=0, description="seed of the draws from the space")
