"""The trials of an experiment: which settings each method tries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from harness.seeds import derived_seed

Settings = dict[str, Any]
"""Option -> value."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of an experiment's tuning.

    Attributes:
        of: the experiment that is tuned.
        number: counts from 1, which is the default.
        settings: method -> what it sets; nothing in the default.
        spaces: method -> what the settings of all trials are drawn from: option -> values.
    """

    of: str
    number: int
    settings: Mapping[str, Settings]
    spaces: Mapping[str, Mapping[str, Sequence[Any]]]

    @property
    def name(self) -> str:
        """Of the experiment that consists of its cells."""
        return trial_name(self.of, self.number)


def trial_name(experiment: str, number: int) -> str:
    """What the experiment is called that consists of the cells of a trial."""
    return f"{experiment}-trial{number}"


def common_draws(
    trials: int, space: Mapping[str, Sequence[Any]], defaults: Sequence[Settings], seed: int
) -> list[Settings]:
    """What the options that all methods share are in the trials after the first: no method's default.

    Where there are fewer combinations than trials they come again, each as often as any other. Their order is drawn
    by hashes, so that a method or a value that is added to a suite leaves the order of the others alone.
    """
    found = [settings for settings in _shuffled(space, seed, "shared") if not space or settings not in defaults]
    return [found[index % len(found)] for index in range(trials - 1)] if found else []


def method_draws(
    label: str, trials: int, common: Sequence[Settings], own: Mapping[str, Sequence[Any]], default: Settings, seed: int
) -> list[Settings]:
    """What a method sets in the trials after the first: the common draws, and its own options besides.

    No combination comes twice, nor does the ``default`` one of its own options where nothing is shared. Of these the
    values come first that were tried least, so that few trials see many of them.

    Raises:
        ValueError: if there are fewer combinations than trials.
    """
    mine = [settings for settings in _shuffled(own, seed, "own", label) if any(common) or settings != default]
    different = [settings for index, settings in enumerate(common) if settings not in common[:index]]
    if len(different) * len(mine) < trials - 1:
        raise ValueError(
            f"{trials} trials are asked for, and method '{label}' has {1 + len(different) * len(mine)}: its default, "
            f"and {len(different) * len(mine)} combinations of the values in space, those without that are some "
            "method's default. Give more values, or fewer trials"
        )
    found: list[Settings] = []
    tried = [0] * len(mine)
    for settings in common:
        free = [index for index, own in enumerate(mine) if settings | own not in found]
        index = min(free, key=lambda index: tried[index])
        tried[index] += 1
        found.append(settings | mine[index])
    return found


def _shuffled(space: Mapping[str, Sequence[Any]], seed: int, *words: str) -> list[Settings]:
    """All combinations of a space, in an order that seed and words decide; one empty combination of an empty space."""
    combinations = [dict(zip(space, values, strict=True)) for values in product(*space.values())]
    return sorted(
        combinations,
        key=lambda found: derived_seed(seed, "trials", *words, json.dumps(found, sort_keys=True, default=str)),
    )
