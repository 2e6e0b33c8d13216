"""Operations counted by running a network, and what masks would save: against counts by hand, and on real zeros."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

from harness.core.architecture import Architecture
from harness.core.connections import Band, Connection
from harness.core.data import DataSpec
from harness.results.flops import Flops, Trained, forward_flops, sparse_training_flops

IMAGES = DataSpec("classification", (1, 8, 8), 10, 100)
BANDS = [Band(str(depth), 1, depth) for depth in range(4)]
Forward = Callable[[Any, Tensor], Tensor]


class Odd(nn.Module):
    """A convolution, a matrix that is used twice, and one that is cut up, scaled and joined with another one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, stride=2)
        self.twice = nn.Parameter(torch.zeros(64, 64))
        self.cut = nn.Parameter(torch.zeros(10, 64))
        self.scale = nn.Parameter(torch.zeros(10, 1))
        self.joined = nn.Parameter(torch.zeros(6, 64))
        self.norm = nn.LayerNorm(64)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x).flatten(1))
        x = x @ self.twice @ self.twice.T
        weight = torch.cat([(self.cut * self.scale)[:4], self.joined])
        return F.linear(x, weight)


class OddArchitecture(Architecture[Any]):
    """Of the network above."""

    kinds = ("classification",)

    def build(self) -> nn.Module:
        return Odd()

    def connections(self) -> list[Connection]:
        shapes = {"conv.weight": (4, 1, 3, 3), "twice": (64, 64), "cut": (10, 64), "joined": (6, 64)}
        return [whole(name, shape) for name, shape in shapes.items()]


