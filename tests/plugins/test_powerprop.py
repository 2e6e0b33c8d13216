from typing import Any

import pytest
import torch
from learned import context_of, gradients, random_like
from pydantic import ValidationError

from harness import Bake, Prune, Train, TrainingBudget, UserError
from harness.testing import check_method
from harness_learned.powerprop import Powerprop, PowerpropOptions


def made(**options: Any) -> Powerprop:
    return Powerprop(PowerpropOptions(**options))


def test_a_case_by_hand() -> None:
    context = context_of({"a": (1, 4)})
    weight = torch.tensor([[8.0, -0.125, 0.0, 1.0]], dtype=torch.float64)
    method = made(alpha=3)
    context.raw = {"a": method.start(context.connections[0], weight)}
    assert torch.allclose(context.raw["a"], torch.tensor([[2.0, -0.5, 0, 1]], dtype=torch.float64))
    effective, raw = gradients(method, context, {"a": torch.ones_like(weight)})
    assert torch.allclose(effective["a"], weight)
    assert torch.allclose(raw["a"], torch.tensor([[12.0, 0.75, 0, 3]], dtype=torch.float64))  # alpha |theta|^2


@pytest.mark.parametrize("alpha", [1.25, 2.0, 4.0])
def test_gradients_are_those_of_equation_2_also_at_zero(alpha: float) -> None:
    context = context_of()
    context.raw["a"][0] = 0
    outward, method = random_like(context), made(alpha=alpha)
    effective, raw = gradients(method, context, outward)
    for name, theta in context.raw.items():
        assert torch.allclose(effective[name], theta * theta.abs() ** (alpha - 1))
        assert torch.allclose(raw[name], outward[name] * alpha * theta.abs() ** (alpha - 1))
    assert not raw["a"][0].any() and not effective["a"][0].any()
    for c in context.connections:
        assert torch.allclose(method.compose(c, method.start(c, context.raw[c.name])), context.raw[c.name])
        assert torch.equal(method.final(c, context.raw[c.name]), effective[c.name])


def test_the_order_is_that_of_effective_weights() -> None:
    """Between connections too: roots have the same order."""
    context = context_of()
    assert all(torch.equal(score, context.raw[name].abs()) for name, score in made().scores(context).items())


def test_program_is_one_training_with_a_pruning_in_it() -> None:
    first, bake, prune, second = made(recovery=0.25).program(TrainingBudget(100, 8, 0.1))
    assert (first, bake, prune) == (Train(75, of=100), Bake(), Prune())
    assert second == Train(25, begin=75, of=100)
    assert made(recovery=0).program(TrainingBudget(100, 8, 0.1)) == [Train(100), Bake(), Prune()]


def test_weights_of_zero_are_refused() -> None:
    context = context_of()
    made().attach(context)
    context.raw["b"].zero_()
    with pytest.raises(UserError, match="initial weights of 'b' are all zero"):
        made().attach(context)
    with pytest.raises(ValidationError, match="alpha"):
        made(alpha=1)


def test_conformance() -> None:
    for options in ({"alpha": 1.5}, {"alpha": 4, "distribution": "uniform"}, {"recovery": 0}):
        check_method(Powerprop, options)
