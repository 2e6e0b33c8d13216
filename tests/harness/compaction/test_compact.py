"""Which units go, by hand: chains of dead units, constants in biases, and what has to stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.compaction.compact import compact
from harness.compaction.constants import fold_constants
from harness.compaction.dead_units import kept_units
from harness.core.architecture import Architecture, NoOptions
from harness.core.connections import Connection
from harness.core.data import DataSpec
from harness.core.units import UnitGroup, UnitMember, outermost
from harness.errors import HarnessError
from harness.testing.toy import ToyArchitecture

TOY = ToyArchitecture(NoOptions(), DataSpec("classification", (8,), 4, examples=8))
FIRST, SECOND = TOY.units()


def toy() -> tuple[nn.Module, dict[str, Tensor]]:
    torch.manual_seed(0)
    module = TOY.build().double().eval().requires_grad_(False)
    return module, dict(module.named_parameters())


def test_a_unit_that_nothing_reads_goes_and_with_it_who_is_read_by_nobody_else() -> None:
    module, tensors = toy()
    tensors["layers.2.weight"][:, 3] = 0  # unit 3 of the second layer is not read
    tensors["layers.1.weight"][[i for i in range(16) if i != 3], 5] = 0  # unit 5 of the first is read by it alone
    kept = kept_units(TOY.units(), tensors)
    assert kept["band2"].logical_not().nonzero().flatten().tolist() == [3]
    assert kept["band1"].logical_not().nonzero().flatten().tolist() == [5]
    found = compact(TOY, module)
    assert [tuple(p.shape) for p in found.module.parameters()] == [(7, 8), (7,), (15, 7), (15,), (4, 15), (4,)]
    inputs = torch.randn(5, 8, dtype=torch.float64)
    assert float((found.module(inputs) - module(inputs)).abs().max()) < 1e-12


def test_one_unit_of_a_layer_stays() -> None:
    module, tensors = toy()
    tensors["layers.2.weight"].zero_()
    found = compact(TOY, module)
    assert found.units == {"band1": (1, 8), "band2": (1, 16)}
    inputs = torch.randn(5, 8, dtype=torch.float64)
    assert torch.equal(found.module(inputs), module(inputs))


def test_a_unit_without_inputs_goes_into_the_next_bias() -> None:
    """relu(0.5) = 0.5 times the weights by which it is read."""
    module, tensors = toy()
    tensors["layers.0.weight"][2] = 0
    tensors["layers.0.bias"][2] = 0.5
    expected = tensors["layers.1.bias"] + 0.5 * tensors["layers.1.weight"][:, 2]
    found = compact(TOY, module)
    assert found.folded == 1
    assert found.units["band1"] == (7, 8)
    torch.testing.assert_close(dict(found.module.named_parameters())["layers.1.bias"], expected, rtol=0, atol=1e-12)


def test_a_unit_that_gives_nothing_goes_without_a_bias() -> None:
    module, tensors = toy()
    tensors["layers.0.weight"][2] = 0
    tensors["layers.0.bias"][2] = -0.5
    before = tensors["layers.1.bias"].clone()
    found = compact(TOY, module)
    assert found.units["band1"] == (7, 8)
    assert torch.equal(dict(found.module.named_parameters())["layers.1.bias"], before)


def test_a_constant_is_not_taken_for_nothing_where_no_example_reaches_its_reader() -> None:
    """Readers that are closed for all inputs that are tried, and open for larger ones."""
    module, tensors = toy()
    tensors["layers.0.weight"][2] = 0
    tensors["layers.0.bias"][2] = 0.7
    tensors["layers.1.bias"] -= 100
    found = compact(TOY, module)
    inputs = 1e4 * torch.randn(64, 8, dtype=torch.float64)
    expected = module(inputs)
    assert float((expected - tensors["layers.2.bias"]).abs().max()) > 1, "the readers are open"
    assert float((found.module(inputs) - expected).abs().max()) < 1e-9
    assert found.units["band1"] == (8, 8) and "is reached by no example that was tried" in found.staying["band1"]


class Pictures(Architecture[NoOptions]):
    """Two convolutions; the second is padded, or has no bias."""

    kinds = ("classification",)
    padding, bias = 0, True

    def build(self) -> nn.Module:
        first, second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 3, 3, padding=self.padding, bias=self.bias)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))

    def connections(self) -> Sequence[Connection]:
        return ()

    def units(self) -> Sequence[UnitGroup]:
        members = (UnitMember("0.weight", 0, "in"), UnitMember("0.bias", 0, "own"), UnitMember("2.weight", 1, "out"))
        return [UnitGroup("first", "channel", 4, members)]


class Padded(Pictures):
    padding = 1


class Unbiased(Pictures):
    bias = False


@pytest.mark.parametrize(
    ("cls", "left", "reason"),
    [(Pictures, 3, None), (Padded, 4, "does not read the same of them everywhere"), (Unbiased, 4, "has no bias")],
)
def test_a_constant_channel_goes_where_its_reader_sees_it_alike(cls: Any, left: int, reason: str | None) -> None:
    architecture = cls(NoOptions(), DataSpec("classification", (1, 8, 8), 2, examples=8))
    torch.manual_seed(0)
    module = architecture.build()
    module(torch.zeros(1, 1, 8, 8))
    module.double().eval().requires_grad_(False)
    module[0].weight[1] = 0
    module[0].bias[1] = 0.7
    found = compact(architecture, module)
    assert found.units["first"] == (left, 4)
    assert found.folded == 4 - left
    assert found.staying.keys() == ({"first"} if reason else set())
    assert reason is None or reason in found.staying["first"]
    inputs = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    assert float((found.module(inputs) - module(inputs)).abs().max()) < 1e-12


def test_folding_leaves_units_with_inputs_alone() -> None:
    module, tensors = toy()
    kept = kept_units(TOY.units(), tensors)
    found = fold_constants(module.requires_grad_(True), TOY.units(), kept, lambda i: torch.randn(4, 8).double())
    assert (found.folded, dict(found.staying)) == (0, {})


def test_units_that_are_parts_of_larger_ones_do_not_go_one_by_one() -> None:
    heads = UnitGroup("heads", "head", 4, (UnitMember("out", 1, "out", width=2),))
    shared = UnitGroup("key_value_heads", "head", 2, (UnitMember("out", 1, "out", width=4),))
    assert outermost([heads, shared]) == [shared]
    coupled = UnitGroup("key_value_heads", "head", 2, shared.members, coupled="a norm")
    assert outermost([heads, coupled]) == [heads, coupled]


class Wrong(ToyArchitecture):
    """Takes the last layer for the reader of the first."""

    def units(self) -> Sequence[UnitGroup]:
        members = (UnitMember("layers.0.weight", 0, "in"), UnitMember("layers.2.weight", 1, "out"))
        return [UnitGroup("band1", "neuron", 8, members)]


def test_units_that_are_named_wrongly_are_found_out() -> None:
    module, tensors = toy()
    tensors["layers.2.weight"][:, :4] = 0
    with pytest.raises(HarnessError, match="without its dead units Wrong cannot compute"):
        compact(Wrong(NoOptions(), TOY.data), module)
