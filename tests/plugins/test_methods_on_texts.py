"""Every method on texts of unequal length: it trains, keeps what it was asked to, or says why it cannot."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from short_methods import short_methods
from stage_runs import CPU, finish

from harness import UserError
from harness.registry.plugins import Registry, load
from harness.results.record import evaluated
from harness.stages.graph import compile_graph
from harness.suites.suite import load_suite

METHODS = [registered.entry.name for registered in load().entries("method") if registered.entry.name != "stored_mask"]
WORDS = """
import torch
from torch.nn.functional import cross_entropy
from harness import Benchmark, DataSpec, Entry, Measurement, Metric, hookimpl

class Sayings:
    def __init__(self, examples, seed):
        generator = torch.Generator().manual_seed(seed)
        self.targets = torch.randint(3, (examples,), generator=generator)
        lengths = torch.randint(1, 11, (examples,), generator=generator)
        ids = torch.randint(19, (examples, 10), generator=generator)
        ids[:, 0] = self.targets
        ids += ids >= 5  # which is padding
        self.ids = ids.where(torch.arange(10) < lengths[:, None], 5)
        self.lengths = lengths
    def __len__(self):
        return len(self.targets)
    def batch(self, indices):
        return self.ids[indices, : self.lengths[indices].max()], self.targets[indices]

class FirstWord(Benchmark):
    metrics = (Metric("loss", "nats", "min"),)
    protocol = "loss on 60 texts"
    def spec(self):
        return DataSpec("text_classification", (10,), 3, 96, vocabulary=20, padding=5)
    def training_data(self, device):
        return Sayings(96, 0)
    def evaluate(self, model, split, device):
        texts = Sayings(60, 1 if split == "validation" else 2)
        return {"loss": Measurement(float(cross_entropy(model(texts.ids), texts.targets)), 60)}

@hookimpl
def harness_register_benchmarks():
    return [Entry("first_word", FirstWord)]
"""
MORE: dict[str, dict[str, Any]] = {
    "genome": {"density": 0.5},  # by itself it has grown nothing after so few steps
    "units": {"scope": ["qkv", "attn_out", "ffn_up", "ffn_down"]},
}
REFUSED = {"synflow": "the flow of an input of ones is not defined for tokens"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    path = tmp_path_factory.mktemp("plugin") / "first_word.py"
    path.write_text(WORDS)
    return load([path])


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_or_says_why_not(name: str, tmp_path: Path, registry: Registry) -> None:
    torch.set_num_threads(1)
    methods = short_methods(registry, name, MORE.get(name, {}))
    described = {
        "architectures": {"band_transformer": {"hidden": 8, "layers": 2, "heads": 2, "ffn": 8}},
        "benchmarks": ["first_word"],
        "seeds": [3],
        "training": {"steps": 12, "batch_size": 16, "micro_batches": 2, "lr": 0.02},
        "methods": methods,
    }
    suite = tmp_path / "suite.yaml"
    suite.write_text(yaml.safe_dump(described, sort_keys=False))
    if name in REFUSED:
        with pytest.raises(UserError, match=REFUSED[name]):
            load_suite(suite, registry)
        return
    cells = compile_graph(load_suite(suite, registry).cells, registry).cells
    for cell in cells:
        runner = finish(tmp_path / "results", registry, cell)
    record = evaluated(cells[-1], runner, registry, CPU).record
    assert isfinite(record.metrics["loss"].value)
    density = record.density
    assert density.requested is None or density.other_count or density.kept == round(density.requested * density.size)
    assert record.connectivity is not None and record.connectivity.depends_on_input
