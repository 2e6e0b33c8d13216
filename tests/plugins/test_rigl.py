"""RigL: against a naive loop with momentum and with Adam, and its counts."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import pytest
from double_training import AdamW, DoubleTraining, Sgd, follow, only, ranked
from pydantic import ValidationError
from torch import Tensor

from harness import Prune, Train, TrainingBudget
from harness.testing import check_method
from harness_dynamic.rigl import RigL, RigLOptions

STEPS, LAST = 30, round(0.75 * 30)


@pytest.mark.parametrize("decay", ["cosine", "constant"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_it_computes_what_a_naive_loop_does(decay: Any, optimizer: str) -> None:
    training = {"optimizer": optimizer, "lr": 0.1 if optimizer == "sgd" else 0.01, "weight_decay": 0.01}
    method = RigL(RigLOptions(interval=4, fraction=0.5, decay=decay, distribution="uniform"))
    run = DoubleTraining(method, 0.3, STEPS, **training)

    def choose(
        t: int, weights: list[Tensor], _: Any, gradients: list[Tensor], masks: list[Tensor]
    ) -> list[Tensor] | None:
        if t % 4 or t > LAST:
            return None
        share, found = 0.5 * (1 if decay == "constant" else (1 + cos(pi * t / LAST)) / 2), []
        for weight, gradient, mask in zip(weights, gradients, masks, strict=False):
            order = ranked(weight.abs(), mask, largest=True)
            n = int(share * len(order))
            stay = order[: len(order) - n]
            grown = ranked(gradient.abs(), ~only(stay, mask.shape), largest=True)[:n]
            found.append(only([*stay, *grown], mask.shape))
        return found

    naive = Sgd(run.raw, 0.1, 0.9, 0.01) if optimizer == "sgd" else AdamW(run.raw, 0.01, (0.9, 0.999), 1e-8, 0.01)
    counts = [int(mask.sum()) for mask in run.masks]
    assert follow(run, STEPS, naive, choose) > 20
    assert [int(mask.sum()) for mask in run.masks] == counts
    assert sum(run.weights.zeros().values()) == 256 - run.budget.keep


def test_the_program_and_its_operations() -> None:
    method = RigL(RigLOptions())
    assert method.program(TrainingBudget(9, 4, 0.1)) == [Prune(distribution="erk"), Train(9)]
    assert method.dense_gradient_share == 1 / 101
    assert RigL(RigLOptions(interval=9)).dense_gradient_share == 0.1


def test_options_are_checked() -> None:
    for wrong in ({"interval": 0}, {"interval": 0.5}, {"end": 1}, {"fraction": 30}, {"decay": "cubic"}):
        with pytest.raises(ValidationError):
            RigLOptions.model_validate(wrong)


def test_conformance() -> None:
    check_method(RigL, {"interval": 3, "distribution": "uniform", "first_dense": True}, density=0.5)