class Made(nn.Module):
    """Computes anything with parameters ``a``, ``b``, ... and with a buffer that is never zero."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], forward: Forward) -> None:
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))
        self.register_buffer("ones", torch.ones(8, 8))
        self.register_buffer("some", torch.ones(8, 8).tril().bool())
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


class MadeArchitecture(Architecture[Any]):
    """Of such a network, or of any."""

    kinds = ("classification",)

    def __init__(
        self, build: Callable[[], nn.Module], connections: Sequence[Connection], inputs: Sequence[int]
    ) -> None:
        super().__init__(self.Options(), DataSpec("classification", tuple(inputs), 10, 100))
        self._build, self._connections = build, connections

    def build(self) -> nn.Module:
        return self._build()

    def connections(self) -> Sequence[Connection]:
        return self._connections


def whole(name: str, shape: tuple[int, ...]) -> Connection:
    return Connection(name, name, "dense", BANDS[0], BANDS[1], shape)


def rows(name: str, parameter: str, shape: tuple[int, ...], start: int) -> Connection:
    return Connection(name, parameter, "dense", BANDS[0], BANDS[1], shape, rows=(start, start + shape[0]))


def counted(build: Callable[[], nn.Module], connections: Sequence[Connection], inputs: Sequence[int] = (8,)) -> Flops:
    architecture = MadeArchitecture(build, connections, inputs)
    return forward_flops(architecture, architecture.data)


def left(
    forward: Forward,
    densities: Mapping[str, float],
    connections: Sequence[Connection] | None = None,
    inputs: Sequence[int] = (8,),
    **shapes: tuple[int, ...],
) -> float | None:
    """Operations left of ``forward`` with parameters of these shapes; what ``densities`` does not name is whole."""
    shapes = shapes or {"a": (8, 8), "b": (8, 8)}
    connections = connections or [whole(name, shape) for name, shape in shapes.items()]
    found = counted(lambda: Made(shapes, forward), connections, inputs)
    return found.sparse(connections, {c.name: densities.get(c.name, 1.0) for c in connections})


def test_every_weight_costs_what_it_is_multiplied() -> None:
    found = forward_flops(OddArchitecture(OddArchitecture.Options(), IMAGES), IMAGES)
    assert found.total == 2 * (4 * 4 * 4 * 9 + 2 * 64 * 64 + 10 * 64)
    assert not found.joint and found.alone.keys() == {"conv.weight", "twice", "cut", "joined"}
    assert found.alone["conv.weight"] == 2 * 4 * 4
    assert found.alone["twice"] == 2 * 2
    assert found.alone["joined"] == 2
    each = found.alone["cut"]
    assert isinstance(each, Tensor) and (each[:4] == 2).all() and not each[4:].any()


def test_rounding_never_saves_more_than_all() -> None:
    connection = whole("w", (10, 10))
    assert Flops(200, {"w": 2.0000001}, []).sparse([connection], {"w": 0.0}) == 0.0


def test_masks_save_their_share() -> None:
    architecture = OddArchitecture(OddArchitecture.Options(), IMAGES)
    found = forward_flops(architecture, IMAGES)
    densities = {"conv.weight": 1.0, "twice": 0.25, "cut": 1.0, "joined": 0.5}
    saved = 0.75 * 4 * 64 * 64 + 0.5 * 2 * 6 * 64
    assert found.sparse(architecture.connections(), densities) == pytest.approx(found.total - saved)


# --- one masked matrix, a (8, 8), of which a product with the inputs is made: 128 operations -----------------


def write(net: Any, rows: int) -> Tensor:
    buffer = torch.zeros(rows, 8)
    buffer[:8] = net.a
    return buffer


def aliased(net: Any) -> Tensor:
    """Two views of one memory, which is written through the first."""
    one = net.a.clone()
    other = one.view(64)
    one.exp_()
    return other.view(8, 8)


def added(x: Tensor, weights: Tensor) -> Tensor:
    """Data to which weights have been added in a part of it."""
    x = x.abs()
    x[:, :2] += weights[:, :2]
    return x


def overwritten(net: Any) -> Tensor:
    net.a.data.add_(1)
    return net.a


ZEROS_STAY: dict[str, Callable[[Any], Tensor]] = {
    "itself": lambda net: net.a,
    "transposed": lambda net: net.a.t(),
    "data": lambda net: net.a.data,
    "w |w|": lambda net: net.a * net.a.abs(),
    "transposed copies": lambda net: (net.a.t().abs().contiguous() * net.a.t().neg()).t(),
    "mask in a buffer": lambda net: net.a * net.some,
    "mask in place": lambda net: net.a.clone().mul_(net.some),
    "mask by choice": lambda net: torch.where(net.some, net.a, 0.0),
    "added to zeros": lambda net: torch.zeros(8, 8) + net.a + torch.full_like(net.a, 0),
    "masked_fill": lambda net: net.a.masked_fill(net.some, 0.0),
    "positive power": lambda net: net.a**2,
    "clamped around 0": lambda net: net.a.clamp(-1, 1),
    "hardswish": lambda net: F.hardswish(net.a),
    "soft threshold": lambda net: net.a.sign() * (net.a.abs() - net.a.mean().sigmoid()).relu(),
    "over its norm": lambda net: net.a / net.a.norm(dim=1, keepdim=True),
    "other type": lambda net: net.a.half().float(),
    "sum of its multiples": lambda net: sum([net.a, net.a * net.ones, -net.a]),
    "written into zeros": lambda net: write(net, 8),
    "blocks put together": lambda net: torch.cat([net.a[:, 4:], net.a[:, :4]], 1) * net.ones,
    "unflattened": lambda net: (net.a.t().reshape(4, 16) ** 3).reshape(8, 8),
    "turned round": lambda net: net.a.flip(0).roll(3, 1),
    "split": lambda net: torch.stack(net.a.abs().unbind(1)),
    "three views of it": lambda net: net.a.view(2, 4, 8).permute(1, 0, 2).reshape(8, 8),
}


@pytest.mark.parametrize("make", ZEROS_STAY.values(), ids=ZEROS_STAY)
def test_where_weights_stay_zero_a_mask_saves_their_products(make: Callable[[Any], Tensor]) -> None:
    for density in (1.0, 0.25, 0.0):
        assert left(lambda net, x: x @ make(net), {"a": density}) == 128 * density


NOTHING_IS_ZERO: dict[str, Callable[[Any], Tensor]] = {
    "standardised": lambda net: (net.a - net.a.mean(1, keepdim=True)) / net.a.std(1, keepdim=True),
    "normed over channels": lambda net: F.layer_norm(net.a, (8,)),
    "plus a constant": lambda net: net.a + 1,
    "plus something whole": lambda net: net.a + net.ones,
    "plus something whole, in place": lambda net: net.a.clone().add_(net.ones),
    "exponential": lambda net: net.a.exp(),
    "to the power 0": lambda net: net.a**0,
    "clamped above 0": lambda net: net.a.clamp(min=0.5),
    "softmax": lambda net: net.a.softmax(1),
    "under the line": lambda net: net.ones / net.a,
    "only its shape": lambda net: torch.ones_like(net.a),
    "plus a whole parameter": lambda net: net.a + net.b,
    "plus one, in its own memory": overwritten,
    "plus what was zeros": lambda net: net.a + torch.zeros(8, 8).add_(net.ones),
}


@pytest.mark.parametrize("make", NOTHING_IS_ZERO.values(), ids=NOTHING_IS_ZERO)
def test_where_masks_leave_no_zeros_nothing_is_saved(make: Callable[[Any], Tensor]) -> None:
    assert left(lambda net, x: x @ make(net), {"a": 0.1}) == 128


NOT_KNOWN: dict[str, Callable[[Any], Tensor]] = {
    "unlisted": lambda net: torch.matrix_exp(net.a),
    "view of the unlisted": lambda net: torch.matrix_exp(net.a).t().abs(),
    "sorted": lambda net: net.a.sort(1).values,
    "chosen": lambda net: torch.where(net.some, net.a, net.ones),
    "times its transposed": lambda net: net.a * net.a.t(),
    "half of it": lambda net: net.a[:4].repeat(2, 1),
    "a triangle": lambda net: net.a.tril(),
    "written into a part": lambda net: write(net, 9)[:8],
    "written elsewhere": aliased,
    "bits": lambda net: net.a.view(torch.int16)[:, ::2].float(),
    "bits of a copy": lambda net: net.a.abs().view(torch.int16)[:, ::2].float(),
    "one diagonal after another": lambda net: net.a.view(64)[:15].unfold(0, 8, 1),
    "by strides": lambda net: net.a.t().clone(memory_format=torch.contiguous_format).as_strided((8, 8), (8, 1)),
    "sum over one": lambda net: net.a[None].sum(0),
}


@pytest.mark.parametrize("make", NOT_KNOWN.values(), ids=NOT_KNOWN)
def test_what_cannot_be_known_is_none_and_only_if_masked(make: Callable[[Any], Tensor]) -> None:
    assert left(lambda net, x: x @ make(net), {"a": 0.5}) is None
    assert left(lambda net, x: x @ make(net), {"b": 0.5}) == 128


def test_one_row_seen_in_two_ways() -> None:
    found = left(lambda net, x: F.linear(x, net.a * net.a.view(8, 1).t()), {"a": 0.25}, a=(1, 8))
    assert found == 16 * 0.25


def test_views_need_no_memory() -> None:
    """Numbers for all of these weights would take 8 TiB."""
    side = 2**20
    found = left(lambda net, x: F.linear(x, net.a.t().abs().t() * net.a), {"a": 0.25}, inputs=(side,), a=(side, side))
    assert found == 2 * side**2 * 0.25


# --- several masked factors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "one", "other", "both"),
    [
        pytest.param(lambda net: net.a * net.b, 64, 32, None, id="product, entry by entry"),
        pytest.param(lambda net: net.a + net.b, 128, 128, None, id="sum"),
        pytest.param(lambda net: net.a * (net.b + net.ones), 64, 128, 64, id="product with a sum"),
        pytest.param(lambda net: net.a * net.b + net.a, 64, 128, 64, id="sum with a common factor"),
        pytest.param(lambda net: net.a * net.b + net.a**2 * net.ones, 64, 128, 64, id="the same, scaled"),
        pytest.param(lambda net: torch.maximum(net.a, net.b), None, None, None, id="the larger"),
        pytest.param(lambda net: F.layer_norm(net.a, (8,), net.b[0]), None, None, None, id="normed and scaled"),
        pytest.param(lambda net: torch.cat([net.a[:4], net.b[:4]]), None, None, None, id="halves"),
        pytest.param(lambda net: torch.cat([net.a, net.b])[8:], 128, 32, 32, id="cut off again"),
        pytest.param(lambda net: torch.cat([net.a, net.b])[:8], 64, 128, 64, id="cut off at the end"),
    ],
)
def test_of_two_factors(make: Callable[[Any], Tensor], one: float, other: float, both: float | None) -> None:
    """``a`` at density 0.5, ``b`` at 0.25, of 128 operations."""
    found = [left(lambda net, x: x @ make(net), d) for d in ({"a": 0.5}, {"b": 0.25}, {"a": 0.5, "b": 0.25})]
    assert found == [one, other, both]


def test_low_rank_matrices_are_multiplied_first() -> None:
    shapes = {"u": (8, 2), "v": (2, 6), "s": (8, 6)}

    def low_rank(net: Any, x: Tensor) -> Tensor:
        return x @ (net.u @ net.v)

    made, used = 2 * 8 * 2 * 6, 2 * 8 * 6
    assert left(low_rank, {"u": 0.25}, **shapes) == made * 0.25 + used
    assert left(low_rank, {"v": 0.5}, **shapes) == made * 0.5 + used
    assert left(low_rank, {"u": 0.25, "v": 0.5}, **shapes) is None

    def sum_of_both(net: Any, x: Tensor) -> Tensor:
        return x @ (net.s + net.u @ net.v)

    assert left(sum_of_both, {"s": 0.1}, **shapes) == made + used
    assert left(sum_of_both, {"s": 0.1, "u": 0.25}, **shapes) == made * 0.25 + used

    def one_after_another(net: Any, x: Tensor) -> Tensor:
        return x @ net.u @ net.v

    assert left(one_after_another, {"u": 0.25, "v": 0.5}, **shapes) == 2 * 8 * 2 * 0.25 + 2 * 2 * 6 * 0.5


def test_a_matrix_times_itself_has_two_factors() -> None:
    assert left(lambda net, x: net.a @ net.a, {}) == 2 * 8**3
    assert left(lambda net, x: net.a @ net.a, {"a": 0.5}) is None


def test_units_of_data_that_a_mask_closes() -> None:
    gates = {"gate": (1, 8), "a": (8, 4)}
    assert left(lambda net, x: (x * net.gate) @ net.a, {"gate": 0.25}, **gates) == 64 * 0.25
    assert left(lambda net, x: (x * net.gate) @ net.a, {"a": 0.5}, **gates) == 64 * 0.5
    assert left(lambda net, x: (x * net.gate) @ net.a, {"gate": 0.25, "a": 0.5}, **gates) is None
    assert left(lambda net, x: (x + net.gate) @ net.a, {"gate": 0.25, "a": 0.5}, **gates) == 64 * 0.5
    assert left(lambda net, x: torch.matmul(x * net.gate, net.gate.t()), {"gate": 0.5}, **gates) is None
    assert left(lambda net, x: added(x, net.gate) @ net.a, {"gate": 0.25, "a": 0.5}, **gates) == 64 * 0.5
    assert left(lambda net, x: torch.maximum(x, net.gate) @ net.a, {"gate": 0.25, "a": 0.5}, **gates) == 64 * 0.5

    def renormed(net: Any, x: Tensor) -> Tensor:
        F.embedding((x > 0).long(), net.a, max_norm=1.0)
        return x @ net.a

    assert left(renormed, {"a": 0.5}) is None  # it would leave zeros, but who knows
    looked_up = left(
        lambda net, x: F.embedding((x > 0).long(), net.a).flatten(1) @ net.b, {"a": 0.5}, a=(8, 2), b=(16, 3)
    )
    assert looked_up == 2 * 16 * 3  # what data chooses is data


# --- what architectures do ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("densities", "expected"),
    [({"v": 0.25}, 96 * 0.25), ({"g": 0.5}, 96 * 0.5), ({"v": 0.25, "g": 0.5}, None)],
    ids=["direction", "length", "both"],
)
def test_weight_norm(densities: dict[str, float], expected: float | None) -> None:
    def build() -> nn.Module:
        return parametrizations.weight_norm(nn.Linear(8, 6))

    names = {"g": ("parametrizations.weight.original0", (6, 1)), "v": ("parametrizations.weight.original1", (6, 8))}
    connections = [
        Connection(short, name, "dense", BANDS[0], BANDS[1], shape) for short, (name, shape) in names.items()
    ]
    found = counted(build, connections)
    assert found.total == 96
    assert found.sparse(connections, {"v": 1.0, "g": 1.0, **densities}) == expected


def test_spectral_norm() -> None:
    connections = [whole("parametrizations.weight.original", (6, 8))]
    found = counted(lambda: parametrizations.spectral_norm(nn.Linear(8, 6)), connections)
    assert found.sparse(connections, {connections[0].name: 0.25}) == found.total * 0.25


def test_biases_cost_nothing() -> None:
    """Rows of one parameter: four of weights, one of biases."""
    connections = [rows("weight", "a", (4, 8), 0), rows("bias", "a", (1, 8), 4)]

    def forward(net: Any, x: Tensor) -> Tensor:
        return F.linear(x, net.a[:4], net.a[4, :4]) + torch.addmm(net.a[4:, :4], x, net.a[:4].t())

    assert left(forward, {"bias": 0.1}, connections, a=(5, 8)) == 128
    assert left(forward, {"weight": 0.25, "bias": 0.1}, connections, a=(5, 8)) == 32

    def convolved(net: Any, x: Tensor) -> Tensor:
        return F.conv1d(x.view(1, 2, 4), net.a[:4].view(4, 2, 4), net.a[4, :4])

    assert left(convolved, {"weight": 0.25, "bias": 0.1}, connections, a=(5, 8)) == 2 * 32 * 0.25


def test_parts_of_one_parameter_cost_what_each_is_used() -> None:
    parts = [rows("once", "a", (4, 8), 0), rows("twice", "a", (4, 8), 4)]

    def unequal(net: Any, x: Tensor) -> Tensor:
        return F.linear(x, net.a) + F.linear(x, net.a[4:]).repeat(1, 2)

    assert left(unequal, {}, parts, a=(8, 8)) == 128 + 64
    assert left(unequal, {"once": 0.5}, parts, a=(8, 8)) == 128 + 64 - 32
    assert left(unequal, {"twice": 0.25}, parts, a=(8, 8)) == 128 + 64 - 2 * 64 * 0.75
    # As one connection it matters where its zeros are; but not if all or none are, or if all are used equally.
    assert left(unequal, {"a": 0.5}, a=(8, 8)) is None
    assert left(unequal, {"a": 0.0}, a=(8, 8)) == 0
    assert left(unequal, {"a": 1.0}, a=(8, 8)) == 128 + 64
    assert left(lambda net, x: F.linear(x, net.a[:4]) + F.linear(x, net.a[4:]), {"a": 0.5}, a=(8, 8)) == 64


def test_columns_kept_in_the_other_order() -> None:
    """Two connections on the columns of an (in, out) parameter whose rows are read from the middle on."""
    first = Connection("first", "a", "dense", BANDS[0], BANDS[1], (2, 8), rows=(0, 2), out_axis=1, in_axis=0)
    last = Connection("last", "a", "dense", BANDS[0], BANDS[1], (3, 4), (2, 5), (4, 8), out_axis=1, in_axis=0)

    def forward(net: Any, x: Tensor) -> Tensor:
        return x[:, 4:] @ net.a[4:]

    assert left(forward, {"last": 0.5}, [first, last], a=(8, 5)) == 2 * 4 * 5 - 12
    assert left(forward, {"first": 0.5}, [first, last], a=(8, 5)) is None
    assert left(lambda net, x: x @ net.a.abs(), {"first": 0.5, "last": 0.5}, [first, last], a=(8, 5)) == 80 - 16 - 12


def test_joined_weights_have_their_shares() -> None:
    shapes = {"a": (6, 8), "b": (2, 8), "c": (8, 8)}

    def joined(net: Any, x: Tensor) -> Tensor:
        return F.linear(x, torch.cat([net.a.abs(), net.b, net.ones]))

    assert left(joined, {"a": 0.5, "b": 0.25}, **shapes) == 2 * (6 * 8 * 0.5 + 2 * 8 * 0.25 + 64)

    padded = left(lambda net, x: F.linear(x, F.pad(net.a, (0, 0, 0, 2), value=3.0)), {"a": 0.5}, **shapes)
    assert padded == 2 * (6 * 8 * 0.5 + 2 * 8)

    def scaled(net: Any, x: Tensor) -> Tensor:
        return F.linear(x, torch.cat([net.a, net.b]) * net.c)

    assert left(scaled, {"a": 0.5, "b": 0.25}, **shapes) == 2 * (6 * 8 * 0.5 + 2 * 8 * 0.25)
    assert left(scaled, {"c": 0.5}, **shapes) == 64
    assert left(scaled, {"a": 0.5, "c": 0.5}, **shapes) is None


def test_weights_used_again_cost_again() -> None:
    assert left(lambda net, x: x @ net.a @ net.a.t(), {"a": 0.25}) == 2 * 128 * 0.25
    stacked = left(lambda net, x: torch.bmm(x.expand(3, 1, 8), net.a.expand(3, 8, 8)), {"a": 0.25})
    assert stacked == 3 * 128 * 0.25
    spread = left(lambda net, x: torch.matmul(x.expand(2, 3, 1, 8), net.a.view(2, 1, 4, 8).mT), {"a": 0.25})
    assert spread == 2 * 2 * 3 * 8 * 4 * 0.25


def test_parts_used_again_cost_again() -> None:
    parts = [rows("once", "a", (4, 8), 0), rows("thrice", "a", (4, 8), 4)]

    def forward(net: Any, x: Tensor) -> Tensor:
        return F.linear(x, net.a[:4]) + torch.bmm(x.expand(3, 1, 8), net.a[4:].t().expand(3, 8, 4)).sum(0)

    assert left(forward, {"once": 0.5, "thrice": 0.25}, parts, a=(8, 8)) == 64 * 0.5 + 3 * 64 * 0.25


def test_two_parameters_of_one_memory() -> None:
    def build() -> nn.Module:
        net = Made({}, lambda net, x: x @ net.b)
        memory = torch.randn(12, 8)
        net.a, net.b = nn.Parameter(memory[:4]), nn.Parameter(memory[4:])
        return net

    connections = [whole("a", (4, 8)), whole("b", (8, 8))]
    found = counted(build, connections)
    assert [found.sparse(connections, {"a": 1.0, "b": 1.0} | one) for one in ({"a": 0.5}, {"b": 0.5})] == [128, 64]


@pytest.mark.parametrize(
    ("make", "shape", "flops"),
    [
        pytest.param(lambda w, x: F.conv1d(x, w), (6, 4, 3), 2 * 72 * 8, id="plain"),
        pytest.param(lambda w, x: F.conv1d(x, w, stride=2, padding=1, dilation=2), (6, 4, 3), 2 * 72 * 4, id="strided"),
        pytest.param(lambda w, x: F.conv1d(x, w, groups=2), (6, 2, 3), 2 * 36 * 8, id="grouped"),
        pytest.param(lambda w, x: F.conv1d(x, w, groups=4), (4, 1, 3), 2 * 12 * 8, id="depthwise"),
        pytest.param(lambda w, x: F.conv_transpose1d(x, w), (4, 6, 3), 2 * 72 * 10, id="transposed"),
        pytest.param(lambda w, x: F.conv1d(x, w * w.abs().flip(2).flip(2)), (6, 4, 3), 2 * 72 * 8, id="w |w|"),
    ],
)
def test_convolutions(make: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...], flops: int) -> None:
    assert left(lambda net, x: make(net.a, x), {}, inputs=(4, 10), a=shape) == flops
    assert left(lambda net, x: make(net.a, x), {"a": 0.25}, inputs=(4, 10), a=shape) == flops * 0.25


def test_what_a_convolution_reads_is_used_unequally() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        return F.conv1d(x * net.gate, net.a)

    shapes = {"gate": (4, 10), "a": (6, 4, 3)}
    assert left(forward, {"a": 0.25}, inputs=(4, 10), **shapes) == 2 * 72 * 8 * 0.25
    assert left(forward, {"gate": 0.5}, inputs=(4, 10), **shapes) is None


def test_attention_is_counted_in_full() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x @ net.a, x, x @ net.b, attn_mask=net.bias)

    connections = [
        whole("a", (8, 8)),
        whole("b", (8, 8)),
        Connection("bias", "bias", "attention", BANDS[0], BANDS[1], (4, 4), kind="attention"),
    ]
    shapes = {"a": (8, 8), "b": (8, 8), "bias": (4, 4)}
    layers, attention = 4 * 128, 2 * 2 * 4 * 4 * 8
    found = left(forward, {"a": 0.5, "b": 0.25, "bias": 0.1}, connections, (4, 8), **shapes)
    assert found == 2 * layers + attention - 0.5 * layers - 0.75 * layers

    assert left(lambda net, x: x @ net.bias, {"bias": 0.1}, connections[2:], (4,), **shapes) == 2 * 4 * 4

    def asked(net: Any, x: Tensor) -> Tensor:
        heads = x.view(1, 1, 4, 8)
        mixed: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(
            net.a.view(1, 1, 8, 8)[:, :, :4], heads, heads
        )[0]
        return mixed

    assert left(asked, {"b": 0.5}, inputs=(4, 8)) == attention
    assert left(asked, {"a": 0.5}, inputs=(4, 8)) is None


# --- on real zeros ------------------------------------------------------------------------------------------


class Naive(TorchDispatchMode):
    """Counts the products of matrices in which both numbers are not zero."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._overloadpacket in (torch.ops.aten.mm, torch.ops.aten.bmm):
            self.products += 2 * int(((args[0] != 0).double() @ (args[1] != 0).double()).sum())
        return func(*args, **(kwargs or {}))


