"""The kept entries of a sparse parameter: the same training to the bit, with less to update."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.core.connections import Band, Connection
from harness.core.masks import Masks
from harness.core.phases import Train
from harness.suites.schema import Training
from harness.training.compact_parameters import LANES, Kept, fits
from harness.training.optimizers import Optimizers
from harness.training.weights import Weights

A, B = (16, 24), (24, 8)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def trained(lasting: bool, dtype: torch.dtype, **settings: Any) -> tuple[dict[str, Tensor], list[int], Weights]:
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 8), nn.Linear(8, 24)).to(dtype)
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0, 0.3, generator=generator)
    shapes = {"0": A, "2": (8, 16), "3": B}
    connections = [
        Connection(n, f"{n}.weight", "dense", Band("i", s[1], 0), Band("o", s[0], 1), s) for n, s in shapes.items()
    ]
    keep = {"0": 0.1, "2": 0.7, "3": 0.15}
    masks = Masks({n: torch.rand(s, generator=generator) < keep[n] for n, s in shapes.items()})
    weights = Weights(module, connections, masks)
    training = Training(steps=40, lr=0.02, schedule="cosine", warmup_steps=5, **settings)
    optimizers = Optimizers(weights.owned(lasting), (), training, Train(40))
    inputs = torch.randn(40, 12, 24, generator=generator, dtype=dtype)
    for step in range(40):
        weights.materialise()
        optimizers.zero_grad()
        (module(inputs[step]) - inputs[step].roll(1, 1)).square().mean().backward()
        weights.pull_back()
        optimizers.step(step)
        weights.stepped()
    sizes = [p.numel() for group in optimizers.all[0].param_groups for p in group["params"]]
    return {n: p.detach().clone() for n, p in module.named_parameters()}, sizes, weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adam"},
        {"optimizer": "adam", "weight_decay": 0.1},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1},
    ],
    ids=str,
)
def test_training_is_the_same_to_the_bit(settings: dict[str, Any], dtype: torch.dtype) -> None:
    whole, all_sizes, _ = trained(False, dtype, **settings)
    kept, few_sizes, weights = trained(True, dtype, **settings)
    assert sum(few_sizes) < 0.6 * sum(all_sizes), "the optimizer owns the kept entries only"
    for name, parameter in whole.items():
        assert torch.equal(parameter, kept[name]), name
    assert weights.masks is not None
    assert not kept["0.weight"][~weights.masks["0"]].any() and kept["0.weight"][weights.masks["0"]].any()
    assert torch.equal(weights.state()["0.weight"], kept["0.weight"])


def test_the_vector_is_whole_blocks_and_its_filling_stays_equal_to_its_last_entry() -> None:
    parameter = nn.Parameter(torch.arange(128.0).view(8, 16))
    bits = torch.zeros(8, 16, dtype=torch.int32)
    bits[2, 3] = bits[5, 0] = bits[7, 15] = -1
    kept = Kept([(parameter, bits)])
    assert kept.vector.shape == (1, LANES)
    assert kept.vector[0, :3].tolist() == [35.0, 80.0, 127.0] and bool((kept.vector[0, 3:] == 127).all())
    parameter.grad = -torch.arange(128.0).view(8, 16)
    kept.collect()
    assert parameter.grad is None and kept.vector.grad is not None
    assert kept.vector.grad[0, :4].tolist() == [-35.0, -80.0, -127.0, -127.0]
    with torch.no_grad():
        kept.vector.mul_(2)
    kept.spread()
    assert parameter[2, 3] == 70 and parameter[7, 15] == 254 and parameter[0, 1] == 1


def test_a_parameter_without_a_gradient_gets_none() -> None:
    kept = Kept([(nn.Parameter(torch.ones(8, 8)), torch.eye(8, dtype=torch.int32).neg())])
    kept.collect()
    assert kept.vector.grad is not None and not kept.vector.grad.any()


@pytest.mark.parametrize(
    ("parameter", "density", "expected"),
    [
        (torch.zeros(16, 8), 0.1, True),
        (torch.zeros(16, 8), 0.3, False),
        (torch.zeros(16, 8), 0.0, False),
        (torch.zeros(15, 3), 0.1, False),
        (torch.zeros(128), 0.1, False),
        (torch.zeros(8, 16).t(), 0.1, False),
    ],
)
def test_what_fits(parameter: Tensor, density: float, expected: bool) -> None:
    bits = torch.zeros(parameter.numel(), dtype=torch.int32)
    bits[: round(density * len(bits))] = -1
    assert fits(nn.Parameter(parameter), bits.view(parameter.shape)) is expected


def test_masks_that_were_said_to_last_cannot_change_under_the_optimizer() -> None:
    _, _, weights = trained(True, torch.float32)
    assert weights.masks is not None
    with pytest.raises(AssertionError, match="said to last"):
        weights.hold(weights.masks, reset=lambda parameter, changed: None)


def test_masks_of_any_strides_are_held_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(A, generator=generator) < 0.1
    turned = mask.T.contiguous().T  # as a method may make it
    assert turned.stride() != mask.stride()
    found = []
    for one in (mask, turned):
        layer = nn.Linear(24, 16)
        nn.init.ones_(layer.weight)
        connection = Connection("0", "weight", "dense", Band("i", 24, 0), Band("o", 16, 1), A)
        weights = Weights(layer, [connection], Masks({"0": one}))
        kept = weights.owned(lasting=True)[-1]
        layer.weight.grad = torch.arange(16.0 * 24).view(A)
        weights.pull_back()
        assert kept.grad is not None
        found.append((layer.weight.detach().clone(), kept.grad.clone()))
    assert torch.equal(found[0][0], mask.float())
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
