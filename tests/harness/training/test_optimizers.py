"""Learning rates, groups, clipping and decay: the same for every method."""

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness import Band, Connection, Masks, NoOptions, ParameterGroup, SparsityMethod
from harness.core.phases import Finetune, Train
from harness.storage import checkpoint
from harness.suites.schema import Training
from harness.training.optimizers import Optimizers, rate
from harness.training.weights import Weights


def training(**options: Any) -> Training:
    return Training.model_validate({"steps": 10, "schedule": "constant", "lr": 0.1, **options})


class Halved(SparsityMethod[NoOptions]):
    mode = "composed"

    def compose(self, connection: Connection, raw: torch.Tensor) -> torch.Tensor:
        return raw * 0.5


def network() -> tuple[nn.Module, Connection]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv1d(2, 3, 2), nn.BatchNorm1d(3), nn.Embedding(4, 2), nn.Linear(3, 2))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(1, 2)
    return module, Connection("c", "3.weight", "dense", Band("i", 3, 0), Band("o", 2, 1), (2, 3))


# --- schedules --------------------------------------------------------------------------------


def test_rates_by_hand() -> None:
    assert [rate(s, 4, "cosine") for s in range(4)] == pytest.approx([1, (1 + math.sqrt(0.5)) / 2, 0.5, 0.1464466])
    assert [rate(s, 4, "linear", final=0.2) for s in range(4)] == pytest.approx([1, 0.8, 0.6, 0.4])
    assert [rate(s, 6, "linear", warmup=2) for s in range(6)] == pytest.approx([0.5, 1, 1, 0.75, 0.5, 0.25])
    assert [rate(s, 4, "constant", warmup=2) for s in range(4)] == [0.5, 1, 1, 1]
    assert rate(4, 4, "cosine", final=0.1) == pytest.approx(0.1)
    assert rate(3, 2, "constant", warmup=8) == 0.5
    cooled = [rate(s, 6, "constant", warmup=2, final=0.1, cooldown=3) for s in range(7)]
    assert cooled == pytest.approx([0.5, 1, 1, 1, 0.7, 0.4, 0.1])


def test_a_phase_overrides_the_suite() -> None:
    module, _ = network()
    for phase, expected in (
        (Train(4), [0.05, 0.1, 0.1, 0.1]),
        (Train(4, lr=1.0), [0.5, 1.0, 1.0, 1.0]),
        (Finetune(4, lr=0.2), [0.2] * 4),
    ):
        optimizers = Optimizers(list(module.parameters()), (), training(warmup_steps=2), phase)
        assert [optimizers.step(step) for step in range(4)] == pytest.approx(expected)


def test_a_methods_own_parameters_have_their_own_rate_and_are_not_clipped() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    same, constant = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    groups = [ParameterGroup([same], 0.01, schedule="same"), ParameterGroup([constant], 0.02, weight_decay=0.5)]
    settings = training(optimizer="sgd", momentum=0, schedule="linear", clip_norm=1.0)
    optimizers = Optimizers([weight], groups, settings, Train(10))
    for step in (0, 5):
        before = [p.detach().clone() for p in (weight, same, constant)]
        weight.grad = torch.full((2, 2), 0.5)  # its norm is exactly 1: left as it is, whatever the others are
        same.grad, constant.grad = torch.full((3,), 1e6), torch.full((3,), 1e6)
        assert optimizers.step(step) == pytest.approx(0.1 * (1 - step / 10))
        fraction = 1 - step / 10
        assert torch.allclose(weight, before[0] - 0.1 * fraction * 0.5, rtol=1e-5)
        assert same.grad[0] == 1e6
        assert torch.allclose(same, before[1] - 0.01 * fraction, rtol=1e-5)  # Adam's step is one rate
        assert torch.allclose(constant, before[2] * (1 - 0.02 * 0.5) - 0.02, rtol=1e-5)


def test_clipping_scales_to_the_norm() -> None:
    a, b = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(3))
    optimizers = Optimizers([a, b], (), training(optimizer="sgd", momentum=0, clip_norm=2.0), Train(10))
    a.grad, b.grad = torch.full((2, 2), 3.0), torch.tensor([8.0, 0, 0])  # norm 10
    optimizers.step(0)
    assert torch.allclose(a, torch.full((2, 2), -0.1 * 3 / 5), rtol=1e-5)
    assert torch.allclose(b, torch.tensor([-0.1 * 8 / 5, 0, 0]), rtol=1e-5)


# --- weight decay -----------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("kind", ["dense", "projected", "composed"])
def test_norms_and_biases_never_decay(optimizer: str, kind: str) -> None:
    module, connection = network()
    masks = Masks({"c": torch.tensor([[True, False, True], [False, True, True]])}) if kind == "projected" else None
    weights = Weights(module, [connection], masks, Halved(NoOptions()) if kind == "composed" else None)
    optimizers = Optimizers(weights.owned(False), (), training(optimizer=optimizer, weight_decay=0.5), Train(10))
    before = {name: p.detach().clone() for name, p in weights.trained.items()}
    for p in weights.trained.values():
        p.grad = torch.zeros_like(p)
    optimizers.step(0)
    for name, p in weights.trained.items():
        if p.ndim < 2:
            assert torch.equal(p, before[name]), name
        else:
            assert (p.abs() <= before[name].abs()).all() and (
                p[before[name] != 0] < before[name][before[name] != 0]
            ).all()
        if optimizer != "adam" and p.ndim >= 2:  # plain shrinking; Adam puts decay through its averages
            assert torch.allclose(p, before[name] * (1 - 0.1 * 0.5), rtol=1e-6)
    names = {id(p): name for name, p in weights.trained.items()}
    decaying = {names[id(p)] for g in optimizers.all[0].param_groups if g["weight_decay"] for p in g["params"]}
    assert decaying == {"0.weight", "2.weight", "3.weight"}
    assert sum(len(g["params"]) for g in optimizers.all[0].param_groups) == len(weights.trained)