KEEPING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "transpose": lambda one, other: one.mT,
    "negate": lambda one, other: -one,
    "square": lambda one, other: one.square(),
    "tanh": lambda one, other: torch.tanh(one),
    "multiply": lambda one, other: one * other,
    "multiply in place": lambda one, other: one.clone().mul_(other),
    "divide": lambda one, other: one / (1 + other.abs()),
    "divide by the norm": lambda one, other: one / (1 + other.norm()),
    "shift": lambda one, other: one.roll(1, 0),
    "reshape": lambda one, other: one.mT.reshape(2, 8).mT.reshape(4, 4),
    "join": lambda one, other: torch.cat([one, other]),
    "join and cut": lambda one, other: torch.cat([one, other], 1)[:, 2:6],
    "repeat rows": lambda one, other: one[:2].repeat(2, 1),
    "mix rows": lambda one, other: torch.stack([one[0], other[1], one[2], other[3]]),
    "spread": lambda one, other: one[:, :1].expand(4, 4) * one,
    "write": lambda one, other: torch.zeros_like(one).copy_(one),
    "same": lambda one, other: one + one.abs() * one.sign(),
}
MIXING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda one, other: one + other,
    "centre": lambda one, other: one - one.mean(),
    "softmax": lambda one, other: one.softmax(0),
    "exp": lambda one, other: torch.exp(-one.abs()),
    "multiply": lambda one, other: one @ other,
    "sort": lambda one, other: one.sort(0).values,
    "larger": lambda one, other: torch.maximum(one, other),
    "write a part": lambda one, other: torch.ones_like(one).index_copy(0, torch.tensor([0, 1]), one[:2]),
    "triangle": lambda one, other: one.tril(),
    "choose": lambda one, other: torch.where(one.abs() > 1, one, other),
    "attend": lambda one, other: F.scaled_dot_product_attention(one[None], other[None], one[None])[0],
}
STEPS = st.tuples(st.integers(0, 9), st.integers(0, 9))


