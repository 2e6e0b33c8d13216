"""SET: by hand, against a naive loop, and its counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from double_training import DoubleTraining, Sgd, follow, only, ranked
from pydantic import ValidationError
from torch import Tensor, nn

from harness import Band, Connection, CurrentMasks, DensityBudget, Masks, MethodContext, UserError, select
from harness.testing import check_method
from harness_dynamic.set import Set, SetOptions
from harness_random.method import Random, RandomOptions

SGD = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}


def connection(name: str, *shape: int) -> Connection:
    return Connection(name, name, "dense", Band(f"{name}.in", shape[1], 0), Band(f"{name}.out", shape[0], 1), shape)


def at(weight: list[float], kept: list[int], density: float = 0.5) -> MethodContext:
    """The step before an update of one row of weights."""
    c = connection("a", 1, len(weight))
    mask = Masks({"a": torch.tensor([kept], dtype=torch.bool)})
    budget, raw = DensityBudget.of(density, [c]), {"a": torch.tensor([weight])}
    current = CurrentMasks([c], "cpu", mask)
    return MethodContext(nn.Module(), (c,), raw, current, budget, None, 0, torch.device("cpu"), steps=100, step=0)


WEIGHTS = [0.1, 0.2, 0.3, 0.4, 5.0, 6.0, -4.0, -3.0, 0.0, 0.0, 0.0, 0.0]
KEPT = [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(("drop", "survivors"), [("sign", [3, 4, 5, 6]), ("magnitude", [4, 5, 6, 7])])
def test_what_survives_an_update(drop: Any, survivors: list[int]) -> None:
    """Half of six positive and of two negative weights goes: -3 by its sign, not by its magnitude."""
    method, grown = Set(SetOptions(interval=1, fraction=0.5, drop=drop)), set()
    for seed in range(40):
        context = at(WEIGHTS, KEPT)
        context.seed = seed
        after = method.after_step(context)
        assert after is not None
        kept = after["a"][0].nonzero().flatten().tolist()
        assert set(survivors) <= set(kept) and len(kept) == 8
        grown |= set(kept) - set(survivors)
    assert grown == set(range(12)) - set(survivors)


def test_a_kept_weight_that_is_zero_goes_too() -> None:
    after = Set(SetOptions(interval=1, fraction=0.0)).after_step(at([1.0, 0.0, -1.0, 0.0], [1, 1, 1, 0]))
    assert after is not None and after["a"].sum() == 3 and after["a"][0, 0] and after["a"][0, 2]


@pytest.mark.parametrize("drop", ["sign", "magnitude"])
def test_it_computes_what_a_naive_loop_does(drop: Any) -> None:
    method = Set(SetOptions(interval=4, fraction=0.5, drop=drop))
    run = DoubleTraining(method, 0.3, 30, **SGD)

    def choose(t: int, _: Any, weights: list[Tensor], __: Any, masks: list[Tensor]) -> list[Tensor] | None:
        if (t + 1) % 4 or t + 1 > 22:
            return None
        found = []
        for c, weight, mask in zip(run.connections, weights, masks, strict=False):
            signs = (weight > 0, weight < 0) if drop == "sign" else (mask,)
            orders = [ranked(weight.abs(), mask & sign, largest=True) for sign in signs]
            stay = [index for order in orders for index in order[: len(order) - int(0.5 * len(order))]]
            draws = torch.rand(c.shape, generator=run.context.generator(f"{c.name} 1 {t}"))
            free = ranked(draws, ~only(stay, mask.shape), largest=True)
            found.append(only([*stay, *free[: int(mask.sum()) - len(stay)]], mask.shape))
        return found

    assert follow(run, 30, Sgd(run.raw, 0.1, 0.9, 0.01), choose) > 20
    assert sum(int(mask.sum()) for mask in run.masks) == run.budget.keep
    gradients = run.gradients(run.raw, 29)
    for weight, mask, gradient in zip(run.raw, run.masks, gradients, strict=False):
        assert not gradient[mask & (weight == 0)].any()  # of what is kept only dead neurons' weights are still zero


def test_updates_come_after_so_many_steps_and_cease() -> None:
    def updates(steps: int, **options: Any) -> list[int]:
        method, found = Set(SetOptions(**options)), []
        for step in range(steps):
            context = at(WEIGHTS, KEPT)
            context.step, context.steps = step, steps
            if method.after_step(context) is not None:
                found.append(step + 1)
        return found

    assert updates(450) == [100, 200, 300]
    assert updates(100, interval=0.2, end=0.9) == [20, 40, 60, 80]
    assert updates(30, interval=0.01, end=0.1) == [1, 2, 3]
    assert updates(100, interval=20, end=0.8) == [20, 40, 60, 80]


def test_the_start_is_that_of_random() -> None:
    layers = [connection("a", 7, 11), connection("b", 5, 7)]
    raw = {c.parameter: torch.zeros(c.shape) for c in layers}
    budget = DensityBudget.of(0.2, layers)
    context = MethodContext(nn.Module(), tuple(layers), raw, CurrentMasks(layers), budget, None, 3, torch.device("cpu"))
    own, theirs = (
        select(method.scores(context), budget, layers, "erk")
        for method in (Set(SetOptions()), Random(RandomOptions(distribution="erk")))
    )
    assert own.digest() == theirs.digest()


def test_a_dense_first_connection() -> None:
    layers = [connection("a", 2, 5), connection("b", 10, 10), connection("c", 10, 20)]
    raw = {c.parameter: torch.zeros(c.shape) for c in layers}
    method = Set(SetOptions(distribution="uniform", first_dense=True))

    def kept(budget: DensityBudget) -> dict[str, int]:
        context = MethodContext(
            nn.Module(), tuple(layers), raw, CurrentMasks(layers), budget, None, 3, torch.device("cpu")
        )
        return method.refine(select(method.scores(context), budget, layers, "uniform"), context).kept

    assert kept(DensityBudget.of(0.2, layers)) == {"a": 10, "b": 17, "c": 35}  # 62 - 10 over 100 and 200
    matched = {"a": 1, "b": 2, "c": 3}
    assert kept(DensityBudget(6, 6 / 310, matched)) == matched
    with pytest.raises(UserError, match=r"keeps the 10 weights of 'a', and density 0\.01 leaves 3"):
        kept(DensityBudget.of(0.01, layers))


def test_options_are_checked() -> None:
    for wrong in ({"interval": 0}, {"interval": 1.5}, {"end": 1}, {"drop": "random"}, {"fraction": 1.1}):
        with pytest.raises(ValidationError):
            SetOptions.model_validate(wrong)


def test_conformance() -> None:
    check_method(Set, {"interval": 0.1, "drop": "magnitude", "distribution": "uniform"})
    check_method(Set, {"interval": 3, "first_dense": True}, density=0.5)
