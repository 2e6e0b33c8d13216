"""How deep layers lie, on networks whose depths can be counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness_vision.layer_depths import layer_depths


class Crooked(nn.Module):
    """Names end with the depth at which a weight lies."""

    def __init__(self) -> None:
        super().__init__()
        self.stem_1 = nn.Conv2d(2, 4, 3, padding=1)
        self.block_2 = nn.Conv2d(4, 4, 3, padding=1)
        self.block_3 = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.past_2 = nn.Conv2d(4, 4, 1)
        self.standardised_4 = nn.Conv2d(4, 6, 1)
        self.unused = nn.Linear(6, 6)
        self.token = nn.Parameter(torch.randn(1, 1, 6))
        self.query_6 = nn.Linear(6, 6)
        self.key_5 = nn.Linear(6, 6)
        self.fused_8 = nn.Linear(6, 6)
        self.twice_9 = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_1(x).relu()
        x = self.block_3(self.block_2(x).relu()) + self.past_2(x)
        weight = self.standardised_4.weight
        x = F.conv2d(x, (weight - weight.mean()) / weight.std()).flatten(2).transpose(1, 2)
        # A query that sees no inputs meets them in attention, one below the keys.
        query = self.query_6(self.token).expand(len(x), -1, -1)
        key = F.linear(x, self.key_5.weight)
        x = F.scaled_dot_product_attention(query, key, x)[:, 0]
        return self.twice_9(self.fused_8(self.twice_9(x)))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_depths_are_those_counted_by_hand(device: str) -> None:
    network = Crooked().to(device)
    weights = {name: parameter for name, parameter in network.named_parameters() if parameter.ndim in (2, 4)}
    inputs = torch.randn(2, 2, 4, 4, device=device, requires_grad=True)
    found = layer_depths(network(inputs), inputs, weights)
    assert found == {name: int(name.removesuffix(".weight")[-1]) for name in found}
    assert weights.keys() - found.keys() == {"unused.weight"}


def test_a_deep_network_needs_no_deep_stack() -> None:
    network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(3000)))
    inputs = torch.randn(1, 2, requires_grad=True)
    found = layer_depths(network(inputs), inputs, dict(network.named_parameters()))
    assert [found[f"{i}.weight"] for i in range(3000)] == list(range(1, 3001))


def test_what_does_not_depend_on_the_inputs_has_no_depth() -> None:
    layer = nn.Linear(2, 2)
    inputs = torch.randn(1, 2, requires_grad=True)
    assert layer_depths(layer(torch.ones(1, 2)), inputs, {"weight": layer.weight}) == {}
    assert layer_depths(inputs * 2, inputs, {"weight": layer.weight}) == {}
