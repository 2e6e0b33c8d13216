"""The convolutional network of Neural DNA against one written from its description, plain and slow, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from band_cnn import reference

from harness import DataSpec
from harness.testing import check_architecture
from harness_architectures.scaling import parameter_count
from harness_ndna.band_cnn import BandCnn, BandCnnNetwork, BandCnnOptions

torch.set_num_threads(1)
CIFAR = DataSpec("classification", (3, 32, 32), 10, examples=50_000)
SMALL = DataSpec("classification", (2, 8, 8), 5, examples=10)
SIZES = {"channels": [3, 4, 5, 4], "strides": [1, 2, 1, 2]}


def make(data: DataSpec = SMALL, **options: object) -> BandCnn:
    return BandCnn(BandCnnOptions(**(options or SIZES)), data)


def build(architecture: BandCnn) -> BandCnnNetwork:
    """In float64, with weights, norms and running statistics that are not what they begin with."""
    torch.manual_seed(0)
    network = architecture.build().double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in [*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())]:
            tensor.add_(0.3 * torch.rand(tensor.shape, generator=generator, dtype=torch.float64))
    return network


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("skips", [True, False])
def test_logits_and_gradients_equal_the_description(training: bool, skips: bool) -> None:
    network = build(make(skips=skips, **SIZES)).train(training)
    x = torch.randn(6, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    plain = {name: state[name].requires_grad_() for name, _ in network.named_parameters()}
    wanted, found = reference({**state, **plain}, x, SIZES["strides"], training, skips), network(x)
    assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-10)
    found.square().sum().backward()
    wanted.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert torch.allclose(parameter.grad, plain[name].grad, rtol=1e-9, atol=1e-10), name


def test_published_numbers() -> None:
    for classes, parameters, pairs in ((10, 86_858, 21_024), (100, 92_708, 26_784)):
        architecture = BandCnn(BandCnnOptions(), DataSpec("classification", (3, 32, 32), classes, 1))
        assert parameter_count(architecture) == parameters
        connections = architecture.connections()
        assert sum(c.shape[0] * c.shape[1] for c in connections) == pairs
        assert len(connections) == 7 + 15
        assert {c.role for c in connections} == {"conv", "skip", "classifier"}
    weights = sum(c.size for c in BandCnn(BandCnnOptions(), CIFAR).connections())
    assert weights == 84_896
    trunk = make(CIFAR, skips=False)
    assert len(trunk.connections()) == 7 and sum(c.size for c in trunk.connections()) == 9 * 7_984 + 640


def test_initial_weights_are_torchs_own() -> None:
    torch.manual_seed(3)
    network = BandCnn(BandCnnOptions(), CIFAR).build()
    torch.manual_seed(3)
    first = torch.empty(16, 3, 3, 3)
    torch.nn.init.kaiming_uniform_(first, a=math.sqrt(5))
    assert torch.equal(network.convs["band1"].weight, first)
    for norm in [*network.norms.values(), *network.skip_norms.values()]:
        assert (norm.weight == 1).all() and (norm.bias == 0).all() and norm.eps == 1e-5 and norm.momentum == 0.1


def test_contract() -> None:
    check_architecture(BandCnn, {"channels": [4, 6], "strides": [2, 1]})
    check_architecture(BandCnn, {"channels": [4, 6, 5], "strides": [1, 2, 1], "skips": False})
    check_architecture(BandCnn, SIZES, data=SMALL)


def test_a_channel_that_nothing_reads_changes_nothing_when_it_is_zero() -> None:
    architecture = make()
    network = build(architecture).eval()
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    with torch.no_grad():
        for group in architecture.units():
            for member in group.members:
                if member.side == "out":
                    tensors[member.parameter].select(member.axis, 1).zero_()
        before = network(x)
        for group in architecture.units():
            for member in group.members:
                if member.side != "out":
                    tensors[member.parameter].select(member.axis, 1).fill_(7.0)
        assert torch.equal(network(x), before)


def test_narrower_networks_fit() -> None:
    for parameters in (60_000, 20_000, 3_000):
        smaller = BandCnn(BandCnnOptions(), CIFAR).scaled(parameters)
        assert 0.85 * parameters < parameter_count(smaller) <= parameters


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((10,), {}, "takes pictures"),
        ((3, 32, 16), {}, "takes pictures"),
        ((3, 30, 30), {}, "halves its pictures 2 times, and 30 pixels cannot be"),
    ],
)
def test_data_that_does_not_fit_is_refused(shape: tuple[int, ...], options: dict[str, object], said: str) -> None:
    reason = BandCnn(BandCnnOptions(**options), DataSpec("classification", shape, 10, 1)).unsupported()
    assert reason is not None and said in reason
    assert make().unsupported() is None


def test_options_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="2 channels and 3 strides"):
        BandCnnOptions(channels=[1, 2], strides=[1, 1, 1])
