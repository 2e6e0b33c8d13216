"""Stages that train together: each ends as it would alone, whatever the others do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from stage_runs import after, assert_same, outcome, runner_of

from harness.errors import Diverged
from harness.stages.graph import PlannedCell, Stage
from harness.stages.runner import StageRunner
from harness.stages.together import run_together
from harness.stages.training_run import Interrupted

# Without a norm: the gradient of a bias before it is rounding alone, which Adam blows up.
SUITE = {"architectures": "{net: {dropout: 0, norm: false}}", "seeds": "[3, 4]"}
PLUGIN = """
import torch
from harness import Architecture, DataSpec, Entry, SparsityMethod, hookimpl
from torch import nn

class Breaks(SparsityMethod):
    takes_density = "never"

    def after_step(self, context):
        if context.step == 12:
            raise RuntimeError("boom at step 12")

class Elsewhere(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.kept = nn.Linear(6, 3), torch.randn(6)  # no buffer: no slice of a stack

    def forward(self, x, targets=None):
        logits = self.layer(x * self.kept)
        return logits if targets is None else nn.functional.cross_entropy(logits, targets)

class Keeps(Architecture):
    kinds = ("classification",)

    def build(self):
        return Elsewhere()

    def connections(self):
        return []

@hookimpl
def harness_register_methods():
    return [Entry("breaks", Breaks)]

@hookimpl
def harness_register_architectures():
    return [Entry("keeps", Keeps)]
"""


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def together(runner: StageRunner, stages: list[Stage]) -> tuple[dict[str, BaseException | None], list[str]]:
    """How each has ended, and what was said."""
    ends: dict[str, BaseException | None] = {}
    notes: list[str] = []
    runs = {stage.hash: runner.legs(stage) for stage in stages}
    run_together(runs, ends.__setitem__, lambda name, text: notes.append(text))
    return ends, notes


def stages_of(cells: list[PlannedCell], depth: int) -> list[Stage]:
    return list(dict.fromkeys(cell.stages[depth] for cell in cells if len(cell.stages) > depth))


def close(a: Any, b: Any) -> None:
    """Equal trees, numbers to 1e-10; who trained it apart."""
    if isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a.keys() - {"trained_by"}:
            close(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            close(x, y)
    else:
        assert a == (pytest.approx(b, rel=1e-10, abs=1e-10) if isinstance(b, float) else b)


METHODS = "{dense: , magnitude: {density: [0.5, 0.2], recovery_steps: 30}, soft: }"


def test_programs_end_as_they_do_alone(lab: Callable[..., Any], tmp_path: Path) -> None:
    here = lab()
    cells = here.graph(METHODS, **SUITE).cells
    for cell in cells:
        here.run(cell)
    packed = runner_of(tmp_path / "packed", here.registry)
    for depth in (0, 1):
        stages = stages_of(cells, depth)
        ends, notes = together(packed, stages)
        assert ends == {stage.hash: None for stage in stages} and notes == []
    for cell in cells:
        close(outcome(tmp_path / "packed", cell), outcome(tmp_path, cell))
        manifest = packed.store.manifest(cell.stages[-1].hash)
        assert manifest is not None and manifest["trained_by"][-1]["packed"] == 4


def test_stopped_and_resumed_it_is_the_same_to_the_bit(lab: Callable[..., Any], tmp_path: Path) -> None:
    here = lab()
    stages = stages_of(here.graph(METHODS, **SUITE).cells, 0)
    cells = [PlannedCell(stage.hash, stage.cell, (stage,), None, None) for stage in stages]
    together(runner_of(tmp_path / "calm", here.registry), stages)
    stops = 0
    while True:
        ends, _ = together(runner_of(tmp_path / "hurt", here.registry, checkpoint_seconds=0, stopping=after(6)), stages)
        stops += 1
        if all(error is None for error in ends.values()):
            break
        assert {type(error) for error in ends.values()} <= {type(None), Interrupted} and stops < 20
    assert stops > 1
    for cell in cells:
        close(outcome(tmp_path / "hurt", cell), outcome(tmp_path / "calm", cell))
    # Stopped all at once, their company is the same again, and so is every bit.
    looks = [0]

    def stopping() -> bool:
        looks[0] += 1
        return looks[0] > len(stages)

    ends, _ = together(runner_of(tmp_path / "once", here.registry, stopping=stopping), stages)
    assert {type(error) for error in ends.values()} == {Interrupted}
    together(runner_of(tmp_path / "once", here.registry), stages)
    for cell in cells:
        assert_same(outcome(tmp_path / "once", cell), outcome(tmp_path / "calm", cell))


def test_what_breaks_breaks_alone(lab: Callable[..., Any], tmp_path: Path) -> None:
    here = lab(PLUGIN)
    methods = "{dense: , breaks: , diverges: {use: dense, training: {lr: 1e200, optimizer: sgd}}, soft: }"
    cells = here.graph(methods, **SUITE).cells
    stages = {stage.hash: stage for cell in cells for stage in cell.stages}
    ends, _ = together(here.runner, list(stages.values()))
    for name, error in ends.items():
        label = stages[name].cell.method
        if label == "diverges":
            assert isinstance(error, Diverged) and error.step <= 20
        elif label == "breaks":
            assert isinstance(error, RuntimeError) and str(error) == "boom at step 12"
        else:
            assert error is None
    for cell in cells:
        if cell.cell.method in ("dense", "soft"):
            alone = runner_of(tmp_path / "alone", here.registry)
            alone.run(cell.stages[0])
            close(outcome(tmp_path, cell), outcome(tmp_path / "alone", cell))


@pytest.mark.parametrize(("architecture", "reason"), [("{net: {dropout: 0.2}}", "random"), ("keeps", "something else")])
def test_what_cannot_be_packed_says_so_and_trains_alone(
    lab: Callable[..., Any], tmp_path: Path, architecture: str, reason: str
) -> None:
    here = lab(PLUGIN)
    cells = here.graph("{dense: }", architectures=architecture, seeds="[3, 4]").cells
    ends, notes = together(runner_of(tmp_path / "packed", here.registry), stages_of(cells, 0))
    assert list(ends.values()) == [None, None]
    assert len(notes) == 2 and all("trains alone, as it cannot be packed" in note and reason in note for note in notes)
    for cell in cells:
        here.run(cell)
        close(outcome(tmp_path / "packed", cell), outcome(tmp_path, cell))
