"""Stages run by hand, stopped and resumed, and compared to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.registry.plugins import Registry
from harness.stages.graph import PlannedCell
from harness.stages.runner import StageRunner
from harness.stages.store import StageStore
from harness.stages.training_run import Interrupted
from harness.training.distributed import Substrate

CPU = torch.device("cpu")


def runner_of(folder: Path, registry: Registry, **how: Any) -> StageRunner:
    return StageRunner(registry, StageStore(folder), Substrate(0, 1, CPU), **how)


def finish(folder: Path, registry: Registry, cell: PlannedCell) -> StageRunner:
    runner = runner_of(folder, registry)
    for stage in cell.stages:
        runner.run(stage)
    return runner


def after(windows: int) -> Callable[[], bool]:
    """A ``stopping`` that asks to stop at the given look, once."""
    left = [windows]

    def stopping() -> bool:
        left[0] -= 1
        return left[0] == 0

    return stopping


def stopped_and_resumed(folder: Path, registry: Registry, cell: PlannedCell, windows: int) -> int:
    """Train a cell, stopped at every look number ``windows``; how often that was."""
    stops = 0
    for stage in cell.stages:
        while True:
            try:
                runner_of(folder, registry, stopping=after(windows)).run(stage)
                break
            except Interrupted:
                stops += 1
    return stops


def outcome(folder: Path, cell: PlannedCell) -> list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """State, series and manifest of every stage, without what is measured in seconds and bytes."""
    store = StageStore(folder)
    found = []
    for stage in cell.stages:
        state, manifest = store.state(stage.hash), store.manifest(stage.hash)
        assert manifest is not None
        state["spent"] = {key: state["spent"][key] for key in ("steps", "examples")}
        found.append((state, store.series(stage.hash), {"densities": manifest["densities"]}))
    return found


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Equal trees, tensors to the bit."""
    assert type(a) is type(b), where
    if isinstance(a, Tensor):
        assert a.dtype == b.dtype and torch.equal(a.view(torch.uint8), b.view(torch.uint8)) if a.ndim else a == b, where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}/{index}")
    else:
        assert a == b, where
