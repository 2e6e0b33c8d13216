"""How long ways to do the same take, side by side."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from time import perf_counter

import torch

Times = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Compared:
    """Medians over rounds.

    Attributes:
        seconds: of one call.
        ratio: to the base's time in the same round; ``low`` and ``high`` are its quartiles.
    """

    seconds: float
    ratio: float
    low: float
    high: float

    @property
    def speed(self) -> float:
        """How many times as fast as the base."""
        return 1 / self.ratio


def side_by_side(
    ways: Mapping[str, Callable[[], object]],
    rounds: int,
    device: str,
    seconds: float = inf,
    between: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = perf_counter,
) -> Times:
    """Seconds of every way in each round, all in one process.

    A round takes each of them once, in random order, so that what else happens on the machine hits all alike. The
    first one warms up, and compiles, and does not count; they end after ``rounds``, or when ``seconds`` are over,
    but not before three. The clock stops when the device is done; ``between`` runs while it stands.
    """
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    times: Times = {name: [] for name in ways}
    end = inf
    for number in range(rounds + 1):
        if number > 3 and perf_counter() > end:
            break
        for name in random.Random(number).sample(list(ways), len(ways)):
            wait()
            start = clock()
            ways[name]()
            wait()
            if number:
                times[name].append(clock() - start)
            between()
        if not number:
            end = perf_counter() + seconds
    return times


def compared(times: Times, base: str) -> dict[str, Compared]:
    """Each way beside ``base``."""
    found = {}
    for name, values in times.items():
        ratios = [value / other for value, other in zip(values, times[base], strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        found[name] = Compared(statistics.median(values), statistics.median(ratios), low, high)
    return found