def program(steps: Sequence[tuple[Callable[[Tensor, Tensor], Tensor], tuple[int, int]]], uses: int) -> Forward:
    """Makes (4, 4) matrices of earlier ones, step by step, and multiplies data with the last few of them."""

    def forward(net: Any, x: Tensor) -> Tensor:
        made = [net.a, net.b, net.c.view(4, 4), net.fused[:4], net.fused[4:], net.ones[:4, :4]]
        for step, (one, other) in steps:
            made.append(step(made[-1 - one % len(made)], made[-1 - other % len(made)]))
            if made[-1].shape == (8, 4):
                made[-1:] = [made[-1][:4], made[-1][4:]]
        return torch.stack([x @ matrix.to(x.dtype) for matrix in made[-uses:]])

    return forward


def compared(forward: Forward, kept: Mapping[str, int], seed: int) -> tuple[float | None, int, int]:
    """What is said to be left of ``forward``, what is, and the total; ``kept``: weights by connection."""
    shapes = {"a": (4, 4), "b": (4, 4), "c": (16, 1), "fused": (8, 4)}
    connections = [whole(name, shapes[name]) for name in "abc"]
    connections += [rows("up", "fused", (4, 4), 0), rows("down", "fused", (4, 4), 4)]
    found = counted(lambda: Made(shapes, forward), connections, (4,))
    densities = {c.name: kept[c.name] / prod(c.shape) for c in connections}
    generator = torch.Generator().manual_seed(seed)
    net = Made(shapes, forward).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(1 + torch.rand(parameter.shape, generator=generator))
        net.ones += torch.rand(8, 8, generator=generator)
        for c in connections:
            mask = torch.randperm(16, generator=generator).view(c.shape) < kept[c.name]
            c.region(net.get_parameter(c.parameter)).mul_(mask)
        with Naive() as naive:
            net(torch.ones(1, 4, dtype=torch.float64))
    return found.sparse(connections, densities), naive.products, found.total


