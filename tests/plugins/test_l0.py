from dataclasses import replace
from math import exp, log
from typing import Any

import pytest
import torch
from learned import connection, context_of, gradients, random_like
from torch import Tensor

from harness import Architecture, DensityBudget, MethodContext
from harness.testing import check_method
from harness_learned.l0 import L0, L0Options


def attached(context: MethodContext, **options: Any) -> L0:
    method = L0(L0Options(**options))
    method.attach(context)
    return method


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def test_gates_are_drawn_by_the_formula() -> None:
    """Against a loop over the very same uniform numbers."""
    context = context_of()
    method = attached(context)
    method.load_state_dict(random_like(context))
    context.step, context.phase = 7, 2
    effective, raw = gradients(method, context, {name: torch.ones_like(w) for name, w in context.raw.items()})
    drawn = torch.rand(54, generator=context.generator("noise.2.7"), dtype=torch.float64).split([30, 24])
    some = set()
    for c, part in zip(context.connections, drawn, strict=True):
        uniform = part.reshape(c.shape)
        for i in range(c.shape[0]):
            for j in range(c.shape[1]):
                u, log_a = float(uniform[i, j]), float(method.state_dict()[c.name][i, j])
                s = sigmoid((log(u) - log(1 - u) + log_a) / (2 / 3))
                z = min(1.0, max(0.0, s * (1.1 + 0.1) - 0.1))
                assert float(effective[c.name][i, j]) == pytest.approx(float(context.raw[c.name][i, j]) * z, abs=1e-12)
                assert float(raw[c.name][i, j]) == pytest.approx(z, abs=1e-12)
                some.add(z if z in (0, 1) else 0.5)
    assert some == {0, 0.5, 1}


def test_penalty_is_the_expected_number_of_weights_times_lambda_over_n() -> None:
    context = context_of(examples=50)
    method = attached(context, strength=3.0)
    scores = random_like(context)
    method.load_state_dict(scores)
    (penalty,) = method.regularizers(context).values()
    expected = sum(sigmoid(float(a) - 2 / 3 * log(0.1 / 1.1)) for s in scores.values() for a in s.flatten())
    assert penalty.item() == pytest.approx(3.0 / 50 * expected)


def test_penalty_is_what_draws_give_on_the_mean() -> None:
    """P(z > 0) and P(z = 1) of gates at five locations, 20,000 draws each: three standard errors are 0.011."""
    places = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0], dtype=torch.float64)
    context = context_of({"a": (2000, 5)}, examples=1)
    method = attached(context, strength=1.0)
    method.load_state_dict({"a": places.expand(2000, 5)})
    context.raw = {"a": torch.ones(2000, 5, dtype=torch.float64)}
    drawn = []
    for context.step in range(10):
        drawn.append(method.effective(context.raw, context.connections)["a"].detach())
    z = torch.cat(drawn)
    penalty = method.regularizers(context)["l0"].item() / 2000
    assert float((z > 0).double().mean(0).sum()) == pytest.approx(penalty, abs=0.025)
    for i, place in enumerate(places.tolist()):
        assert float((z[:, i] > 0).double().mean()) == pytest.approx(sigmoid(place + 2 / 3 * log(11)), abs=0.011)
        assert float((z[:, i] == 1).double().mean()) == pytest.approx(sigmoid(place - 2 / 3 * log(11)), abs=0.011)


def test_gates_of_evaluation_by_hand() -> None:
    context = context_of({"a": (1, 4)})
    context.raw = {"a": torch.full((1, 4), 2.0, dtype=torch.float64)}
    method = attached(context)
    # The sigmoid is 1/12 or less: 0; 1/2: 0.5; 3/4: 0.8; 11/12 or more: 1.
    odds = torch.tensor([[1 / 12, 1.0, 3.0, 12.0]], dtype=torch.float64)
    method.load_state_dict({"a": odds.log()})
    with torch.no_grad():
        effective = method.effective(context.raw, context.connections)["a"]
    assert torch.allclose(effective, torch.tensor([[0.0, 1.0, 1.6, 2.0]], dtype=torch.float64), atol=1e-12)
    assert torch.equal(method.final(context.connections[0], context.raw["a"]), effective)
    assert method.final_masks(context)["a"].tolist() == [[False, True, True, True]]
    assert method.soft_densities() is None


