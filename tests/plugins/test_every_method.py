"""What every method must keep, whoever wrote it: the contract, a stop in the middle, and several processes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from stage_runs import CPU, assert_same, finish, outcome, runner_of, stopped_and_resumed
from two_processes import two_and_one

from harness import DataSpec, Masks, Source
from harness.registry.plugins import Registry, load
from harness.results.record import evaluated
from harness.stages.graph import Graph, compile_graph
from harness.storage import checkpoint
from harness.suites.suite import load_suite
from harness.testing import check_method
from harness_genome import Genome

REGISTRY = load()
METHODS = [registered.entry.name for registered in REGISTRY.entries("method")]
TRAINABLE = [name for name in METHODS if name != "stored_mask"]  # which imported weights bring
POINTS = """
import torch
from torch.nn.functional import cross_entropy
from harness import Benchmark, DataSpec, Entry, Measurement, Metric, hookimpl

class Points:
    def __init__(self, examples, seed):
        generator = torch.Generator().manual_seed(seed)
        self.targets = torch.randint(4, (examples,), generator=generator)
        noise = torch.randn(examples, 8, generator=generator, dtype=torch.float64)
        self.inputs = (torch.eye(4, 8, dtype=torch.float64)[self.targets] + noise).to(torch.get_default_dtype())
    def __len__(self):
        return len(self.targets)
    def batch(self, indices):
        return self.inputs[indices], self.targets[indices]

class Clouds(Benchmark):
    metrics = (Metric("loss", "nats", "min"),)
    protocol = "loss on 60 points"
    def spec(self):
        return DataSpec("classification", (8,), 4, 96)
    def training_data(self, device):
        return Points(96, 0)
    def evaluate(self, model, split, device):
        points = Points(60, 1 if split == "validation" else 2)
        return {"loss": Measurement(float(cross_entropy(model(points.inputs), points.targets)), 60)}

@hookimpl
def harness_register_benchmarks():
    return [Entry("clouds", Clouds)]
"""
SHORT = {"interval": 4, "recovery_steps": 8, "rounds": 2, "generations": 2, "outer_steps": 10}
"""Options by which a training of 30 steps has every event that a long one has, for methods that have such options."""
ORIGINS = {"genome_cut": {"use": "genome"}}
"""What methods start from that cannot start from random masks."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "clouds.py"
    path.write_text(POINTS)
    return path


@pytest.fixture(scope="module")
def registry(plugin: Path) -> Registry:
    return load([plugin])


def options(name: str) -> dict[str, Any]:
    """A method in a suite, so short that all of it happens within 30 steps."""
    cls = REGISTRY.get("method", name)
    given: dict[str, Any] = {key: value for key, value in SHORT.items() if key in cls.Options.model_fields}
    if cls.takes_density == "required" or "pattern" in cls.Options.model_fields:
        given["density"] = 0.5
    if cls.takes_source == "required":
        given["source"] = f"{name}_origin" if name in ORIGINS else "origin"
    return given


def suite_of(folder: Path, names: list[str]) -> Path:
    origins = {f"{name}_origin": origin for name, origin in ORIGINS.items() if name in names}
    described = {
        "architectures": {"mlp": {"hidden": [16, 16]}},
        "benchmarks": ["clouds"],
        "seeds": [3],
        "training": {"steps": 30, "batch_size": 16, "micro_batches": 2, "lr": 0.01, "weight_decay": 0.1},
        "evaluation": {"checks": 3, "select": "validation"},
        "methods": {"origin": {"use": "random", "density": 0.25}} | origins | {name: options(name) for name in names},
    }
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(described, sort_keys=False))
    return path


def planned(folder: Path, registry: Registry, names: list[str]) -> Graph:
    return compile_graph(load_suite(suite_of(folder, names), registry).cells, registry)


@pytest.mark.parametrize("name", METHODS)
def test_the_contract_is_kept(name: str) -> None:
    architecture: Any = None
    source = None
    if name == "genome_cut":
        source = Source("toy", Masks({}), {"genome": Genome(n_bands=4).state_dict()}, {})
    if name == "small_dense":  # the toy network has no width to scale
        mlp = REGISTRY.get("architecture", "mlp")
        architecture = mlp(mlp.Options(hidden=[16, 16]), DataSpec("classification", (8,), 4, examples=32))
    density = 0.5 if name in ("n_m", "sr_ste") else 0.25  # the former is what their pattern, 2:4, makes it
    check_method(REGISTRY.get("method", name), architecture=architecture, source=source, density=density)


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_stopped_run_goes_on_to_the_bit(
    name: str, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = planned(tmp_path, registry, [name])
    cell = graph.cells[-1]
    torch.manual_seed(1)
    for earlier in graph.cells:
        finish(tmp_path / "whole", registry, earlier)
    monkeypatch.setattr("harness.training.trainer.PATIENCE", -1.0)  # each step is looked at
    torch.manual_seed(2)
    for earlier in graph.cells[:-1]:
        finish(tmp_path / "stopped", registry, earlier)
    assert stopped_and_resumed(tmp_path / "stopped", registry, cell, 7) >= 3
    assert_same(outcome(tmp_path / "whole", cell), outcome(tmp_path / "stopped", cell))
    # Whichever checkpoint validation data chose, it keeps as many weights as were asked for, or says why not.
    record = evaluated(cell, runner_of(tmp_path / "stopped", registry), registry, CPU).record
    density = record.density
    assert density.requested is None or density.other_count or density.kept == round(density.requested * density.size)


def test_two_processes_choose_as_one(tmp_path: Path, plugin: Path, registry: Registry) -> None:
    suite = suite_of(tmp_path, TRAINABLE)
    two_and_one(tmp_path, suite, [plugin])
    for cell in compile_graph(load_suite(suite, registry).cells, registry).cells:
        stage = cell.stages[-1].hash
        one, two = (checkpoint.load(tmp_path / f"of{n}" / "stages" / stage / "state.safetensors") for n in (1, 2))
        name = cell.cell.method
        assert (one["masks"] is None) == (two["masks"] is None), name
        for connection, bits in (one["masks"] or {}).items():
            assert torch.equal(two["masks"][connection], bits), (name, connection)
        for parameter, expected in one["weights"].items():
            assert expected.dtype == torch.float64, name
            assert torch.allclose(two["weights"][parameter], expected, rtol=1e-8, atol=1e-11), (name, parameter)
