"""Which batch norms go into the layer before them, by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from harness.compaction.program import trace
from harness.core.data import DataSpec

PICTURES = DataSpec("classification", (2, 4, 4), 3, examples=8)


class Network(nn.Module):
    def __init__(
        self, layer: nn.Module, forward: Callable[[nn.Module, nn.Module, Tensor], Tensor], **norm: bool
    ) -> None:
        super().__init__()
        self.layer, self.norm, self.computed = layer, nn.BatchNorm2d(3, **norm), forward
        for name, tensor in self.named_buffers():
            if tensor.is_floating_point():
                tensor += torch.rand_like(tensor) * (2 if "var" in name else 1)
        if self.norm.weight is not None:
            nn.init.uniform_(self.norm.weight, -2, 2)
            nn.init.uniform_(self.norm.bias, -2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.computed(self.layer, self.norm, x)


def left(network: nn.Module) -> int:
    """Norms of the graph, once it computes what the network does."""
    program, inputs = trace(network.double().eval(), PICTURES), torch.randn(5, 2, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(program(inputs), network(inputs), rtol=1e-12, atol=1e-12)
    return sum("norm" in str(node.target) for node in program.graph.nodes if node.op == "call_function")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_a_norm_that_alone_reads_a_convolution_goes(bias: bool, affine: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=bias)
    assert left(Network(layer, lambda layer, norm, x: norm(layer(x)).relu(), affine=affine)) == 0


def test_a_norm_stays_where_others_read_the_layer_or_where_the_batch_is_measured() -> None:
    torch.manual_seed(0)

    def conv() -> nn.Module:
        return nn.Conv2d(2, 3, 1)

    def added(layer: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
        y: Tensor = layer(x)
        return y + norm(y)

    assert left(Network(conv(), added)) == 1
    assert left(Network(conv(), lambda layer, norm, x: norm(layer(x).relu()))) == 1
    assert left(Network(conv(), lambda layer, norm, x: norm(layer(x)), track_running_stats=False)) == 1


def test_a_layer_that_is_called_twice_keeps_its_weights_where_no_norm_follows() -> None:
    torch.manual_seed(0)
    network = Network(nn.Conv2d(2, 3, 1), lambda layer, norm, x: norm(layer(x)) + layer(x.relu()))
    assert left(network) == 0


def test_zeros_stay_zeros() -> None:
    torch.manual_seed(0)
    network = Network(nn.Conv2d(2, 3, 3, bias=False), lambda layer, norm, x: norm(layer(x))).eval()
    with torch.no_grad():
        network.layer.weight[1].zero_()  # type: ignore[union-attr, index, operator]
    tensors = dict(trace(network, PICTURES).named_buffers())
    assert sorted(tuple(tensor.shape) for tensor in tensors.values()) == [(3,), (3, 2, 3, 3)]
    (weight,) = (tensor for tensor in tensors.values() if tensor.ndim == 4)
    assert weight.dtype == torch.float32 and not weight[1].any() and weight[0].all()