KEPT = st.fixed_dictionaries(dict.fromkeys(("a", "b", "c", "up", "down"), st.sampled_from([0, 3, 8, 15, 16, 16, 16])))


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(KEEPING)), STEPS), max_size=6),
    st.integers(1, 4),
    KEPT,
    st.integers(0, 2**32),
)
def test_what_keeps_zeros_is_counted_exactly_or_not_at_all(
    steps: list[tuple[str, tuple[int, int]]], uses: int, kept: dict[str, int], seed: int
) -> None:
    found, really, total = compared(program([(KEEPING[name], at) for name, at in steps], uses), kept, seed)
    assert found is None or found == pytest.approx(really, abs=1e-9)
    if set(kept.values()) == {16}:
        assert found == total


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(KEEPING.keys() | MIXING.keys())), STEPS), max_size=6),
    st.integers(1, 4),
    KEPT,
    st.integers(0, 2**32),
)
def test_never_less_than_is_really_left_and_never_more_than_all(
    steps: list[tuple[str, tuple[int, int]]], uses: int, kept: dict[str, int], seed: int
) -> None:
    found, really, total = compared(program([((MIXING | KEEPING)[name], at) for name, at in steps], uses), kept, seed)
    assert found is None or really - 1e-9 <= found <= total
    if set(kept.values()) == {16}:
        assert found == total


