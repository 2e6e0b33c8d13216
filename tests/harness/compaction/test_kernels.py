"""Which layers run sparse: only those whose whole interval lies above 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from sparse_tensor_cores import emulate
from torch import nn

from harness.compaction.kernels import choose_kernels
from harness.compaction.packed import packed, parts
from harness.compaction.program import trace
from harness.compaction.standalone import pairs_of_four
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
    assert found["dense_weight"].measured == {}
    layouts = [tensor.layout for _, tensor in program.named_buffers()]
    assert layouts.count(torch.sparse_csr) == (2 if low > 1 else 0)
    assert len(layouts) == 5  # two biases, three matrices, once each
    with torch.no_grad():
        torch.testing.assert_close(program(inputs), module(inputs), rtol=1e-5, atol=1e-5)


def test_what_needs_no_input_is_computed_once() -> None:
    program = trace(Sums().eval(), DATA)
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert not [name for name in names if "transpose" in name or name.startswith("aten.t.")]


class Halves(nn.Module):
    """Two layers of which two of every four weights of a row are zero, and one with three in one row."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.third = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64, bias=False)
        with torch.no_grad():
            for layer in (self.first, self.second, self.third):
                layer.weight.mul_(torch.rand(64, 16, 4).argsort(-1).argsort(-1).flatten(1) < 2)
            self.third.weight[0, :4] = torch.tensor([1.0, 1.0, 1.0, 0.0])
            self.third.weight[1:, :8] = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.first(x)
        return self.third(torch.addmm(y, x, self.second.weight.t()))


def test_two_of_four_run_on_sparse_tensor_cores_where_that_is_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    emulate(monkeypatch)
    module = Halves().bfloat16().eval()
    program, inputs = trace(module, DATA), torch.randn(5, 64).bfloat16()
    found = choose_kernels(program, inputs, timed(1.01))
    assert {name: layer.kernel for name, layer in found.items()} == {
        "first_weight": "2:4",
        "second_weight": "2:4",
        "third_weight": "dense",
    }
    with torch.no_grad():
        torch.testing.assert_close(program(inputs), module(inputs), rtol=0.03, atol=0.03)
    layout, stored = packed(program)
    assert layout["first_weight_sparse"] == {"shape": [64, 64], "stored": "bits", "runs": "2:4"}
    assert stored["first_weight_sparse.values"].numel() == 64 * 64 // 2
    assert torch.equal(program.get_buffer("first_weight_sparse").to_dense(), module.first.weight)
    (kept, _, *_), whole = parts(program.get_buffer("first_weight_sparse")), module.first.weight
    assert kept.nbytes == whole.nbytes // 2


def test_only_a_gpu_has_sparse_tensor_cores() -> None:
    """And only numbers of 16 bits: float32 would be rounded to TF32."""
    dense = torch.eye(64, dtype=torch.bfloat16)
    assert pairs_of_four(dense) is None
    program = trace(Halves().bfloat16().eval(), DATA)
    found = choose_kernels(program, torch.randn(5, 64).bfloat16(), timed(1.01))
    assert {layer.kernel for layer in found.values()} == {"dense"}
    assert all(not layer.measured for layer in found.values())  # nor has torch compressed rows of bfloat16 there


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_multiplies_as_the_masked_matrix_does() -> None:
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU has no sparse tensor cores")
    module = Halves().bfloat16().eval().cuda()
    program, inputs = trace(module, DATA), torch.randn(5, 64).bfloat16().cuda()
    found = choose_kernels(program, inputs, timed(1.01))
    assert [layer.kernel for layer in found.values()] == ["2:4", "2:4", found["third_weight"].kernel]
    with torch.no_grad():
        torch.testing.assert_close(program(inputs), module(inputs), rtol=0.03, atol=0.03)
