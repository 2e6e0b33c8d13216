"""Effective weights: equal to an enumeration of paths, on networks small enough for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from harness.core.data import DataSpec
from harness.errors import Unsupported
from harness.results import effective as module_under_test
from harness.results.effective import effective

Node = tuple[int, ...]
Weight = tuple[str, Node]
Graph = Mapping[Node, list[tuple[Node, Weight]]]
"""A unit -> the units that read it, each with the weight (parameter, index) in between; depth comes first."""

POINTS = DataSpec("classification", (4,), 3, 10)
IMAGES = DataSpec("classification", (1, 5, 5), 3, 10)
SHARES = (0.05, 0.15, 0.3, 0.6)


def paths(graph: Graph, node: Node, depth: int) -> Iterator[list[Weight]]:
    """All paths from a unit to the outputs, which are at ``depth``, as their weights."""
    if node[0] == depth:
        yield []
    for reader, weight in graph.get(node, ()):
        for rest in paths(graph, reader, depth):
            yield [weight, *rest]


def on_paths(graph: Graph, depth: int) -> set[Weight]:
    """Weights on any path from an input, which are at depth 0, to an output."""
    return {weight for node in graph if node[0] == 0 for path in paths(graph, node, depth) for weight in path}


def found(module: nn.Module, spec: DataSpec, kept: Mapping[str, Tensor]) -> set[Weight]:
    flags = effective(module, spec, kept).weights
    return {(name, tuple(index)) for name, mask in flags.items() for index in mask.nonzero().tolist()}


def masks(module: nn.Module, share: float, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    named = {name: p for name, p in module.named_parameters() if name.endswith("weight") and p.ndim > 1}
    return {name: torch.rand(p.shape, generator=generator) < share for name, p in named.items()}


class Skips(nn.Module):
    """Every band of two hidden ones feeds all later ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(4, 3), nn.Linear(7, 3), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, self.first(x).relu()], 1)
        return self.out(torch.cat([x, self.second(x).relu()], 1))


