"""Top-KAST: its sets, against a naive loop, and its operations."""

from __future__ import annotations

import pytest
import torch
from double_training import AdamW, DoubleTraining, Sgd, only, ranked
from pydantic import ValidationError
from torch import Tensor

from harness import Connection, Train, TrainingBudget
from harness.results.flops import Flops, Trained, sparse_training_flops
from harness.testing import check_method
from harness_dynamic.top_kast import TopKast, TopKastOptions

COUNTS = [(13, 26), (25, 51), (13, 26)]
"""A fifth of 64, 128 and 64 weights, 51 in all, and what learns: 13, 26 and 13 more."""


def sets(weights: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    orders = [ranked(w.abs(), w == w, largest=True) for w in weights[:3]]
    found = [[only(o[: n[k]], w.shape) for o, w, n in zip(orders, weights, COUNTS, strict=False)] for k in (0, 1)]
    return found[0], found[1]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_it_computes_what_a_naive_loop_does(optimizer: str) -> None:
    """Gradients are taken at the weights of A, and given to B; the suite's decay is not."""
    method = TopKast(TopKastOptions(exploration=0.2, interval=3, regularization=0.02))
    rate = 0.4 if optimizer == "sgd" else 0.02
    run = DoubleTraining(method, 0.2, 20, optimizer=optimizer, lr=rate, weight_decay=0.5)
    values, moved = run.raw, 0
    naive = Sgd(values, 0.4, 0.9, 0.0) if optimizer == "sgd" else AdamW(values, 0.02, (0.9, 0.999), 1e-8, 0.0)
    a, b = sets(values)
    for t in range(20):
        effective = [torch.where(a[i], value, 0.0) if i < 3 else value for i, value in enumerate(values)]
        gradients = run.gradients(effective, t)
        for i in range(3):
            decay = a[i].double() * 0.02 + (b[i] & ~a[i]).double() * 0.02 / (51 / 256)
            gradients[i] = torch.where(b[i], gradients[i], 0.0) + decay * values[i]
        naive.step(values, gradients)
        run.step()
        for found, expected in zip(run.raw, values, strict=True):
            assert torch.allclose(found, expected, rtol=0, atol=1e-11), t
        if (t + 1) % 3 == 0:
            old, (a, b) = a, sets(values)
            moved += sum(int((new & ~before).sum()) for new, before in zip(a, old, strict=True))
        masks = method.final_masks(run.context)
        assert all(torch.equal(masks[c.name], a[i]) for i, c in enumerate(run.connections))
    assert moved > 5


def test_other_weights_keep_their_value_and_sets_are_nested() -> None:
    method = TopKast(TopKastOptions(exploration=0.1, interval=50, regularization=0.0, distribution="erk"))
    run = DoubleTraining(method, 0.3, 10, optimizer="sgd", lr=0.5, momentum=0.0)
    before, kept = run.raw, 0
    for _ in range(10):
        run.step()
    state = method.state_dict()
    for c, old, new in zip(run.connections, before, run.raw, strict=False):
        a, b = state["a"][c.name], state["b"][c.name]
        assert bool((a <= b).all()) and torch.equal(old[~b], new[~b]) and not torch.equal(old[b], new[b])
        assert int(b.sum()) == min(c.size, int(a.sum()) + round(0.1 * c.size))
        kept += int(a.sum())
    assert kept == run.budget.keep


def test_no_set_is_chosen_after_the_last_step() -> None:
    method = TopKast(TopKastOptions(interval=5))
    run = DoubleTraining(method, 0.2, 5, optimizer="sgd", lr=1.0)
    before = method.final_masks(run.context)
    for _ in range(5):
        run.step()
    assert method.final_masks(run.context) is before


def test_a_step_costs_two_forward_sets_and_a_backward_one() -> None:
    """2 f_A + f_B, with A 0.2 and B 0.5 of 256 weights that take part in 2 operations each."""
    method = TopKast(TopKastOptions(exploration=0.3))
    run = DoubleTraining(method, 0.2, 2, lr=0.01)
    learning = sum(int(mask.sum()) for mask in method.state_dict()["b"].values())
    assert method.dense_gradient_share == pytest.approx(0.3 / 0.8, abs=0.01)
    flops = Flops(512, {c.name: 2.0 for c in run.connections}, [])
    connections: tuple[Connection, ...] = run.connections
    densities = {c.name: run.budget.keep / 256 for c in connections}
    found = sparse_training_flops(flops, connections, [Trained(1, densities, False, method.dense_gradient_share)])
    assert found == pytest.approx(2 * 2 * run.budget.keep + 2 * learning, rel=1e-12)
    DoubleTraining(method, 1.0, 2, lr=0.01)
    assert method.dense_gradient_share == 0.0


def test_the_program_and_the_state() -> None:
    method = TopKast(TopKastOptions(interval=2))
    assert method.program(TrainingBudget(9, 4, 0.1)) == [Train(9, weight_decay=0.0)]
    run = DoubleTraining(method, 0.2, 9, optimizer="sgd", lr=0.5)
    for _ in range(4):
        run.step()
    other = TopKast(TopKastOptions(interval=2))
    DoubleTraining(other, 0.2, 9)
    raw = {c.parameter: run.weights.raw[c.parameter] for c in run.connections}
    fresh = other.effective(raw, run.connections)
    other.load_state_dict(method.state_dict())
    restored, expected = (m.effective(raw, run.connections) for m in (other, method))
    assert all(torch.equal(restored[name], expected[name]) for name in raw)
    assert not all(torch.equal(fresh[name], expected[name]) for name in raw)


def test_options_are_checked() -> None:
    for wrong in ({"exploration": -0.1}, {"interval": 0}, {"regularization": -1}, {"distribution": "global"}):
        with pytest.raises(ValidationError):
            TopKastOptions.model_validate(wrong)


def test_conformance() -> None:
    for options in ({"interval": 2}, {"exploration": 1.0, "regularization": 0.0, "distribution": "erk"}):
        check_method(TopKast, options)
