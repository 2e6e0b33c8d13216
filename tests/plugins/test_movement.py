from typing import Any

import pytest
import torch
from learned import context_of, gradients, random_like
from pydantic import ValidationError
from torch import Tensor

from harness import DensityBudget, MethodContext, Train, TrainingBudget
from harness.testing import check_method
from harness_learned.movement import Movement, MovementOptions
from harness_learned.soft_movement import SoftMovement, SoftMovementOptions

SHAPES = {"a": (10, 20), "b": (10, 10)}


def attached(context: MethodContext, **options: Any) -> Movement:
    method = Movement(MovementOptions(**options))
    method.attach(context)
    return method


def softly(context: MethodContext, **options: Any) -> SoftMovement:
    method = SoftMovement(SoftMovementOptions(**options))
    method.attach(context)
    return method


def given(method: Any, scores: dict[str, Tensor]) -> None:
    method.load_state_dict({"scores": scores, "left": method.left})


def counts_at(method: Any, context: MethodContext, step: int) -> dict[str, int]:
    context.step = step
    effective = method.effective(context.raw, context.connections)
    return {name: int(weight.count_nonzero()) for name, weight in effective.items()}


def test_gradients_are_those_of_the_paper_masked_or_not() -> None:
    context = context_of({"a": (2, 2)}, DensityBudget(2, 0.5))
    context.raw = {"a": torch.tensor([[1.0, -2.0], [3.0, 4.0]], dtype=torch.float64)}
    method = attached(context)
    given(method, {"a": torch.tensor([[0.1, 0.4], [0.3, 0.2]], dtype=torch.float64)})
    context.step = 99
    effective, raw = gradients(method, context, {"a": torch.tensor([[5.0, 6.0], [7.0, 8.0]], dtype=torch.float64)})
    assert effective["a"].tolist() == [[0, -2], [3, 0]]
    assert raw["a"].tolist() == [[0, 6], [7, 0]]  # dL/dW' * M
    grad = method.importance["a"].grad
    assert grad is not None and grad.tolist() == [[5, -12], [21, 32]]  # dL/dW' * W


def test_scores_fall_where_weights_go_to_zero() -> None:
    """Adam's first step is its rate times the gradient's sign: score and weight move by it, pruned weights not."""
    context = context_of(budget=DensityBudget.of(0.5, context_of().connections))
    method, outward = attached(context, start=0.0, end=0.0), random_like(context)
    (group,) = method.parameter_groups()
    optimizer = torch.optim.Adam(group.parameters, lr=group.lr)
    effective, raw = gradients(method, context, outward)
    optimizer.step()
    for name, weight in context.raw.items():
        expected = -0.01 * (outward[name] * weight).sign()
        assert torch.allclose(method.importance[name], expected, atol=1e-9)
        towards_zero = -outward[name] * weight < 0  # what gradient descent does to the weight
        assert torch.equal(method.importance[name] < 0, towards_zero)
        assert torch.equal(raw[name] == 0, effective[name] == 0)


@pytest.mark.parametrize("distribution", ["global", "uniform"])
def test_counts_follow_the_cubic_at_every_step(distribution: str) -> None:
    context = context_of(SHAPES, DensityBudget.of(0.1, context_of(SHAPES).connections))
    method = attached(context, start=0.2, end=0.6, distribution=distribution)
    given(method, random_like(context))
    # Left of 270 weights: 1, (3/4)^3, (1/2)^3, (1/4)^3 and 0 of them.
    for step, kept in {0: 300, 19: 300, 20: 300, 30: 144, 40: 64, 50: 34, 60: 30, 61: 30, 99: 30}.items():
        found = counts_at(method, context, step)
        assert sum(found.values()) == kept
        assert {name: mask.sum().item() for name, mask in method.final_masks(context).items()} == found
        if distribution == "uniform":
            assert found["a"] == round(kept * 2 / 3)


def test_the_highest_scores_stay_and_masked_weights_come_back() -> None:
    context = context_of(SHAPES, DensityBudget.of(0.1, context_of(SHAPES).connections))
    method = attached(context, distribution="global")
    scores = random_like(context)
    given(method, scores)
    counts_at(method, context, 90)
    masks = method.final_masks(context)
    every = torch.cat([scores[name].flatten() for name in scores])
    kept = torch.cat([masks[name].flatten() for name in scores])
    assert every[kept].min() > every[~kept].max()
    given(method, {name: -score for name, score in scores.items()})
    counts_at(method, context, 99)
    again = method.final_masks(context)
    assert sum(int((again[name] & ~masks[name]).sum()) for name in masks) == 30


