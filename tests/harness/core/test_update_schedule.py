"""Schedules of updates, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from harness import UpdateSchedule


def dues(schedule: UpdateSchedule, steps: int) -> list[int]:
    return [step for step in range(steps) if schedule.due(step)]


def test_updates_come_from_the_first_step_to_the_last() -> None:
    assert dues(UpdateSchedule(5, 20, 5, 0.3), 40) == [5, 10, 15, 20]
    assert dues(UpdateSchedule(5, 19, 5, 0.3), 40) == [5, 10, 15]
    assert dues(UpdateSchedule(3, 3, 7, 0.3), 40) == [3]


def test_cosine_is_rigls() -> None:
    """alpha / 2 (1 + cos(pi t / T_end)): t from the training's beginning, whenever the first update is."""
    schedule = UpdateSchedule(10, 60, 10, 0.3)
    values = {0: 0.3, 15: 0.15 * (1 + 0.5**0.5), 20: 0.225, 30: 0.15, 40: 0.075, 60: 0.0, 90: 0.0}
    assert {step: schedule.fraction(step) for step in values} == pytest.approx(values)
    assert UpdateSchedule(0, 0, 1, 0.3).fraction(0) == 0.0


def test_cubic_is_gradual_pruning() -> None:
    """Updates at 10, 20, 30, 40 and 50: (1 - (t - 10) / 40)^3 is 1, 27/64, 1/8, 1/64, 0."""
    schedule = UpdateSchedule(10, 58, 10, 0.5, "cubic")
    assert dues(schedule, 100) == [10, 20, 30, 40, 50]
    assert [schedule.fraction(step) * 128 for step in (0, 10, 20, 30, 40, 50, 90)] == [64, 64, 27, 8, 1, 0, 0]
    # s_i = 0.5, s_f = 0.9: 0.9 - 0.4 * 27/64 = 0.73125, 0.85, 0.89375; densities are what is left.
    densities = [schedule.density(step, 0.1, 0.5) for step in (0, 10, 20, 30, 40)]
    assert densities == pytest.approx([0.5, 0.5, 0.26875, 0.15, 0.10625])
    assert schedule.density(50, 0.1) == schedule.density(99, 0.1) == 0.1
    assert schedule.density(20, 0.0) == 27 / 64
    once = UpdateSchedule(10, 12, 10, 1.0, "cubic")
    assert [once.density(step, 0.1) for step in (9, 10, 11)] == [1.0, 0.1, 0.1]


def test_constant_is_constant() -> None:
    assert [UpdateSchedule(5, 20, 5, 0.3, "constant").fraction(step) for step in (0, 5, 20)] == [0.3] * 3


def test_fractions_of_the_training_become_steps() -> None:
    schedule = UpdateSchedule.over(100, 0.1, 0.75, 20, 0.3)
    assert (schedule.start, schedule.end, schedule.decay) == (10, 75, "cosine")
    assert dues(schedule, 100) == [10, 30, 50, 70]
    whole = UpdateSchedule.over(21, 0.0, 1.0, 10, 1.0, "cubic")  # the last step is the 21st, number 20
    assert dues(whole, 21) == [0, 10, 20] and whole.density(20, 0.25) == 0.25
    assert UpdateSchedule.over(0, 0.0, 1.0, 1, 0.3).end == 0  # before the first phase no steps are known


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": -1}, "must be 0 <= start <= end$"),
        ({"start": 21}, "updates from step 21 to 20"),
        ({"interval": 0}, "interval must be at least 1"),
        ({"fraction": 30}, "outside .* not percent"),
        ({"fraction": float("nan")}, "outside"),
        ({"decay": "linear"}, "decay 'linear' is none of cosine, cubic, constant"),
    ],
)
def test_values_out_of_range(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UpdateSchedule(**{"start": 5, "end": 20, "interval": 5, "fraction": 0.3, **change})


@pytest.mark.parametrize(("start", "end"), [(-0.1, 0.5), (0.6, 0.5), (0.0, 75)])
def test_fractions_out_of_range(start: float, end: float) -> None:
    with pytest.raises(ValueError, match="of the training: must be 0 <= start <= end <= 1"):
        UpdateSchedule.over(100, start, end, 10, 0.3)


@pytest.mark.parametrize("decay", ["constant", "cosine"])
def test_only_gradual_pruning_has_densities(decay: Any) -> None:
    with pytest.raises(ValueError, match="give decay 'cubic'"):
        UpdateSchedule(0, 10, 5, 0.3, decay).density(5, 0.1)
