from __future__ import annotations

import math
from importlib import import_module
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

import harness_architectures
from harness import Architecture, DataSpec, Unsupported
from harness_architectures.mlp import Mlp, MlpOptions
from harness_architectures.scaling import narrowed, parameter_count

torch.set_num_threads(1)
DATA = DataSpec("classification", (2, 3), 4, examples=10)


def make(data: DataSpec = DATA, **options: object) -> Mlp:
    return Mlp(MlpOptions(**options), data)


def build(architecture: Mlp, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return architecture.build()


def test_every_entry_names_an_architecture() -> None:
    entries = harness_architectures.harness_register_architectures()
    assert [entry.name for entry in entries] == ["mlp", "skip_mlp", "gpt2", "gpt_rope"]
    for entry in entries:
        module, name = entry.target.split(":")
        assert issubclass(getattr(import_module(module), name), Architecture)


def test_logits_and_loss_by_hand() -> None:
    network = build(make(DataSpec("classification", (2,), 2, 1), hidden=[2]))
    with torch.no_grad():
        network.layers["hidden1"].weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 0.0]]))
        network.layers["hidden1"].bias.copy_(torch.tensor([0.5, 1.0]))
        network.layers["output"].weight.copy_(torch.tensor([[1.0, 1.0], [0.0, -1.0]]))
        network.layers["output"].bias.copy_(torch.tensor([0.0, 3.0]))
    inputs = torch.tensor([[1.0, 1.0], [-2.0, 0.0]])
    # hidden: relu(3.5, 0) and relu(-1.5, 3)
    assert network(inputs).tolist() == [[3.5, 3.0], [3.0, 0.0]]
    expected = (math.log(1 + math.exp(0.5)) + math.log(1 + math.exp(-3.0))) / 2
    assert network(inputs, torch.tensor([1, 0])).item() == pytest.approx(expected, rel=1e-6)
    # errors 2.5, 3 and 5, -4 of the same outputs, taken for numbers
    numbers = torch.tensor([[1.0, 0.0], [-2.0, 4.0]], dtype=torch.float64)
    assert network(inputs, numbers).item() == pytest.approx((2.5**2 + 3**2 + 5**2 + 4**2) / 4, rel=1e-6)
    for wrong in (numbers[:, 0], numbers[:, :1]):
        with pytest.raises(
            ValueError, match=r"targets of a batch are .* numbers, and the network's outputs are \(2, 2\)"
        ):
            network(inputs, wrong)


def test_logits_equal_a_float64_reference_that_walks_the_connections() -> None:
    architecture = make(hidden=[5, 3])
    network = build(architecture).double()
    parameters = dict(network.named_parameters())
    inputs = torch.randn(7, 2, 3, dtype=torch.float64)
    logits = network(inputs)
    for example in range(7):
        units = {"input": [inputs[example, i, j].item() for i in range(2) for j in range(3)]}
        for connection in architecture.connections():
            region = connection.region(parameters[connection.parameter])
            bias = parameters[connection.parameter.replace("weight", "bias")]
            sums = [
                bias[t].item() + sum(region[t, s].item() * v for s, v in enumerate(units[connection.source.name]))
                for t in range(connection.target.size)
            ]
            last = connection.target.name == "output"
            units[connection.target.name] = sums if last else [max(0.0, v) for v in sums]
        assert logits[example].tolist() == pytest.approx(units["output"], abs=1e-12)


def test_connections_are_the_weights_of_the_module() -> None:
    architecture = make(hidden=[5, 3])
    connections = architecture.connections()
    parameters = dict(build(architecture).named_parameters())
    assert [(c.name, c.role, c.shape) for c in connections] == [
        ("hidden1", "dense", (5, 6)),
        ("hidden2", "dense", (3, 5)),
        ("output", "classifier", (4, 3)),
    ]
    assert [c.parameter for c in connections] == [name for name in parameters if name.endswith("weight")]
    for c in connections:
        assert c.region(parameters[c.parameter]).shape == c.shape == (c.target.size, c.source.size)
        assert c.target.depth == c.source.depth + 1
    assert sum(c.size for c in connections) + 5 + 3 + 4 == parameter_count(architecture)


def test_gradients_reach_every_parameter() -> None:
    network = build(make(hidden=[16, 16]))
    network(torch.randn(32, 2, 3), torch.randint(0, 4, (32,))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("initialisation", ["kaiming", "xavier"])
def test_initial_weights(initialisation: str) -> None:
    architecture = make(DataSpec("classification", (100,), 10, 1), hidden=[300], initialisation=initialisation)
    layer = build(architecture).layers["hidden1"]
    bound = 1 / 10 if initialisation == "kaiming" else math.sqrt(6 / 400)
    assert layer.weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert (layer.bias == 0).all().item() == (initialisation == "xavier")


def test_one_seed_gives_one_network() -> None:
    one, same, other = (build(make(), seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["layers.output.weight"], other["layers.output.weight"])


def test_loss_is_float32_under_autocast() -> None:
    network = build(make())
    with torch.autocast("cpu", torch.bfloat16):
        inputs = torch.randn(3, 2, 3)
        assert network(inputs).dtype == torch.bfloat16
        for targets in (torch.tensor([0, 1, 2]), torch.rand(3, 4)):
            assert network(inputs, targets).dtype == torch.float32


@pytest.mark.parametrize("parameters", [1_000, 3_000, 10_000, 50_000, 100_000])
def test_scaled_fits_and_uses_what_it_may(parameters: int) -> None:
    architecture = make(DataSpec("classification", (28, 28), 10, 1), hidden=[128, 64])
    state = torch.get_rng_state()
    smaller = architecture.scaled(parameters)
    assert torch.equal(state, torch.get_rng_state())
    count = sum(p.numel() for p in smaller.build().parameters())
    # A unit of the first layer costs 785 parameters and its share of the second.
    assert parameters - 785 - 64 <= count <= parameters
    first, second = smaller.options.hidden
    assert abs(second - first / 2) <= 1


def test_scaled_is_exact_where_the_size_can_be_had_and_never_wider() -> None:
    architecture = make(hidden=[9, 7, 5])
    whole = parameter_count(architecture)
    assert architecture.scaled(whole).options.hidden == [9, 7, 5]
    assert architecture.scaled(10 * whole).options.hidden == [9, 7, 5]
    assert parameter_count(architecture.scaled(whole - 1)) < whole
    one_wide = (6 + 1) + (1 + 1) + (1 + 1) + (1 + 1) * 4
    assert architecture.scaled(one_wide).options.hidden == [1, 1, 1]
    with pytest.raises(Unsupported, match=f"{one_wide - 1} parameters.* it has {one_wide}"):
        architecture.scaled(one_wide - 1)


def test_narrowed_grows_one_layer_at_a_time() -> None:
    steps = [narrowed([8, 4], k) for k in range(17)]
    assert steps[0] == [1, 1]
    assert steps[-1] == [8, 4]
    for a, b in pairwise(steps):
        assert sorted(y - x for x, y in zip(a, b, strict=True)) in ([0, 0], [0, 1])


def test_refuses_language() -> None:
    reason = make(DataSpec("language", (16,), 50, 1, 16)).unsupported()
    assert reason == "takes classification or regression data, not language"
    assert make().unsupported() is None


@pytest.mark.parametrize("options", [{"hiden": [3]}, {"hidden": []}, {"hidden": [3, 0]}, {"initialisation": "he"}])
def test_refuses_wrong_options(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MlpOptions(**options)