def test_a_phase_overrides_the_decay() -> None:
    module, _ = network()
    optimizers = Optimizers(list(module.parameters()), (), training(weight_decay=0.5), Train(10, weight_decay=0.0))
    assert all(group["weight_decay"] == 0 for group in optimizers.all[0].param_groups)


def test_frozen_parameters_are_not_optimised() -> None:
    module, _ = network()
    module[0].requires_grad_(False)
    optimizers = Optimizers(list(module.parameters()), (), training(weight_decay=0.5), Train(10))
    own = {id(p) for group in optimizers.all[0].param_groups for p in group["params"]}
    assert own == {id(p) for p in module[1:].parameters()}


# --- state ------------------------------------------------------------------------------------


def test_reset_touches_only_the_named_entries() -> None:
    a, b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizers = Optimizers([a, b], (), training(), Train(10))
    a.grad, b.grad = torch.ones(3), torch.ones(3)
    optimizers.step(0)
    optimizers.reset(a, torch.tensor([True, False, True]))
    state = optimizers.all[0].state
    assert (state[a]["exp_avg"] == 0).tolist() == [True, False, True]
    assert (state[a]["exp_avg_sq"] == 0).tolist() == [True, False, True]
    assert state[a]["step"] == 1
    assert (state[b]["exp_avg"] != 0).all()
    optimizers.reset(nn.Parameter(torch.ones(3)), torch.tensor([True, True, True]))


def test_state_goes_on_exactly() -> None:
    def make() -> tuple[nn.Parameter, nn.Parameter, Optimizers]:
        weight, own = nn.Parameter(torch.linspace(0, 1, 6).reshape(2, 3)), nn.Parameter(torch.ones(2))
        return weight, own, Optimizers([weight], [ParameterGroup([own], 0.3)], training(), Train(10))

    def go(weight: nn.Parameter, own: nn.Parameter, optimizers: Optimizers, steps: range) -> None:
        for step in steps:
            weight.grad, own.grad = weight.detach().cos(), own.detach().sin()
            optimizers.step(step)

    one = make()
    go(*one, range(3))
    two = make()
    with torch.no_grad():
        two[0].copy_(one[0])
        two[1].copy_(one[1])
    two[2].load_state_dict(deepcopy(one[2].state_dict()))
    go(*one, range(3, 6))
    go(*two, range(3, 6))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_state_of_transposed_parameters_survives_a_checkpoint(tmp_path: Path, optimizer: str) -> None:
    """Fused kernels walk through memory, and a file holds every tensor in row-major order."""
    results = []
    for interrupted in (False, True):
        kernel = torch.linspace(-1, 1, 24).reshape(2, 3, 2, 2)
        weights = {
            "turned": nn.Parameter(torch.linspace(-1, 1, 6).reshape(2, 3).t()),
            "kernel": nn.Parameter(kernel.to(memory_format=torch.channels_last)),
        }
        optimizers = Optimizers(list(weights.values()), (), training(optimizer=optimizer), Train(10))
        for step in range(6):
            if interrupted and step == 3:
                checkpoint.save(tmp_path / "a", optimizers.state_dict())
                optimizers = Optimizers(list(weights.values()), (), training(optimizer=optimizer), Train(10))
                optimizers.load_state_dict(checkpoint.load(tmp_path / "a"))
            optimizers.zero_grad()
            sum((p * torch.arange(float(p.numel())).reshape(p.shape)).sin().sum() for p in weights.values()).backward()
            optimizers.step(step)
        results.append([p.detach() for p in weights.values()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_methods_parameters_are_trained_by_adam_with_its_usual_settings(optimizer: str) -> None:
    """Whatever the weights' optimizer is, and its betas, eps and decay are."""
    weight, own = (nn.Parameter(torch.linspace(-1, 1, 6).reshape(2, 3)) for _ in range(2))
    settings = training(optimizer=optimizer, betas=(0.5, 0.6), eps=0.1, weight_decay=0.3)
    optimizers = Optimizers([weight], [ParameterGroup([own], 0.02)], settings, Train(10))
    naive = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
    first, second = torch.zeros_like(naive), torch.zeros_like(naive)
    for step in range(5):
        optimizers.zero_grad()
        assert own.grad is None
        (own.sin().sum() * (step + 1) + weight.square().sum()).backward()
        gradient = naive.cos() * (step + 1)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        naive = naive - 0.02 * (first / (1 - 0.9 ** (step + 1))) / ((second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        optimizers.step(step)
    assert torch.allclose(own.double(), naive, atol=1e-6)