# --- whole programs -----------------------------------------------------------------------------------------

LAYER = whole("layer", (10, 10))
FORWARD = Flops(300, {"layer": 2.0}, [])  # 100 operations that no mask touches


@pytest.mark.parametrize(
    ("soft", "dense_gradient_share", "each"),
    [
        pytest.param(False, 0.0, 3 * 150, id="masks that stand: 3 f_S"),
        pytest.param(False, 1.0, 2 * 150 + 300, id="gradients of all weights: 2 f_S + f_D"),
        pytest.param(False, 1 / 100, (99 * 3 * 150 + 2 * 150 + 300) / 100, id="RigL, every 99 steps"),
        pytest.param(True, 0.0, 3 * 300, id="soft masks: 3 f_D"),
    ],
)
def test_training_by_rigls_accounting(soft: bool, dense_gradient_share: float, each: float) -> None:
    phase = Trained(40, {"layer": 0.25}, soft, dense_gradient_share)
    assert sparse_training_flops(FORWARD, [LAYER], [phase]) == pytest.approx(40 * each)


def test_a_program_is_the_sum_of_its_phases() -> None:
    phases = [Trained(40, {"layer": 1.0}, False, 0.0), Trained(10, {"layer": 0.5}, False, 0.0)]
    assert sparse_training_flops(FORWARD, [LAYER], phases) == 3 * (40 * 300 + 10 * 200)


def test_a_program_with_a_phase_that_is_not_known_is_not_known() -> None:
    forward = Flops(300, {"layer": torch.eye(10)}, [])  # a diagonal of a matrix: it matters where the zeros are
    known, unknown = Trained(40, {"layer": 1.0}, False, 0.0), Trained(10, {"layer": 0.5}, False, 0.0)
    assert sparse_training_flops(forward, [LAYER], [known]) == 3 * 40 * 300
    assert sparse_training_flops(forward, [LAYER], [known, unknown]) is None
    assert sparse_training_flops(forward, [LAYER], [known, unknown._replace(examples=0)]) == 3 * 40 * 300
    assert sparse_training_flops(forward, [LAYER], [known, unknown._replace(soft=True)]) == 3 * 50 * 300
