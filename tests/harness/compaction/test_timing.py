"""Ratios measured side by side, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from harness.compaction.timing import order_statistic, side_by_side

CPU = torch.device("cpu")


class Clock:
    """Time passes only in what is called."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds: Callable[[int], float]) -> Callable[[], None]:
        calls = iter(range(10**6))

        def way() -> None:
            self.now += seconds(next(calls))

        return way


def test_a_way_of_half_the_time_is_twice_as_fast() -> None:
    clock = Clock()
    ways = {"whole": clock.taking(lambda _: 2.0), "half": clock.taking(lambda _: 1.0)}
    found = side_by_side(ways, "whole", CPU, rounds=5, clock=clock)
    assert found["half"].seconds == 1.0
    assert (found["half"].ratio, found["half"].low, found["half"].high) == (2.0, 2.0, 2.0)
    assert found["whole"].ratio == 1.0


def test_single_interruptions_do_not_count() -> None:
    clock = Clock()
    ways = {"whole": clock.taking(lambda _: 0.01), "same": clock.taking(lambda call: 0.5 if call % 7 == 6 else 0.01)}
    found = side_by_side(ways, "whole", CPU, rounds=15, clock=clock)
    assert (found["same"].ratio, found["same"].low) == (1.0, 1.0)


def test_what_is_as_fast_on_the_median_has_an_interval_around_1() -> None:
    clock = Clock()
    ways = {"whole": clock.taking(lambda _: 1.0), "same": clock.taking(lambda call: 0.5 if call % 2 else 2.0)}
    found = side_by_side(ways, "whole", CPU, rounds=15, clock=clock)
    assert found["same"].low < 1 < found["same"].high


@pytest.mark.parametrize(("n", "expected"), [(1, 0), (5, 0), (6, 0), (9, 1), (15, 3), (20, 5), (100, 39)])
def test_order_statistics_enclose_the_median(n: int, expected: int) -> None:
    """Of tables of the sign test; for 15 values the 4th and the 12th: 96.5 %."""
    assert order_statistic(n) == expected