@pytest.mark.parametrize("gates", ["weight", "input"])
def test_gradients_against_finite_differences(gates: str) -> None:
    context = context_of()
    method = attached(context, gates=gates)
    names, own = [c.name for c in context.connections], list(method.parameter_groups()[0].parameters)

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        effective = method.effective(dict(zip(names, tensors[:2], strict=True)), context.connections)
        return (*(effective[name].sin() for name in names), *method.regularizers(context).values())

    assert torch.autograd.gradcheck(function, [*(context.raw[n].clone().requires_grad_() for n in names), *own])


def test_noise_is_fresh_in_every_step_and_phase_and_the_same_after_a_resumption() -> None:
    context = context_of()
    context.raw = {name: torch.ones_like(weight) for name, weight in context.raw.items()}

    def gates(method: L0, phase: int, step: int) -> Tensor:
        context.phase, context.step = phase, step
        return method.effective(context.raw, context.connections)["b"].detach()

    method, again = attached(context), attached(context)
    torch.manual_seed(1)
    before = gates(method, 0, 4)
    torch.manual_seed(2)
    assert torch.equal(gates(again, 0, 4), before)
    assert not torch.equal(gates(again, 0, 5), before) and not torch.equal(gates(again, 1, 4), before)


def test_input_gates_are_one_for_each_column_and_cost_all_its_weights() -> None:
    context = context_of(examples=10)
    method = attached(context, gates="input", strength=2.0)
    assert {name: tuple(log_a.shape) for name, log_a in method.state_dict().items()} == {"a": (1, 5), "b": (1, 6)}
    a, b = (method.state_dict()[name] for name in "ab")
    expected = 6 * sum(sigmoid(float(x) + 2 / 3 * log(11)) for x in a.flatten())
    expected += 4 * sum(sigmoid(float(x) + 2 / 3 * log(11)) for x in b.flatten())
    assert method.regularizers(context)["l0"].item() == pytest.approx(0.2 * expected)
    method.load_state_dict({"a": torch.full((1, 5), -9.0), "b": torch.tensor([[9.0, -9, 9, -9, -9, 9]])})
    masks = method.final_masks(context)
    assert not masks["a"].any() and masks["b"].tolist() == [[True, False, True, False, False, True]] * 4


def test_kernels_share_their_input_gate() -> None:
    context = context_of({"conv": (4, 3, 2, 2)})
    method = attached(context, gates="input")
    method.load_state_dict({"conv": torch.tensor([9.0, -9, 9]).reshape(1, 3, 1, 1)})
    assert method.final_masks(context)["conv"].sum((0, 2, 3)).tolist() == [16, 0, 16]


def test_input_gates_of_grouped_weights_are_refused() -> None:
    plain = connection("c", (4, 3, 1, 1))
    grouped = replace(plain, source=replace(plain.source, size=6))
    architecture: Architecture[Any] = None  # type: ignore[assignment]
    method = L0(L0Options(gates="input"))
    assert method.unsupported(architecture, [plain]) is None
    assert "'c' is grouped" in str(method.unsupported(architecture, [plain, grouped]))
    assert L0(L0Options()).unsupported(architecture, [grouped]) is None
    assert "nothing to gate" in str(method.unsupported(architecture, []))


def test_drop_rates_at_first() -> None:
    context = context_of({"a": (50, 50), "b": (50, 50)})
    state = attached(context).state_dict()
    assert float(state["a"].mean()) == pytest.approx(log(0.8 / 0.2), abs=1e-3)
    assert float(state["b"].mean()) == pytest.approx(0, abs=1e-3)
    assert float(state["b"].std()) == pytest.approx(0.01, rel=0.05)
    assert not torch.equal(state["a"] - log(4), state["b"])


@pytest.mark.parametrize(("shift", "kept"), [(-5.0, 27), (5.0, 54)])
def test_never_less_is_left_than_asked_for(shift: float, kept: int) -> None:
    context = context_of(budget=DensityBudget.of(0.5, context_of().connections))
    method, log_a = attached(context), random_like(context)
    method.load_state_dict({name: 0.1 * a + shift for name, a in log_a.items()})
    masks = method.final_masks(context)
    every, mask = (torch.cat([each["a"].flatten(), each["b"].flatten()]) for each in (log_a, masks))
    assert int(mask.sum()) == kept and (kept == 54 or every[mask].min() > every[~mask].max())


def test_conformance() -> None:
    for gates in ("weight", "input"):
        for strength in (0.0, 10.0):
            check_method(L0, {"gates": gates, "strength": strength, "lr": 0.5})
