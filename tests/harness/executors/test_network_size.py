"""How large a network is: numbers by hand."""

from __future__ import annotations

from pathlib import Path

from harness.executors.network_size import NetworkSize
from harness.registry.plugins import load
from harness.stages.graph import compile_graph
from harness.suites.suite import load_suite

SUITE = """
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
training: {steps: 10, batch_size: 32}
methods: dense
"""


def test_operations_parameters_and_examples(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SUITE)
    suite = load_suite(tmp_path / "s.yaml", load())
    [planned] = compile_graph(suite.cells, suite.registry).cells
    size = NetworkSize.of(planned.stages[0], suite)
    weights = 64 * 8 + 8 * 10
    assert (size.forward, size.parameters, size.tokens) == (2 * weights, weights + 18, 1)
    assert (size.batch, size.example) == (32, 8 * 8)
    assert size.step == 3 * 2 * weights * 32
    assert size.training_bytes is not None and size.training_bytes > 4 * 4 * (weights + 18)
