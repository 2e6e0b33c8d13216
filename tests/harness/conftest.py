"""A results folder in which cells of toy suites are run, for the tests of what computes results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.registry.plugins import load
from harness.results.record import evaluated
from harness.stages.graph import Graph, PlannedCell, compile_graph
from harness.stages.network import Network
from harness.stages.runner import StageRunner
from harness.stages.store import StageStore
from harness.suites.suite import load_suite
from harness.training.distributed import Substrate

HERE = Path(__file__).parent
CPU = torch.device("cpu")
DOCUMENT = Path(__file__).parents[2] / "docs" / "plugins.md"
PYTHON: list[str] = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf8"), re.M | re.S)
ATTENTION_METHODS = """
from harness import Entry, Prune, Train, hookimpl


class Windowed(SparsityMethod):
    '''Projected: half of the weights; a query sees itself and earlier keys, but query 5 nothing.'''

    kinds = frozenset({"weight", "attention"})

    def program(self, budget):
        return [Prune(), Train(budget.steps, hooks=False)]

    def scores(self, context):
        return {c.name: context.weight(c).abs() for c in context.connections if c.kind == "weight"}

    def refine(self, masks, context):
        assert masks["seen"].all()
        earlier = torch.ones(8, 8, dtype=torch.bool).tril()
        earlier[5] = False
        return Masks({**masks, "seen": earlier})


class SoftGates(Gates):
    '''Its final bias is the trained one, which only the gates can tell.'''

    def parameter_groups(self):
        return [ParameterGroup(list(self.gates.values()), lr=0.01, name="gates", in_network=True)]

    def final(self, connection, raw):
        return self.compose(connection, raw)

    def final_masks(self, context):
        return Masks.full(context.connections)

    def final_differs(self):
        return None


@hookimpl
def harness_register_architectures():
    return [Entry("attending", Attending, "attention between the rows of an image")]


@hookimpl
def harness_register_methods():
    methods = {"gates": Gates, "soft_gates": SoftGates, "windowed": Windowed}
    return [Entry(name, method, "for attention") for name, method in methods.items()]
"""


class Lab:
    """Runs cells of suites on ``net`` and ``blobs`` in this process, one thread, seed 3.

    Args:
        root: an empty folder.
        plugin: source of a single-file plugin beside the toy's and the lab's own.
    """

    def __init__(self, root: Path, plugin: str = "") -> None:
        self.root = root
        files = [HERE / "toy_plugin.py", HERE / "lab_plugin.py"]
        if plugin:
            files.append(root / "plugin.py")
            files[-1].write_text(plugin)
        self.registry = load(files)
        self.store = StageStore(root)
        self.runner = StageRunner(self.registry, self.store, Substrate(0, 1, CPU))

    def graph(self, methods: str, **keys: str) -> Graph:
        """Cells of a suite; ``keys`` replace or add top-level keys of its YAML."""
        text = {
            "architectures": "{net: {}}",
            "benchmarks": "blobs",
            "seeds": "[3]",
            "training": "{steps: 40, batch_size: 16, lr: 0.02}",
            "evaluation": "{checks: 4}",
            "methods": methods,
            **keys,
        }
        path = self.root / "suite.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in text.items()))
        return compile_graph(load_suite(path, self.registry).cells, self.registry)

    def cells(self, methods: str, **keys: str) -> dict[str, PlannedCell]:
        """The cells by their methods' labels."""
        return {planned.cell.method: planned for planned in self.graph(methods, **keys).cells}

    def run(self, planned: PlannedCell) -> PlannedCell:
        """Run the stages of a cell; those that it refers to must have run."""
        for stage in planned.stages:
            self.runner.run(stage)
        return planned

    def record(self, planned: PlannedCell) -> dict[str, Any]:
        """The record of a cell as its file holds it; its stages are run first."""
        return evaluated(self.run(planned), self.runner, self.registry, CPU).record.content()

    def records(self, methods: str, **keys: str) -> dict[str, dict[str, Any]]:
        """Run a suite; records by the methods' labels."""
        return {label: self.record(planned) for label, planned in self.cells(methods, **keys).items()}

    def network(self, planned: PlannedCell) -> Network:
        """The network at the end of a cell."""
        return self.runner.restored(self.run(planned).stages[-1], planned.cell)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Makes a :class:`Lab`; torch's threads and random state are afterwards as they were."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    yield lambda plugin="": Lab(tmp_path, plugin)
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


@pytest.fixture
def documented() -> Callable[..., str]:
    """Code blocks of the document on plugins by the classes that they define."""

    def code(*classes: str) -> str:
        return "\n".join(block for name in classes for block in PYTHON if f"class {name}(" in block)

    return code


@pytest.fixture
def attention_plugin(documented: Callable[..., str]) -> str:
    """Source of the documents' attention masks as a plugin, with two methods more."""
    return documented("Attending", "Gates") + ATTENTION_METHODS