def test_equal_scores_are_kept_from_the_first_on() -> None:
    context = context_of(SHAPES, DensityBudget.of(0.1, context_of(SHAPES).connections))
    method = attached(context)
    assert counts_at(method, context, 80) == {"a": 20, "b": 10}
    for name, count in {"a": 20, "b": 10}.items():
        flat = method.final_masks(context)[name].flatten()
        assert flat[:count].all() and not flat[count:].any()


def test_counts_of_a_matched_cell_are_met_in_every_connection() -> None:
    context = context_of(SHAPES, DensityBudget(31, 31 / 300, {"a": 30, "b": 1}))
    method = attached(context, start=0.2, end=0.6)
    given(method, random_like(context))
    assert counts_at(method, context, 40) == {"a": 30 + 21, "b": 1 + 12}  # 170 / 8 and 99 / 8
    assert counts_at(method, context, 60) == {"a": 30, "b": 1}


@pytest.mark.parametrize("soft", [False, True])
def test_a_restored_method_stands_where_the_schedule_was(soft: bool) -> None:
    context = context_of(SHAPES, None if soft else DensityBudget.of(0.1, context_of(SHAPES).connections))
    make = softly if soft else attached
    method = make(context, start=0.0, end=1.0)
    given(method, {name: 3 * score - 2 for name, score in random_like(context).items()})
    counts_at(method, context, 50)
    kept = sum(int(mask.sum()) for mask in method.final_masks(context).values())
    assert 0 < kept < 300 and (soft or kept == 30 + round(270 * (1 - 50 / 99) ** 3))
    fresh = context_of(SHAPES, context.budget)
    again = make(fresh, start=0.0, end=1.0)
    again.load_state_dict(method.state_dict())
    assert fresh.step == 0
    assert again.final_masks(fresh).digest() == method.final_masks(context).digest()


def test_soft_masks_and_penalty_against_loops() -> None:
    context = context_of()
    method = softly(context, start=0.0, end=0.5, threshold=0.3, strength=7.0)
    scores = {name: 2 * score for name, score in random_like(context).items()}
    given(method, scores)
    context.step = 25
    effective, _ = gradients(method, context, random_like(context, 2))
    for parameter in method.importance.values():
        parameter.grad = None
    grown = 1 - 0.5**3
    (penalty,) = method.regularizers(context).values()
    penalty.backward()  # type: ignore[no-untyped-call]
    total = 0.0
    for name, score in scores.items():
        for i in range(score.shape[0]):
            for j in range(score.shape[1]):
                p = 1 / (1 + float(torch.exp(-score[i, j])))
                assert float(effective[name][i, j]) == (float(context.raw[name][i, j]) if p > 0.3 * grown else 0)
                total += p / score.numel() / 2
                grad = method.importance[name].grad
                assert grad is not None
                assert float(grad[i, j]) == pytest.approx(7 * grown * p * (1 - p) / score.numel() / 2)
    assert float(penalty.detach()) == pytest.approx(7 * grown * total)


def test_soft_masks_are_full_at_first() -> None:
    context = context_of()
    method = softly(context)
    assert counts_at(method, context, 0) == {"a": 30, "b": 24}
    assert float(method.regularizers(context)["movement"].detach()) == 0


@pytest.mark.parametrize(("shift", "kept"), [(-4.0, 27), (4.0, 54)])
def test_soft_masks_never_lack_what_is_asked_for(shift: float, kept: int) -> None:
    """All closed or all open at the threshold: the highest scores are there, and no less is left for the pruning."""
    context = context_of(budget=DensityBudget.of(0.5, context_of().connections))
    method, scores = softly(context), random_like(context)
    given(method, {name: 0.1 * score + shift for name, score in scores.items()})
    context.step = 99
    method.effective(context.raw, context.connections)
    masks = method.final_masks(context)
    assert sum(int(mask.sum()) for mask in masks.values()) == kept
    for name, mask in masks.items() if kept == 27 else ():
        assert int(mask.sum()) == mask.numel() // 2 and scores[name][mask].min() > scores[name][~mask].max()


def test_what_phases_there_are() -> None:
    (only,) = Movement(MovementOptions()).program(TrainingBudget(100, 8, 0.1))
    assert only == Train(100)
    (only,) = SoftMovement(SoftMovementOptions()).program(TrainingBudget(100, 8))
    assert only == Train(100)


def test_a_start_after_the_end_is_refused() -> None:
    for options in (MovementOptions, SoftMovementOptions):
        with pytest.raises(ValidationError, match=r"start 0\.8 lies after end 0.2"):
            options(start=0.8, end=0.2)


def test_conformance() -> None:
    for distribution in ("global", "erk"):
        check_method(Movement, {"distribution": distribution})
    for strength in (0.0, 100.0):
        check_method(SoftMovement, {"strength": strength, "lr": 0.5})
