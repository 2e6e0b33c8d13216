"""Every method where real numbers are to be predicted: it trains by the squared error, and keeps as many as asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from short_methods import short_methods
from stage_runs import CPU, finish

from harness.registry.plugins import load
from harness.results.record import evaluated
from harness.stages.graph import compile_graph
from harness.suites.suite import load_suite

REGISTRY = load()
METHODS = [r.entry.name for r in REGISTRY.entries("method") if r.entry.name != "stored_mask"]
MORE: dict[str, dict[str, Any]] = {
    "genome": {"density": 0.5},  # by itself it has grown nothing after so few steps
    "n_m": {"pattern": "1:2"},  # 10 inputs are no groups of 4
    "sr_ste": {"pattern": "1:2"},
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    methods = short_methods(REGISTRY, name, MORE.get(name, {}))
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        yaml.safe_dump(
            {
                "architectures": {"mlp": {"hidden": [16, 16]}},
                "benchmarks": ["diabetes"],
                "seeds": [3],
                "training": {"steps": 60, "batch_size": 16, "micro_batches": 2, "optimizer": "adam", "lr": 0.01},
                "methods": methods,
            },
            sort_keys=False,
        )
    )
    cells = compile_graph(load_suite(suite, REGISTRY).cells, REGISTRY).cells
    for cell in cells:
        runner = finish(tmp_path / "results", REGISTRY, cell)
    record = evaluated(cells[-1], runner, REGISTRY, CPU).record
    density = record.density
    assert density.requested is None or density.other_count or density.kept == round(density.requested * density.size)
    assert record.connectivity is not None and record.connectivity.depends_on_input
    assert record.connectivity.predictions is None, "there are no classes"
    assert record.metrics["mse"].value < record.benchmark.references["the mean training target"]
