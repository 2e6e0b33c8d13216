"""Time left while a run goes on."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from harness.cli import live
from harness.executors import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    time = SimpleNamespace(now=100.0)
    for module in (live, progress):
        monkeypatch.setattr(module, "monotonic", lambda: time.now)
    return time


def job(name: str) -> Any:
    return SimpleNamespace(id=name, label=name, work=None, steps=1000)


def view(jobs: list[Any], seconds: float) -> live.RunView:
    return live.RunView(Console(file=io.StringIO()), jobs, {one.id: seconds for one in jobs}, None)


def test_what_a_checkpoint_brings_along_is_no_speed_of_this_run(clock: SimpleNamespace) -> None:
    jobs = [job("a"), job("b")]
    shown = view(jobs, 1000.0)
    shown.started(jobs[0])
    clock.now += 10
    shown.progress(jobs[0], 500, 1.0, {})
    assert shown.standing().bars[0].part == 0.25 and shown.standing().bars[0].left is None
    clock.now += 100
    shown.progress(jobs[0], 600, 1.0, {})
    assert shown.standing().bars[0].left == pytest.approx(100 * 1400 / 100)


def test_a_training_that_is_faster_than_expected_counts_from_its_first_step(clock: SimpleNamespace) -> None:
    jobs = [job("a"), job("b")]
    shown = view(jobs, 10.0)
    shown.started(jobs[0])
    shown.progress(jobs[0], 100, 1.0, {})
    clock.now += 1
    shown.progress(jobs[0], 1000, 1.0, {})
    assert shown.standing().bars[0].left == pytest.approx(1.0)
