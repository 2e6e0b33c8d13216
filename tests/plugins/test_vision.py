"""The convolutional networks of the field: sizes that were published, and what they compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from harness import Architecture, DataSpec
from harness.testing import check_architecture
from harness_architectures.scaling import parameter_count
from harness_vision.lenet import LeNet
from harness_vision.resnet import ResNet
from harness_vision.vgg import Vgg

torch.set_num_threads(1)
CIFAR = DataSpec("classification", (3, 32, 32), 10, 50_000)
MNIST = DataSpec("classification", (1, 28, 28), 10, 60_000)
SMALL = DataSpec("classification", (2, 8, 8), 3, 10)


def make(cls: type[Architecture[Any]], data: DataSpec, **options: Any) -> Architecture[Any]:
    return cls(cls.Options.model_validate(options), data)


def built(architecture: Architecture[Any]) -> torch.nn.Module:
    """In float64, with norms and running statistics that are not what they begin with."""
    torch.manual_seed(0)
    network = architecture.build().double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in [*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())]:
            tensor.add_(0.3 * torch.rand(tensor.shape, generator=generator, dtype=torch.float64))
    return network


def normed(x: torch.Tensor, state: dict[str, torch.Tensor], place: str, stride: int = 1) -> torch.Tensor:
    weight = state[f"{place}.conv.weight"]
    x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
    mean, var, scale, shift = (
        state[f"{place}.norm.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * scale + shift


@pytest.mark.parametrize(
    ("depth", "shortcut", "classes", "published"),
    [
        (14, "projection", 10, 175_258),
        (14, "projection", 100, 181_108),
        (20, "projection", 10, 272_474),
        (20, "padding", 10, 269_722),
        (32, "padding", 10, 464_154),
        (56, "padding", 10, 853_018),
    ],
)
def test_published_sizes_of_resnets(depth: int, shortcut: str, classes: int, published: int) -> None:
    data = DataSpec("classification", (3, 32, 32), classes, 50_000)
    architecture = make(ResNet, data, depth=depth, shortcut=shortcut)
    assert parameter_count(architecture) == published
    assert sum(c.role == "conv" for c in architecture.connections()) + 1 == depth
    assert sum(c.role == "skip" for c in architecture.connections()) == (2 if shortcut == "projection" else 0)


def test_published_sizes_of_the_others() -> None:
    assert parameter_count(make(Vgg, CIFAR)) == 14_728_266 - 4_224  # those with biases of convolutions
    assert [len(make(Vgg, CIFAR, depth=d).connections()) for d in (11, 13, 16, 19)] == [9, 11, 14, 17]
    lenet = make(LeNet, MNIST)
    assert parameter_count(lenet) == 431_080
    assert sum(c.size for c in lenet.connections()) == 430_500


@pytest.mark.parametrize("shortcut", ["projection", "padding"])
def test_what_a_resnet_computes(shortcut: str) -> None:
    network = built(make(ResNet, SMALL, depth=14, width=3, shortcut=shortcut))
    x = torch.randn(4, 2, 8, 8, dtype=torch.float64)
    state = network.state_dict()
    wanted = normed(x, state, "stem").relu()
    for k in range(1, 7):
        place, stride = f"blocks.block{k}", 2 if k in (3, 5) else 1
        inner = normed(normed(wanted, state, f"{place}.first", stride).relu(), state, f"{place}.second")
        past = wanted
        if stride == 2 and shortcut == "projection":
            past = normed(wanted, state, f"{place}.shortcut", 2)
        elif stride == 2:
            past = torch.cat([wanted[:, :, ::2, ::2], torch.zeros_like(inner[:, wanted.shape[1] :])], 1)
        wanted = (inner + past).relu()
    wanted = wanted.mean((2, 3)) @ state["classifier.weight"].T + state["classifier.bias"]
    assert torch.allclose(network(x), wanted, rtol=1e-10, atol=1e-10)


def test_what_a_vgg_computes() -> None:
    network = built(make(Vgg, DataSpec("classification", (2, 32, 32), 3, 10), width=2, depth=11))
    x = torch.randn(2, 2, 32, 32, dtype=torch.float64)
    state, wanted = network.state_dict(), x
    for i, pooled in enumerate((True, True, False, True, False, True, False, True), start=1):
        wanted = normed(wanted, state, f"layers.conv{i}").relu()
        if pooled:
            wanted = wanted.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax((3, 5))
    wanted = wanted.flatten(1) @ state["classifier.weight"].T + state["classifier.bias"]
    assert torch.allclose(network(x), wanted, rtol=1e-10, atol=1e-10)


def test_what_a_lenet_computes() -> None:
    network = built(make(LeNet, MNIST, channels=[3, 4], hidden=6))
    x = torch.randn(2, 1, 28, 28, dtype=torch.float64)
    state, wanted = network.state_dict(), x
    for i in (1, 2):
        wanted = F.conv2d(wanted, state[f"conv{i}.weight"], state[f"conv{i}.bias"])
        wanted = wanted.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax((3, 5))
    wanted = (wanted.flatten(1) @ state["hidden.weight"].T + state["hidden.bias"]).relu()
    wanted = wanted @ state["classifier.weight"].T + state["classifier.bias"]
    assert torch.allclose(network(x), wanted, rtol=1e-10, atol=1e-10)


def test_initial_weights() -> None:
    torch.manual_seed(0)
    for place in (make(ResNet, CIFAR).build(), make(Vgg, CIFAR, width=16).build()):
        for name, parameter in place.named_parameters():
            if name.endswith("conv.weight") and parameter.numel() > 2000:
                wanted = (2 / (parameter.shape[0] * parameter[0, 0].numel())) ** 0.5
                assert abs(float(parameter.detach().std()) / wanted - 1) < 0.1, name
    torch.manual_seed(0)
    own = make(ResNet, CIFAR, initialisation="kaiming").build().stem.conv.weight
    torch.manual_seed(0)
    assert torch.equal(own, torch.nn.Conv2d(3, 16, 3, bias=False).weight)


@pytest.mark.parametrize(
    ("cls", "options", "data"),
    [
        (ResNet, {"depth": 8, "width": 4}, None),
        (ResNet, {"depth": 14, "width": 2, "shortcut": "padding"}, SMALL),
        (Vgg, {"depth": 11, "width": 2}, DataSpec("classification", (1, 32, 32), 4, 10)),
        (LeNet, {"channels": [3, 4], "hidden": 6}, MNIST),
    ],
)
def test_contract(cls: type[Architecture[Any]], options: dict[str, Any], data: DataSpec | None) -> None:
    check_architecture(cls, options, data=data)


@pytest.mark.parametrize(
    ("cls", "options", "data"),
    [
        (ResNet, {"depth": 14, "width": 3}, SMALL),
        (Vgg, {"depth": 11, "width": 2}, DataSpec("classification", (2, 32, 32), 3, 10)),
        (LeNet, {"channels": [3, 4], "hidden": 6}, MNIST),
    ],
)
def test_a_unit_that_nothing_reads_can_be_anything(
    cls: type[Architecture[Any]], options: dict[str, Any], data: DataSpec
) -> None:
    architecture = make(cls, data, **options)
    network = built(architecture)
    x = torch.randn(2, *data.inputs, dtype=torch.float64)
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    assert all(group.removable for group in architecture.units())

    def entries(side: str) -> list[torch.Tensor]:
        found = []
        for group in architecture.units():
            for member in group.members:
                if (member.side == "out") == (side == "out"):
                    tensor = tensors[member.parameter]
                    found.append(tensor.narrow(member.axis, member.start + member.width, member.width))  # unit 1
        return found

    with torch.no_grad():
        for part in entries("out"):
            part.zero_()
        before = network(x)
        for part in entries("own"):
            part.fill_(3.0)
        assert torch.equal(network(x), before)
        for part in entries("out"):
            part.fill_(3.0)
        assert not torch.allclose(network(x), before)


def test_channels_of_a_padded_stream_cannot_be_cut_out_alone() -> None:
    groups = {group.name: group for group in make(ResNet, SMALL, depth=14, shortcut="padding").units()}
    assert [groups[name].removable for name in ("group1", "group2", "group3")] == [False, False, True]


def test_narrower_networks_fit() -> None:
    for cls, data in ((ResNet, CIFAR), (Vgg, CIFAR), (LeNet, MNIST)):
        whole = parameter_count(make(cls, data))
        smaller = parameter_count(make(cls, data).scaled(whole // 10))
        assert 0.8 * whole / 10 < smaller <= whole // 10


def test_what_does_not_fit_is_refused() -> None:
    wrong = DataSpec("classification", (3, 30, 30), 10, 1)
    flat = DataSpec("classification", (784,), 10, 1)
    for architecture, said in (
        (make(ResNet, wrong), "of a side that 4 divides"),
        (make(Vgg, wrong), "of a side that 32 divides"),
        (make(LeNet, DataSpec("classification", (1, 8, 8), 10, 1)), "at least 16 pixels"),
        *((make(cls, flat), "takes pictures") for cls in (ResNet, Vgg, LeNet)),
    ):
        assert said in (architecture.unsupported() or "")
    assert make(LeNet, MNIST).unsupported() is None
    with pytest.raises(ValidationError):
        make(Vgg, CIFAR, depth=12)
    with pytest.raises(ValidationError, match=r"6 n \+ 2 layers: 18 is none of these, 14 and 20 are"):
        make(ResNet, CIFAR, depth=18)
