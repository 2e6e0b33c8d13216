"""The operations of RigL on ResNet-50, counted by the harness, are those that its paper prints."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
from torch import nn

from harness import Architecture, Band, Connection, DataSpec, NoOptions, allocate
from harness.results.flops import Flops, Trained, forward_flops, sparse_training_flops
from harness_dynamic.rigl import RigL, RigLOptions

SPEC = DataSpec("classification", (3, 224, 224), 1000, 1281167)


class ResNet50(Architecture[NoOptions]):
    """Torchvision's, with the stride in the 3x3 convolutions; all kernels and the last layer may be masked."""

    kinds = ("classification",)

    def build(self) -> nn.Module:
        from torchvision.models import resnet50  # takes seconds

        module: nn.Module = resnet50(weights=None)
        return module

    def connections(self) -> Sequence[Connection]:
        found = []
        for depth, (name, parameter) in enumerate(_module().named_parameters()):
            if parameter.ndim >= 2:
                shape = tuple(parameter.shape)
                source, target = Band(f"{name}.in", shape[1], depth), Band(f"{name}.out", shape[0], depth + 1)
                found.append(Connection(name, name, "conv", source, target, shape))
        return found


@cache
def _module() -> nn.Module:
    import torch

    with torch.device("meta"):
        return ResNet50(NoOptions(), SPEC).build()


@cache
def counted() -> tuple[Flops, tuple[Connection, ...]]:
    network = ResNet50(NoOptions(), SPEC)
    return forward_flops(network, SPEC), tuple(network.connections())


def densities(density: float, distribution: str) -> dict[str, float]:
    """Of each connection; RigL's "uniform" keeps the first one dense."""
    _, (first, *rest) = counted()
    keep = round(density * sum(c.size for c in (first, *rest)))
    if distribution == "uniform":
        counts = {first.name: first.size, **allocate(keep - first.size, rest, "uniform")}
    else:
        counts = allocate(keep, (first, *rest), "erk")
    return {c.name: counts[c.name] / c.size for c in (first, *rest)}


def test_the_dense_network() -> None:
    """The known 4.09 GMAC and 25.5 million weights in 54 matrices and kernels."""
    flops, connections = counted()
    assert len(connections) == 54 and sum(c.size for c in connections) == 25502912
    assert flops.total == 2 * 4089184256


PUBLISHED = [(0.2, "uniform", 0.23), (0.1, "uniform", 0.13), (0.2, "erk", 0.42), (0.1, "erk", 0.24)]
"""Density, distribution, operations relative to the dense network (Evci et al. 2020; RigL's README)."""


@pytest.mark.parametrize(("density", "distribution", "published"), PUBLISHED)
def test_inference(density: float, distribution: str, published: float) -> None:
    flops, connections = counted()
    left = flops.sparse(connections, densities(density, distribution))
    assert left is not None
    assert left / flops.total == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize(("density", "distribution", "published"), PUBLISHED)
def test_training(density: float, distribution: str, published: float) -> None:
    """(3 f_S T + 2 f_S + f_D) / (T + 1) with T = 100, by a method's own share and the harness's sum."""
    flops, connections = counted()
    method, examples = RigL(RigLOptions()), 4096
    phase = Trained(examples, densities(density, distribution), False, method.dense_gradient_share)
    found = sparse_training_flops(flops, connections, [phase])
    sparse = flops.sparse(connections, phase.densities)
    assert found is not None and sparse is not None
    assert found == pytest.approx(examples * (3 * sparse * 100 + 2 * sparse + flops.total) / 101, rel=1e-12)
    assert found / (3 * flops.total * examples) == pytest.approx(published, abs=0.01)
