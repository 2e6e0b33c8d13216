"""Code that is edited between two runs, or between planning and running: never another code's results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

METHOD = """
from harness import Entry, Prune, SparsityMethod, Train, hookimpl
from helper import SIGN


class Largest(SparsityMethod):
    def program(self, budget):
        return [Prune(), Train(budget.steps, hooks=False)]

    def influences(self, phase):
        return {}

    def scores(self, context):
        return {c.name: SIGN * (1 * context.weight(c)) for c in context.connections}


@hookimpl
def harness_register_methods():
    return [Entry("largest", Largest, "edited by tests")]
"""
ARCHITECTURE = """
import torch
from torch import nn
from torch.nn import functional

from harness import Architecture, Band, Connection, Entry, hookimpl


class Net(Architecture):
    kinds = ("classification",)

    def build(self):
        return Network()

    def connections(self):
        return [Connection("up", "up.weight", "dense", Band("in", 6, 0), Band("mid", 8, 1), (8, 6))]


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.head = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x, targets=None):
        logits = self.head(torch.tanh(self.up(x)))
        return logits if targets is None else functional.cross_entropy(logits, targets)


@hookimpl
def harness_register_architectures():
    return [Entry("small_net", Net, "edited by tests")]
"""
BENCHMARK = """
import torch
from torch.nn import functional

from harness import Benchmark, DataSpec, Entry, Measurement, Metric, hookimpl


class Data:
    def __init__(self, seed):
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(64, 6, generator=generator)
        self.y = (self.x[:, 0] * self.x[:, 1] > 0).long()

    def __len__(self):
        return 64

    def batch(self, indices):
        return self.x[indices], self.y[indices]


class Clouds(Benchmark):
    metrics = (Metric("loss", "nats", "min"),)
    protocol = "loss on 64 points"

    def spec(self):
        return DataSpec("classification", (6,), 2, 64)

    def training_data(self, device):
        return Data(0)

    def evaluate(self, model, split, device):
        data = Data(1 if split == "validation" else 2)
        return {"loss": Measurement(float(functional.cross_entropy(model(data.x), data.y)), 64)}


@hookimpl
def harness_register_benchmarks():
    return [Entry("clouds", Clouds, "edited by tests")]
"""
SUITE = """
architectures: small_net
benchmarks: clouds
training: {steps: 20, batch_size: 16, lr: 0.05}
evaluation: {checks: 1}
methods:
  dense:
  largest: {density: 0.4}
  shuffle: {source: largest}
  random: {density: {match: largest}}
"""
FILES = {"method.py": METHOD, "architecture.py": ARCHITECTURE, "benchmark.py": BENCHMARK}
EDITS = {
    "a method": ("method.py", "(1 * context", "(-1 * context"),
    "an architecture": ("architecture.py", "torch.tanh", "torch.relu"),
    "training data": ("benchmark.py", "return Data(0)", "return Data(3)"),
    "a score": ("benchmark.py", "model(data.x), data.y)), 64)", "model(data.x), data.y)) / 2, 64)"),
    "a module beside it": ("helper.py", "SIGN = 1", "SIGN = -1"),
}


class Place:
    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in {**FILES, "helper.py": "SIGN = 1\n", "suite.yaml": SUITE}.items():
            (root / name).write_text(text)

    def run(self, results: str) -> str:
        plugins = [word for name in FILES for word in ("--plugin", name)]
        command = [sys.executable, "-m", "harness", "run", "suite.yaml", *plugins, "--results", results]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def edit(self, file: str, old: str, new: str) -> None:
        text = (self.root / file).read_text()
        assert old in text
        (self.root / file).write_text(text.replace(old, new))

    def scores(self, results: str) -> dict[str, Any]:
        """What the suite says now, by method."""
        folder = self.root / results / "suite"
        cells = json.loads((folder / "suite.json").read_text())["cells"]
        records = [json.loads((folder / "cells" / f"{cell}.json").read_text()) for cell in cells]
        return {record["method"]["label"]: (record["cell"], record["metrics"]) for record in records}


@pytest.mark.parametrize("edited", EDITS)
def test_what_is_edited_is_run_anew(tmp_path: Path, edited: str) -> None:
    place = Place(tmp_path)
    place.run("used")
    before = place.scores("used")
    assert "0 to do" in place.run("used")
    place.edit(*EDITS[edited])
    said = place.run("used")
    assert "0 to do" not in said
    place.run("fresh")
    after = place.scores("used")
    assert after == place.scores("fresh")
    assert after["largest"] != before["largest"] and after["largest"][1] != before["largest"][1]
    assert after["shuffle"][0] != before["shuffle"][0]


@pytest.mark.parametrize("everything", [True, False])
def test_what_is_edited_after_planning_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: bool
) -> None:
    """A job that waited in a queue, say: here the file changes when the worker is about to load it."""
    from harness.executors.base import Job, View
    from harness.executors.local import LocalExecutor
    from harness.registry.plugins import load
    from harness.stages.graph import compile_graph
    from harness.suites.suite import load_suite

    class Told(View):
        def __init__(self) -> None:
            self.failures: dict[str, str] = {}

        started = progress = finished = ended = note = lambda self, *_: None

        def failed(self, job: Job, failure: Any) -> None:
            self.failures[job.id] = failure["message"]

    place = Place(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    files = [tmp_path / name for name in FILES]
    registry = load(files)
    graph = compile_graph(load_suite(tmp_path / "suite.yaml", registry).cells, registry)
    jobs = [Job(stage.hash, stage, stage.needs) for stage in graph.stages.values()]
    place.edit(*EDITS["an architecture" if everything else "a method"])
    view = Told()
    LocalExecutor(tmp_path / "results", 1, plugins=files).run(jobs, view)
    made = {path.parent.name for path in (tmp_path / "results").rglob("state.safetensors")}
    kept = set() if everything else {stage.hash for stage in graph.stages.values() if stage.cell.method == "dense"}
    assert made == kept and made | view.failures.keys() == graph.stages.keys()
    name = "architecture 'small_net'" if everything else "method 'largest'"
    assert all(f"the plugin of {name} changed after" in text for text in view.failures.values())