class Convolutions(nn.Module):
    """5 x 5 to 3 x 3 by strides, batch norms, to 3 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(1, 2, 3, 2, 1), nn.BatchNorm2d(2)
        self.two, self.out = nn.Conv2d(2, 2, 3, 1, 1), nn.Linear(18, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.two(self.norm(self.one(x)).relu()).relu().flatten(1))


def perceptron(depth: int = 4) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(4, 3 if i == depth - 1 else 4), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def linear_graph(kept: Mapping[str, Tensor]) -> Graph:
    graph: dict[Node, list[tuple[Node, Weight]]] = {}
    for depth, (name, mask) in enumerate(kept.items()):
        for out, source in mask.nonzero().tolist():
            graph.setdefault((depth, source), []).append(((depth + 1, out), (name, (out, source))))
    return graph


def skip_graph(kept: Mapping[str, Tensor]) -> Graph:
    graph: dict[Node, list[tuple[Node, Weight]]] = {}
    starts = (0, 4, 7)
    for depth, (name, mask) in enumerate(kept.items()):
        for out, column in mask.nonzero().tolist():
            band = max(b for b in range(3) if starts[b] <= column)
            node = (band, column - starts[band])
            graph.setdefault(node, []).append(((depth + 1, out), (name, (out, column))))
    return graph


def convolution_graph(kept: Mapping[str, Tensor]) -> Graph:
    graph: dict[Node, list[tuple[Node, Weight]]] = {}
    for depth, (name, side, stride) in enumerate((("one.weight", 5, 2), ("two.weight", 3, 1))):
        for out, source, row, column in kept[name].nonzero().tolist():
            for y in range(3):
                for x in range(3):
                    at = y * stride + row - 1, x * stride + column - 1
                    if all(0 <= place < side for place in at):
                        reader = ((depth + 1, out, y, x), (name, (out, source, row, column)))
                        graph.setdefault((depth, source, *at), []).append(reader)
    for out, column in kept["out.weight"].nonzero().tolist():
        source = (2, column // 9, column % 9 // 3, column % 3)
        graph.setdefault(source, []).append(((3, out), ("out.weight", (out, column))))
    return graph


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SHARES), st.integers(0, 10**6))
def test_effective_weights_of_a_perceptron_are_those_on_paths(share: float, seed: int) -> None:
    module = perceptron()
    kept = masks(module, share, seed)
    assert found(module, POINTS, kept) == on_paths(linear_graph(kept), 4)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SHARES), st.integers(0, 10**6))
def test_effective_weights_of_skipping_bands_are_those_on_paths(share: float, seed: int) -> None:
    module = Skips()
    kept = masks(module, share, seed)
    assert found(module, POINTS, kept) == on_paths(skip_graph(kept), 3)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SHARES), st.integers(0, 10**6))
def test_effective_weights_of_convolutions_are_those_on_paths(share: float, seed: int) -> None:
    module = Convolutions()
    kept = masks(module, share, seed)
    assert found(module, IMAGES, kept) == on_paths(convolution_graph(kept), 3)


def test_a_path_through_thirty_relus_is_found() -> None:
    """With signs alone a draw would find it once in 2^29."""
    module = perceptron(30)
    kept = {name: torch.zeros_like(mask) for name, mask in masks(module, 0, 0).items()}
    for mask in kept.values():
        mask[1, 1] = True
    assert len(found(module, POINTS, kept)) == 30
    kept["30.weight"][1, 1] = False
    assert found(module, POINTS, kept) == set()
    assert not effective(module, POINTS, kept).depends


@pytest.mark.parametrize("depth", [2, 100])
def test_nothing_over_or_underflows(depth: int) -> None:
    module = nn.Sequential(*(layer for _ in range(depth) for layer in (nn.Linear(50, 50), nn.ReLU())))
    kept = masks(module, 0.1, 0)
    spec = DataSpec("classification", (50,), 50, 10)
    kept["0.weight"][:, :25] = False
    kept[f"{2 * depth - 2}.weight"][25:] = False
    flags = effective(module, spec, kept).weights
    reached, leads = [torch.ones(50, dtype=torch.bool)], [torch.ones(50, dtype=torch.bool)]
    for mask in kept.values():
        reached.append(mask[:, reached[-1]].any(1))
    for mask in reversed(kept.values()):
        leads.append(mask[leads[-1]].any(0))
    for (name, mask), source, target in zip(kept.items(), reached, reversed(leads[:-1]), strict=False):
        assert torch.equal(flags[name], mask & source & target[:, None])
    assert flags["0.weight"].any()


def test_weights_that_only_carry_a_bias_are_not_effective() -> None:
    module = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 3))
    kept = {"0.weight": torch.tensor([[True] * 4, [False] * 4]), "2.weight": torch.ones(3, 2, dtype=torch.bool)}
    flags = effective(module, POINTS, kept).weights
    assert flags["2.weight"].tolist() == [[True, False]] * 3


def test_a_network_that_subtracts_is_seen_with_signs() -> None:
    class Inhibited(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 4))

        def forward(self, x: Tensor) -> Tensor:
            return (-F.linear(x, self.weight)).relu()

    everything = {"weight": torch.ones(3, 4, dtype=torch.bool)}
    assert effective(Inhibited(), POINTS, everything).weights["weight"].all()


def test_every_row_of_an_embedding_counts_though_few_tokens_are_drawn() -> None:
    module = nn.Sequential(nn.Embedding(1000, 6), nn.Linear(6, 1000))
    kept = masks(module, 0.5, 0)
    kept["1.weight"][:, 2] = False
    spec = DataSpec("language", (3,), 1000, 10, 3)
    found = effective(module, spec, kept)
    assert found.depends
    expected = kept["0.weight"].clone()
    expected[:, 2] = False
    assert torch.equal(found.weights["0.weight"], expected)


def test_a_query_without_keys_takes_them_along() -> None:
    """Scores of attention are products: where the queries are zero, no key can change them."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(9, 4)
            self.qkv, self.out = nn.Linear(4, 12), nn.Linear(4, 9)

        def forward(self, tokens: Tensor) -> Tensor:
            q, k, v = self.qkv(self.embedding(tokens)).chunk(3, -1)
            return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True))

    kept = {"qkv.weight": torch.ones(12, 4, dtype=torch.bool)}
    spec = DataSpec("language", (5,), 9, 10, 5)
    assert effective(Attention(), spec, kept).weights["qkv.weight"].all()
    kept["qkv.weight"][:4] = False
    flags = effective(Attention(), spec, kept).weights["qkv.weight"]
    assert flags.any(1).tolist() == [False] * 8 + [True] * 4


def test_neither_the_network_nor_random_state_is_touched() -> None:
    module = Convolutions().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = torch.get_rng_state()
    effective(module, IMAGES, masks(module, 0.3, 0))
    assert torch.equal(torch.get_rng_state(), state)
    assert module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in module.parameters())


def test_draws_end_when_they_can_find_nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[bool] = []
    draw = module_under_test._draw_weights

    def counted(*args: object) -> None:
        drawn.append(bool(args[3]))
        draw(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module_under_test, "_draw_weights", counted)
    module = perceptron()
    everything = {name: torch.ones_like(mask) for name, mask in masks(module, 1, 0).items()}
    effective(module, POINTS, everything)
    assert drawn == [True]
    everything["0.weight"] = torch.zeros_like(everything["0.weight"])
    effective(module, POINTS, everything)
    assert drawn[1:] == [True, False] * 4


def test_a_network_that_insists_on_single_precision_is_not_known() -> None:
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.float())

    with pytest.raises(Unsupported, match="Single cannot compute in float64"):
        effective(Single(), POINTS, {})


def test_a_network_that_finds_no_memory_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(module_under_test, "_drawn", full)
    with pytest.raises(Unsupported, match="out of memory"):
        effective(perceptron(), POINTS, {})


def test_errors_of_the_network_are_not_hidden() -> None:
    class Wrong(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        effective(Wrong(4, 3), POINTS, {})
