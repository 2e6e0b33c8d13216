"""Controls of masks of whole kernels: their counts are the source's, which need not be the one that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from stage_runs import CPU, finish

from harness.registry.plugins import load
from harness.results.record import evaluated
from harness.stages.graph import compile_graph
from harness.suites.suite import load_suite

SUITE = {
    "architectures": {"band_cnn": {"channels": [5, 5, 6], "strides": [1, 2, 1]}},
    "benchmarks": "digits",
    "training": {"steps": 2, "batch_size": 8},
    "methods": {
        "genome": {"density": 0.3, "distribution": "uniform"},
        "shuffle": {"source": "genome", "granularity": "kernel"},
        "reinit": {"source": "genome"},
    },
}


def test_counts_are_those_of_whole_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    (tmp_path / "kernels.yaml").write_text(yaml.safe_dump(SUITE))
    registry = load()
    kept, reasons = {}, {}
    for planned in compile_graph(load_suite(tmp_path / "kernels.yaml", registry).cells, registry).cells:
        record = evaluated(planned, finish(tmp_path, registry, planned), registry, CPU).record
        kept[record.method.label], reasons[record.method.label] = record.density.kept, record.density.other_count
    asked = round(0.3 * (record.density.size or 0))
    assert kept["genome"] == kept["shuffle"] == kept["reinit"] != asked
    assert "whole kernels" in str(reasons["genome"])
    assert reasons["shuffle"] == reasons["reinit"] == "as many as its source, whose masks it takes"
