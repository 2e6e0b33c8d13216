from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from harness import DataSpec, Unsupported
from harness_architectures.scaling import parameter_count
from harness_architectures.skip_mlp import SkipMlp, SkipMlpOptions

torch.set_num_threads(1)
DATA = DataSpec("classification", (2, 3), 4, examples=10)
MNIST = DataSpec("classification", (1, 28, 28), 10, examples=60_000)
CIFAR = DataSpec("classification", (3, 32, 32), 10, examples=50_000)


def make(data: DataSpec = DATA, **options: object) -> SkipMlp:
    return SkipMlp(SkipMlpOptions(**options), data)


def build(architecture: SkipMlp, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return architecture.build()


def reference(architecture: SkipMlp, network: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Sums over pairs of bands, each with its own product."""
    parameters = dict(network.named_parameters())
    units = {"input": inputs.flatten(1)}
    connections = architecture.connections()
    for target in dict.fromkeys(c.target for c in connections):
        total = parameters.get(f"layers.{target.name}.bias", torch.zeros(())).expand(len(inputs), target.size)
        for c in connections:
            if c.target == target:
                total = total + torch.einsum("bs,ts->bt", units[c.source.name], c.region(parameters[c.parameter]))
        units[target.name] = total if target.name == "output" else total.clamp_min(0)
    return units["output"]


@pytest.mark.parametrize(("data", "hidden", "expected"), [(MNIST, [48] * 4, 174_112), (CIFAR, [128] * 4, 1_707_008)])
def test_published_numbers_of_connections(data: DataSpec, hidden: list[int], expected: int) -> None:
    architecture = make(data, hidden=hidden)
    assert sum(c.size for c in architecture.connections()) == expected
    assert parameter_count(architecture) == expected + sum(hidden) + 10
    assert parameter_count(make(data, hidden=hidden, bias=False)) == expected


def test_default_hidden_bands() -> None:
    assert sum(c.size for c in make(MNIST).connections()) == 174_112


@pytest.mark.parametrize("hidden", [[5], [5, 3], [4, 7, 2]])
@pytest.mark.parametrize("bias", [True, False])
def test_logits_and_gradients_equal_a_reference_per_pair_of_bands(hidden: list[int], bias: bool) -> None:
    architecture = make(hidden=hidden, bias=bias)
    network = build(architecture).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    inputs, targets = torch.randn(9, 2, 3, dtype=torch.float64), torch.randint(0, 4, (9,))
    expected = reference(architecture, network, inputs)
    torch.testing.assert_close(network(inputs), expected, rtol=1e-12, atol=1e-12)
    loss = (expected.exp().sum(1).log() - expected[torch.arange(9), targets]).mean()
    wanted = torch.autograd.grad(loss, list(network.parameters()))
    ours = network(inputs, targets)
    assert ours.item() == pytest.approx(loss.item(), rel=1e-12)
    ours.backward()
    for parameter, gradient in zip(network.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-12)


def test_logits_by_hand() -> None:
    network = build(make(DataSpec("classification", (1,), 1, 1), hidden=[1, 1]))
    with torch.no_grad():
        network.layers["hidden1"].weight.copy_(torch.tensor([[2.0]]))
        network.layers["hidden2"].weight.copy_(torch.tensor([[1.0, -1.0]]))
        network.layers["output"].weight.copy_(torch.tensor([[10.0, 100.0, 1000.0]]))
        network.layers["hidden2"].bias.fill_(5.0)
    # x = 1: hidden1 2, hidden2 relu(1 - 2 + 5) = 4; x = -3: hidden1 0, hidden2 relu(-3 - 0 + 5) = 2
    assert network(torch.tensor([[1.0], [-3.0]])).tolist() == [[4210.0], [1970.0]]


def test_every_earlier_band_feeds_every_later_one() -> None:
    connections = make(hidden=[5, 3]).connections()
    assert [(c.name, c.role, c.columns) for c in connections] == [
        ("hidden1.from_input", "dense", (0, 6)),
        ("hidden2.from_input", "skip", (0, 6)),
        ("hidden2.from_hidden1", "dense", (6, 11)),
        ("output.from_input", "classifier", (0, 6)),
        ("output.from_hidden1", "classifier", (6, 11)),
        ("output.from_hidden2", "classifier", (11, 14)),
    ]
    assert {(b.name, b.size, b.depth) for c in connections for b in (c.source, c.target)} == {
        ("input", 6, 0),
        ("hidden1", 5, 1),
        ("hidden2", 3, 2),
        ("output", 4, 3),
    }


def test_regions_cover_each_weight_once() -> None:
    architecture = make(hidden=[4, 7, 2])
    weights = {n: p for n, p in build(architecture).named_parameters() if n.endswith("weight")}
    covered = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for c in architecture.connections():
        region = c.region(covered[c.parameter])
        assert region.shape == c.shape == (c.target.size, c.source.size)
        region += 1
    assert all((count == 1).all() for count in covered.values())


def test_initial_weights_have_the_spread_of_their_pair_of_bands() -> None:
    architecture = make(MNIST, hidden=[300, 100])
    network = build(architecture)
    parameters = dict(network.named_parameters())
    for c in architecture.connections():
        region = c.region(parameters[c.parameter])
        std = 2 / math.sqrt(c.source.size + c.target.size)
        assert region.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * c.size))
        assert abs(region.mean().item()) < 5 * std / math.sqrt(c.size)
        # Kurtosis tells a normal (3) from a uniform (1.8) distribution of equal spread.
        assert (region / std).pow(4).mean().item() == pytest.approx(3, abs=0.6)
    assert all((layer.bias == 0).all() for layer in network.layers.values())


def test_one_seed_gives_one_network() -> None:
    one, same, other = (build(make(), seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["layers.output.weight"], other["layers.output.weight"])


def test_works_under_autocast() -> None:
    network = build(make())
    inputs, targets = torch.randn(5, 2, 3), torch.randint(0, 4, (5,))
    exact = network(inputs, targets)
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(inputs, targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.05)
    loss.backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.parameters())


@pytest.mark.parametrize("fraction", [0.07, 0.116, 0.5, 0.9])
def test_scaled_fits_and_uses_what_it_may(fraction: float) -> None:
    architecture = make(MNIST)
    parameters = int(fraction * 174_112)
    state = torch.get_rng_state()
    smaller = architecture.scaled(parameters)
    assert torch.equal(state, torch.get_rng_state())
    count = sum(p.numel() for p in smaller.build().parameters())
    # One more unit costs its 784 inputs, its bias, and at most one weight per other unit.
    assert parameters - 785 - 4 * 48 - 10 <= count <= parameters
    assert max(smaller.options.hidden) - min(smaller.options.hidden) <= 1
    assert smaller.options.bias


def test_scaled_is_never_wider_and_says_when_nothing_fits() -> None:
    architecture = make(hidden=[9, 7], bias=False)
    assert architecture.scaled(10**6).options == architecture.options
    one_wide = 6 + 7 + 4 * 8
    assert architecture.scaled(one_wide).options.hidden == [1, 1]
    with pytest.raises(Unsupported, match=f"it has {one_wide}"):
        architecture.scaled(one_wide - 1)


def test_scaled_cannot_go_below_the_direct_way_from_input_to_output() -> None:
    one_wide = 4 * (784 + 1) + 6 + 10 * (784 + 4 + 1)
    with pytest.raises(Unsupported, match=f"it has {one_wide}"):
        make(MNIST).scaled(int(0.022 * 174_112))


def test_refuses_language_and_wrong_options() -> None:
    assert (
        make(DataSpec("language", (16,), 50, 1, 16)).unsupported()
        == "takes classification or regression data, not language"
    )
    for options in ({"hidden": []}, {"hidden": [0]}, {"biases": True}):
        with pytest.raises(ValidationError):
            SkipMlpOptions(**options)
