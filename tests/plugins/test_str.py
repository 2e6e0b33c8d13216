from typing import Any

import pytest
import torch
from learned import context_of, gradients, random_like
from torch import Tensor

from harness import DensityBudget, MethodContext
from harness.testing import check_method
from harness_learned.soft_threshold import SoftThreshold, SoftThresholdOptions


def attached(context: MethodContext, **options: Any) -> SoftThreshold:
    method = SoftThreshold(SoftThresholdOptions(**options))
    method.attach(context)
    return method


def thresholds(method: SoftThreshold, **values: float) -> None:
    s = {name: torch.logit(torch.tensor(value, dtype=torch.float64)) for name, value in values.items()}
    method.load_state_dict(s)


def test_a_case_by_hand() -> None:
    context = context_of({"a": (1, 5)})
    context.raw = {"a": torch.tensor([[-0.5, -0.2, 0.0, 0.24, 1.0]], dtype=torch.float64)}
    method = attached(context)
    thresholds(method, a=0.25)
    effective, raw = gradients(method, context, {"a": torch.tensor([[1.0, 2, 3, 4, 5]], dtype=torch.float64)})
    expected = torch.tensor([[-0.25, 0, 0, 0, 0.75]], dtype=torch.float64)
    assert torch.allclose(effective["a"], expected, atol=1e-12)
    assert raw["a"].tolist() == [[1, 0, 0, 0, 5]]
    (grad,) = (s.grad for group in method.parameter_groups() for s in group.parameters)
    assert grad is not None  # minus the sum of dL/dW' sign(W) over open weights, times the sigmoid's derivative
    assert float(grad) == pytest.approx(-(1 * -1 + 5 * 1) * 0.25 * 0.75)
    assert method.final_masks(context)["a"].tolist() == [[True, False, False, False, True]]


def test_effective_weights_are_equation_3() -> None:
    context = context_of()
    method = attached(context, initial=-1.0)
    g = 1 / (1 + torch.e)
    for name, effective in method.effective(context.raw, context.connections).items():
        weight = context.raw[name]
        assert torch.allclose(effective, weight.sign() * (weight.abs() - g).relu(), atol=1e-12)
        assert torch.equal(effective != 0, method.final_masks(context)[name])


def test_gradients_against_finite_differences() -> None:
    context = context_of()
    method = attached(context, initial=-1.0)
    names = [c.name for c in context.connections]
    own = list(method.parameter_groups()[0].parameters)

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        effective = method.effective(dict(zip(names, tensors[:2], strict=True)), context.connections)
        return tuple(effective[name].sin() for name in names)

    assert torch.autograd.gradcheck(function, [*(context.raw[n].clone().requires_grad_() for n in names), *own])


@pytest.mark.parametrize(("threshold", "kept"), [(0.01, None), (0.99, 27)])
def test_never_less_is_left_than_asked_for(threshold: float, kept: int | None) -> None:
    """Thresholds that close more than may be: those nearest below are kept too, in the order of what is lacking."""
    context = context_of(budget=DensityBudget.of(0.5, context_of().connections))
    context.raw = {name: 0.5 * weight for name, weight in context.raw.items()}
    method = attached(context)
    thresholds(method, a=threshold, b=threshold / 2)
    masks = method.final_masks(context)
    margin = {"a": context.raw["a"].abs() - threshold, "b": context.raw["b"].abs() - threshold / 2}
    if kept is None:
        assert all(torch.equal(masks[name], margin[name] > 0) for name in masks)
        return
    assert sum(int((margin[name] > 0).sum()) for name in masks) < sum(int(m.sum()) for m in masks.values()) == kept
    every, mask = (torch.cat([each["a"].flatten(), each["b"].flatten()]) for each in (margin, masks))
    assert every[mask].min() > every[~mask].max()


def test_decay_raises_thresholds_where_the_loss_does_not_care() -> None:
    context = context_of()
    method = attached(context, decay=2.0, lr=0.1, initial=-4.0)
    (group,) = method.parameter_groups()
    optimizer = torch.optim.AdamW(group.parameters, lr=group.lr, weight_decay=group.weight_decay)
    for parameter in group.parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert [s.item() for s in group.parameters] == pytest.approx([-4 * (1 - 0.1 * 2)] * 2)
    assert group.in_network is False and group.schedule == "same"


def test_state_is_restored() -> None:
    context = context_of()
    method, again = attached(context), attached(context, initial=-9.0)
    thresholds(method, a=0.3, b=0.7)
    again.load_state_dict(method.state_dict())
    assert again.final_masks(context).digest() == method.final_masks(context).digest()
    outward = random_like(context)
    first, second = (gradients(one, context, outward)[0] for one in (method, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_conformance() -> None:
    for decay, initial in ((0.0, -5.0), (5.0, -2.0), (0.0, -0.1)):
        check_method(SoftThreshold, {"decay": decay, "initial": initial})
    check_method(SoftThreshold, {"recovery": 0})
