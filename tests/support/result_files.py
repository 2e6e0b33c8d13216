"""Result files that tests write by hand: as plain JSON, so that they may be of another schema, or wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.results.archive import Archive
from harness.results.result_file import ResultFile
from harness.results.store import ResultStore
from harness.results.suite_plan import SuitePlan
from harness.stages.series import Series
from harness.storage.atomic_files import write_json


def write_record(store: ResultStore, record: Mapping[str, Any]) -> Path:
    """Write a record as it is."""
    path = store.file(record["suite"], "cells", record["cell"]).path
    write_json(path, record)
    return path


def loose(path: Path) -> ResultFile:
    """A file that is nowhere packed."""
    return ResultFile(path, Archive(path.parent / "archive"), "samples", path.stem)


def write_series(store: ResultStore, suite: str, cell: str, series: Mapping[str, Any]) -> None:
    """Write curves as the harness does."""
    store.write_series(suite, cell, Series.model_validate(series, strict=False))


def write_plan(store: ResultStore, suite: str, plan: Mapping[str, Any]) -> None:
    """Write a plan as the harness does."""
    store.write_plan(suite, SuitePlan.model_validate(plan))


def small_record(suite: str, cell: str, method: str, seed: int, value: float, **changes: Any) -> dict[str, Any]:
    """The record of a finished cell of a small network on digits, with what is to be otherwise."""
    score = {"value": value, "n": 10, "unit": "fraction", "direction": "max", "primary": True}
    return {
        "schema": 1,
        "status": "done",
        "cell": cell,
        "suite": suite,
        "experiment": "main",
        "architecture": {"label": "mlp", "parameters": 1000},
        "method": {"label": method, "plugin": method, "version": "1", "options": {}},
        "benchmark": {"label": "digits", "protocol": "test"},
        "seed": seed,
        "density": {"scope": "maskable", "mask": 1.0, "nonzero": 1.0},
        "metrics": {"accuracy": score},
        **changes,
    }
