"""How many times as fast one way to compute something is as another, measured side by side."""

from __future__ import annotations

import gc
import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, comb
from time import perf_counter, thread_time

import torch

Way = Callable[[], object]
ROUNDS = 15
"""Of the ratio's interval the ends are then the 4th and the 12th: 96.5 %."""
LEAST = 2e-4
"""Seconds between two looks at the clock, by repeating what is shorter: it drowns in the clock's noise."""
BLOCKS = 5
"""Looks at the clock in a round; their median is the round's time, so that an interruption does not count."""
LONG = 0.05
"""Seconds from which a way is looked at once a round: interruptions hit all ways alike by then."""
MOST = 200
"""Repetitions between two looks at most."""


@dataclass(frozen=True, slots=True)
class Speed:
    """A way beside a reference, over rounds.

    Attributes:
        seconds: of one call, the median.
        ratio: how many times as fast as the reference, the median over rounds of the ratio within a round.
        low, high: the median's interval from order statistics, of at least 95 % where there are 6 rounds or more.
    """

    seconds: float
    ratio: float
    low: float
    high: float


def side_by_side(
    ways: Mapping[str, Way],
    reference: str,
    device: torch.device,
    rounds: int = ROUNDS,
    clock: Callable[[], float] | None = None,
) -> dict[str, Speed]:
    """Time all ways in one process; the reference among them.

    A round takes each of them in random order, so that what else happens on the machine hits all alike. The first one
    warms up and does not count.

    Args:
        ways: name -> what to call.
        reference: the name that ratios are taken to.
        device: whose work has to be waited for.
        rounds: that count, at least 1.
        clock: seconds. By default the processor's time where all is done by one thread of a CPU, so that waiting for
            it counts for nobody; else that of the wall.
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = clock or (thread_time if alone else perf_counter)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def taken(way: Way, times: int) -> float:
        wait()
        start = clock()
        for _ in range(times):
            way()
        wait()
        return (clock() - start) / times

    repeats, looks = {}, {}
    for name, way in ways.items():
        taken(way, 1)
        once = max(taken(way, 1), 1e-9)
        repeats[name] = max(1, min(MOST, ceil(LEAST / once)))
        looks[name] = 1 if once >= LONG else BLOCKS
    times: dict[str, list[float]] = {name: [] for name in ways}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for number in range(rounds + 1):
            for name in random.Random(number).sample(list(ways), len(ways)):
                blocks = [taken(ways[name], repeats[name]) for _ in range(looks[name])]
                if number:
                    times[name].append(statistics.median(blocks))
    finally:
        if collecting:
            gc.enable()
    found = {}
    for name, own in times.items():
        ratios = sorted(base / mine for base, mine in zip(times[reference], own, strict=True))
        cut = order_statistic(len(ratios))
        found[name] = Speed(statistics.median(own), statistics.median(ratios), ratios[cut], ratios[-1 - cut])
    return found


def order_statistic(n: int) -> int:
    """Which of n sorted values, from 0, and which from the end enclose the median with 95 % or more.

    0, the smallest and the largest, where no k does (n below 6).
    """
    k, below = 0, 0.5**n
    while k + 1 < n / 2:
        below += comb(n, k + 1) * 0.5**n
        if 2 * below > 0.05:
            break
        k += 1
    return k
