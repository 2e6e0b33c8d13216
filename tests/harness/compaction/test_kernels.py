"""Which layers run sparse: only those whose whole interval lies above 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from harness.compaction.kernels import choose_kernels
from harness.compaction.program import trace
from harness.compaction.timing import Speed
from harness.core.data import DataSpec

DATA = DataSpec("classification", (64,), 64, examples=8)


class Sums(nn.Module):
    """What is added is another product, as where bands feed all later ones."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.dense = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64)
        with torch.no_grad():
            for layer in (self.first, self.second):
                layer.weight.mul_(torch.rand(64, 64) < 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.first(x)
        return self.dense(torch.addmm(y, x, self.second.weight.t()))


def timed(low: float) -> Any:
    def measured(ways: Mapping[str, Any], reference: str, device: torch.device) -> dict[str, Speed]:
        for way in ways.values():
            way()
        return {name: Speed(1.0, 1.5, low, 2.0) for name in ways}

    return measured


@pytest.mark.parametrize("low", [0.99, 1.01])
def test_a_layer_is_sparse_if_it_is_surely_faster(low: float) -> None:
    module = Sums().eval()
    program = trace(module, DATA)
    inputs = torch.randn(5, 64)
    found = choose_kernels(program, inputs, timed(low))
    kernel = "csr" if low > 1 else "dense"
    assert {name: layer.kernel for name, layer in found.items()} == {
        "first_weight": kernel,
        "second_weight": kernel,
        "dense_weight": "dense",
    }
    assert found["dense_weight"].measured is None
    layouts = [tensor.layout for _, tensor in program.named_buffers()]
    assert layouts.count(torch.sparse_csr) == (2 if low > 1 else 0)
    assert len(layouts) == 5  # two biases, three matrices, once each
    with torch.no_grad():
        torch.testing.assert_close(program(inputs), module(inputs), rtol=1e-5, atol=1e-5)


def test_what_needs_no_input_is_computed_once() -> None:
    program = trace(Sums().eval(), DATA)
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert not [name for name in names if "transpose" in name or name.startswith("aten.t.")]
