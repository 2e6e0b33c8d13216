"""A few steps that are really taken: how many, for how long, and with what. The clocks are false."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.executors import short_timing
from harness.executors.short_timing import Timed, step_seconds, trainer_of
from harness.stages.graph import compile_graph
from harness.suites.suite import Suite

SUITE = """
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
training: {steps: 10, batch_size: 32}
methods:
  dense:
  rigl: {density: 0.25}
  iht: {density: 0.25}
  genome:
  small_dense: {density: 0.5}
  matched: {use: set, density: {match: genome}}
"""
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def steps(suite) -> dict[str, Timed]:
    """By label of the method."""
    found = {}
    for planned in compile_graph(suite.cells, suite.registry).cells:
        method, spec = planned.cell.method, suite.spec(planned.cell.training_part)
        found[method] = Timed(planned.stages[-1], spec, method == "genome", method != "dense")
    return found


class Stepping:
    """A trainer whose first step takes 50 s, each other one a tenth of a second; and the clock."""

    def __init__(self, steps: int) -> None:
        self.phase = SimpleNamespace(steps=steps)
        self.step, self.now, self.chunks = 0, 0.0, list[tuple[int, int]]()

    def run(self, on_window: Callable[[Any], None], until: int) -> None:
        self.now += 0.1 * (until - self.step) if self.chunks else 50.0
        self.chunks.append((self.step, until))
        self.step = until


@pytest.mark.parametrize(
    ("steps", "chunks"),
    [
        (100, [(0, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 32)]),
        (5, [(0, 1), (1, 2), (2, 4), (4, 5), *[(0, 5)] * 4]),
        (1, [(0, 1)] * 21),
    ],
)
def test_the_first_step_does_not_count_and_a_short_phase_begins_anew(steps: int, chunks: list[tuple[int, int]]) -> None:
    fake = Stepping(steps)
    assert step_seconds(fake, 1.95, lambda: fake.now) == pytest.approx(0.1)  # type: ignore[arg-type]
    assert fake.chunks == chunks


def timings(steps: dict[str, Timed], suite: Suite, seconds: float = 1e9, clock: Any = None) -> dict[str, float]:
    ticks = count()
    found = short_timing.short_timing(
        list(steps.values()), suite.registry, CPU, seconds, clock or (lambda: float(next(ticks)))
    )
    return {list(steps)[index]: taken for index, taken in found}


def test_real_steps_of_every_method_are_taken(suite, steps) -> None:
    with torch.random.fork_rng():
        found = timings(steps, suite)
    assert found == dict.fromkeys(steps, 1.0), "one step, from one look at the clock to the next"


def test_after_so_many_seconds_nothing_more_is_tried(suite, steps, monkeypatch) -> None:
    now, shares = 0.0, list[float]()

    def slow(trainer: object, seconds: float, clock: Callable[[], float]) -> float:
        nonlocal now
        now += 1.0
        shares.append(seconds)
        return 3.0

    monkeypatch.setattr(short_timing, "step_seconds", slow)
    with torch.random.fork_rng():
        found = timings(steps, suite, 1.5 + short_timing.EACH, lambda: now)
    assert found == dict.fromkeys(list(steps)[:2], 3.0) and len(steps) > 2
    assert shares == [short_timing.EACH, pytest.approx((0.5 + short_timing.EACH) / (len(steps) - 1))]


def test_what_cannot_be_tried_is_left_out(suite, steps, monkeypatch) -> None:
    building = short_timing.trainer_of

    def refusing(timed: Timed, *rest: Any) -> Any:
        if timed.composed:
            raise AttributeError("it needs what another stage makes")
        return building(timed, *rest)

    monkeypatch.setattr(short_timing, "trainer_of", refusing)
    with torch.random.fork_rng():
        assert timings(steps, suite).keys() == steps.keys() - {"genome"}


def test_a_method_has_its_masks_and_its_part_in_the_step(suite, steps) -> None:
    def built(name: str) -> Any:
        return trainer_of(steps[name], suite.registry, CPU)

    weights = 64 * 8 + 8 * 10
    assert built("dense").weights.masks is None and built("dense").weights.method is None
    for name, density in (("rigl", 0.25), ("matched", short_timing.DENSITY)):
        kept = built(name).weights.masks.kept
        assert sum(kept.values()) == round(density * weights), name
    assert built("iht").weights.masks is None, "it begins with all weights"
    assert built("genome").weights.method is not None
    assert sum(p.numel() for p in built("small_dense").weights.parameters.values()) < 0.6 * (weights + 18)


@pytest.mark.parametrize(
    ("kind", "inputs", "targets"),
    [
        ("classification", (3, 4, 4), ()),
        ("regression", (3,), (5,)),
        ("language", (7,), (7,)),
        ("video", (3, 4, 4), (4, 4)),
    ],
)
def test_examples_are_as_the_data_say(kind: str, inputs: tuple[int, ...], targets: tuple[int, ...]) -> None:
    from harness.core.data import DataSpec

    data = short_timing.RandomExamples(DataSpec(kind, inputs, 5, 100), 6, CPU)
    given, wanted = data.batch(torch.tensor([5, 0]))
    assert len(data) == 6 and given.shape == (2, *inputs) and wanted.shape == (2, *targets)
    assert given.dtype == (torch.int64 if kind == "language" else torch.float32)
    real = kind in ("regression", "video")
    assert wanted.dtype == (torch.float32 if real else torch.int64)
    assert real or 0 <= int(wanted.min()) <= int(wanted.max()) < 5
