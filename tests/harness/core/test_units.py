"""Units: where they lie, what belongs to them, and masks that keep whole ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness import (
    Architecture,
    Band,
    Connection,
    DataSpec,
    UnitGroup,
    UnitMember,
    in_units,
    out_units,
    unit_masks,
    unit_scores,
)
from harness.testing import check_architecture


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (UnitMember("w", 0, "in"), [0, 1, 2, -1, -1, -1, -1, -1]),
        (UnitMember("w", 0, "in", start=2, width=2), [-1, -1, 0, 0, 1, 1, 2, 2]),
        (UnitMember("w", 0, "in", start=1, width=1, stride=3), [-1, 0, -1, -1, 1, -1, -1, 2]),
        (UnitMember("w", 0, "in", start=3, width=2, only=1), [-1, -1, -1, 1, 1, -1, -1, -1]),
    ],
)
def test_where_units_lie_along_an_axis(member: UnitMember, expected: list[int]) -> None:
    assert member.units(8, count=3).tolist() == expected


def connection(name: str, shape: tuple[int, ...], **where: Any) -> Connection:
    bands = Band("a", shape[1], 0), Band("b", shape[0], 1)
    return Connection(name, where.pop("parameter", "w"), "dense", *bands, shape, **where)


def test_rows_and_columns_of_a_region_know_their_units() -> None:
    """The region is rows 1 to 4 and columns 2 to 5 of an (in, out) parameter."""
    region = connection("c", (4, 3), rows=(1, 5), columns=(2, 5), out_axis=1, in_axis=0)
    heads = UnitGroup("heads", "head", 2, (UnitMember("w", 1, "in", start=0, width=3),))
    stream = UnitGroup("stream", "channel", 4, (UnitMember("w", 0, "out"), UnitMember("v", 1, "out")))
    groups = [heads, stream]
    assert [(g.name, u.tolist()) for g, u in out_units(region, groups)] == [("heads", [0, 0, 1, 1])]
    assert [(g.name, u.tolist()) for g, u in in_units(region, groups)] == [("stream", [2, 3, -1])]
    assert out_units(replace(region, parameter="u"), groups) == []
    assert in_units(replace(region, parameter="v"), groups) == []


def test_scores_sum_the_squares_of_all_that_is_a_units() -> None:
    group = UnitGroup(
        "g", "neuron", 2, (UnitMember("w", 0, "in"), UnitMember("b", 0, "own"), UnitMember("v", 1, "out"))
    )
    kernels = torch.tensor([[[1.0, 2.0]], [[3.0, 0.0]]])
    values = {"w": kernels, "b": torch.tensor([1.0, -1.0]), "v": torch.tensor([[2.0, 0.0], [0.0, 5.0]])}
    assert unit_scores(group, values).tolist() == [1 + 4 + 1 + 4, 9 + 1 + 25]
    assert unit_scores(group, {"b": values["b"]}).tolist() == [1, 1]


def test_masks_keep_what_enters_and_leaves_kept_units() -> None:
    first, kernel = connection("first", (3, 2)), connection("second", (2, 3, 2), parameter="v")
    group = UnitGroup("g", "neuron", 3, (UnitMember("w", 0, "in"), UnitMember("v", 1, "out")))
    masks = unit_masks([first, kernel], [group], {"g": torch.tensor([True, False, True])})
    assert masks["first"].tolist() == [[True, True], [False, False], [True, True]]
    assert masks["second"].all(2).tolist() == masks["second"].any(2).tolist() == [[True, False, True]] * 2
    assert unit_masks([first], [group], {}).density == 1


# --- a convolutional network, whose channels have a norm with running statistics ------------------


class _Network(nn.Module):
    def __init__(self, classes: int, slope: float) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.second, self.head = nn.Conv2d(6, 4, 3), nn.Linear(4, classes)
        self.slope = slope

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        x = self.norm(self.first(inputs)).relu()
        x = self.second(x).relu().mean((2, 3)) + self.slope * x.mean((1, 2, 3))[:, None]
        logits: Tensor = self.head(x)
        return logits if targets is None else functional.cross_entropy(logits, targets)


class Convolutional(Architecture[Any]):
    kinds = ("classification",)
    slope = 0.0

    def build(self) -> nn.Module:
        return _Network(self.data.outputs, self.slope)

    def connections(self) -> list[Connection]:
        bands = [Band("image", 1, 0), Band("first", 6, 1), Band("second", 4, 2), Band("classes", self.data.outputs, 3)]
        first = Connection("first", "first.weight", "conv", *bands[:2], (6, 1, 3, 3))
        second = Connection("second", "second.weight", "conv", *bands[1:3], (4, 6, 3, 3))
        return [first, second, Connection("head", "head.weight", "classifier", *bands[2:], (self.data.outputs, 4))]

    def units(self) -> list[UnitGroup]:
        norm = [UnitMember(f"norm.{leaf}", 0, "own") for leaf in ("weight", "bias", "running_mean", "running_var")]
        first = UnitMember("first.weight", 0, "in"), *norm, UnitMember("second.weight", 1, "out")
        second = [UnitMember("second.weight", 0, "in"), UnitMember("second.bias", 0, "own")]
        return [
            UnitGroup("first", "channel", 6, first),
            UnitGroup("second", "channel", 4, (*second, UnitMember("head.weight", 1, "out"))),
        ]

    def with_first(self, **changes: Any) -> list[UnitGroup]:
        first, second = Convolutional.units(self)
        return [replace(first, **changes), second]

    def with_member(self, number: int, **changes: Any) -> list[UnitGroup]:
        members = list(Convolutional.units(self)[0].members)
        members[number] = replace(members[number], **changes)
        return self.with_first(members=tuple(members))


class Elsewhere(Convolutional):
    """The channels are also read without weights."""

    slope = 1.0


class Owned(Elsewhere):
    def units(self) -> list[UnitGroup]:
        return self.with_first(coupled="a mean over channels")


class OneTooMany(Convolutional):
    def units(self) -> list[UnitGroup]:
        return self.with_first(count=7)


class Interleaved(Convolutional):
    def units(self) -> list[UnitGroup]:
        return self.with_member(0, width=2, stride=1, start=-1)


class Overlapping(Convolutional):
    def units(self) -> list[UnitGroup]:
        return self.with_first(count=5, members=(UnitMember("first.weight", 0, "in", width=2, stride=1),))


class Misnamed(Convolutional):
    def units(self) -> list[UnitGroup]:
        return self.with_member(1, parameter="norm.scale")


class Flat(Convolutional):
    def units(self) -> list[UnitGroup]:
        return self.with_member(1, axis=1)


class Shifted(Convolutional):
    """Each channel names the way out of the next one."""

    def units(self) -> list[UnitGroup]:
        return self.with_first(
            count=5, members=(*Convolutional.units(self)[0].members[:5], UnitMember("second.weight", 1, "out", start=1))
        )


class Twice(Convolutional):
    def units(self) -> list[UnitGroup]:
        return [*Convolutional.units(self), Convolutional.units(self)[0]]


@pytest.mark.parametrize("cls", [Convolutional, Owned])
def test_channels_with_a_norm_pass(cls: type[Convolutional]) -> None:
    check_architecture(cls)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Elsewhere, "units 'first' have zeros at all their ways out, and yet the output depends on them"),
        (Shifted, "units 'first' have zeros at all their ways out"),
        (OneTooMany, "units 'first' are entries 0 to 7 of 6 in 'first.weight'"),
        (Interleaved, "entries -1 to"),
        (Overlapping, "overlap in 'first.weight'"),
        (Misnamed, "has no parameter 'norm.scale'"),
        (Flat, "'norm.weight' has no axis 1"),
        (Twice, "equal names"),
    ],
)
def test_units_that_are_wrong_are_found(cls: type[Convolutional], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_architecture(cls)


def test_masks_of_channels_remove_them_from_the_network() -> None:
    """float64: what is left computes what a network without these channels does."""
    architecture = Convolutional({}, DataSpec("classification", (1, 8, 8), 3, examples=4))  # type: ignore[arg-type]
    torch.manual_seed(0)
    network = architecture.build().double().eval()
    inputs = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    kept = {"first": torch.tensor([1, 0, 1, 1, 0, 1]).bool(), "second": torch.tensor([1, 1, 0, 1]).bool()}
    small = _Network(3, 0.0).double().eval()
    small.first, small.second, small.head = (
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.Conv2d(4, 3, 3),
        nn.Linear(3, 3),
    )
    small.norm = nn.BatchNorm2d(4).eval()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for group in architecture.units():
        for member in group.members:
            alive = kept[group.name].nonzero().flatten()
            state[member.parameter] = state[member.parameter].index_select(member.axis, alive)
    small.double().load_state_dict(state)
    masks = unit_masks(architecture.connections(), architecture.units(), kept)
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for c in architecture.connections():
            c.region(parameters[c.parameter]).masked_fill_(~masks[c.name], 0)
        torch.testing.assert_close(network(inputs), small(inputs), rtol=0, atol=1e-12)
