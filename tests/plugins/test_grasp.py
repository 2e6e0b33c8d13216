from typing import Any

import pytest
import torch
from pruning import Bench
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness import Architecture, Band, Connection, DataSpec, NoOptions, Prune, Train, TrainingBudget
from harness.testing.toy import ToyArchitecture, ToyData
from harness_architectures.gpt2 import Gpt2, Gpt2Options
from harness_architectures.loss import mean_loss
from harness_initialisation.grasp import Grasp, GraspOptions

pytestmark = pytest.mark.usefixtures("float64")

SPEC = DataSpec("classification", (4,), 3, examples=40)


class TwoLayers(Architecture[NoOptions]):
    """4 inputs, 5 tanh units, 3 classes, with biases: second derivatives do not vanish anywhere."""

    kinds = ("classification",)

    def build(self) -> nn.Module:
        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3)

            def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
                logits: Tensor = self.second(self.first(inputs).tanh())
                return logits if targets is None else cross_entropy(logits, targets)

        return Network()

    def connections(self) -> list[Connection]:
        bands = Band("inputs", 4, 0), Band("hidden", 5, 1), Band("classes", 3, 2)
        second = Connection("second", "second.weight", "classifier", bands[1], bands[2], (2, 5), rows=(1, 3))
        return [Connection("first", "first.weight", "dense", bands[0], bands[1], (5, 4)), second]


class Single(Architecture[NoOptions]):
    """One input of 1, two logits: its weights (a, b)."""

    kinds = ("classification",)

    def build(self) -> nn.Module:
        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.tensor([[1.0], [2.0]]))

            def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
                logits = inputs @ self.weight.T
                return logits if targets is None else mean_loss(logits, targets)

        return Network()

    def connections(self) -> list[Connection]:
        return [Connection("only", "weight", "dense", Band("one", 1, 0), Band("two", 2, 1), (2, 1))]


class One:
    """The input 1 of class 0, or of a target that is given."""

    def __init__(self, *target: float) -> None:
        self.target = torch.tensor(target or 0)

    def __len__(self) -> int:
        return 1

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones(len(indices), 1), self.target.expand(len(indices), *self.target.shape)


class Tokens:
    """Random windows and the tokens that come next."""

    def __len__(self) -> int:
        return 20

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        tokens = torch.randint(11, (20, 7), generator=torch.Generator().manual_seed(1))[indices]
        return tokens[:, :-1], tokens[:, 1:]


def bench(density: float = 0.4, **options: Any) -> Bench:
    return Bench(Grasp(GraspOptions(**options)), TwoLayers(NoOptions(), SPEC), ToyData(SPEC), density)


def loss_of(bench: Bench, flat: Tensor, data: list[tuple[Tensor, Tensor]], temperature: float) -> Tensor:
    """The sum of the batches' losses with the weights in scope, 30 numbers, in place of the network's."""
    second = bench.context.model.get_parameter("second.weight").detach()
    weights = {
        "first.weight": flat[:20].view(5, 4),
        "second.weight": torch.cat([second[:1], flat[20:].view(2, 5)]),
    }
    losses = [
        cross_entropy(torch.func.functional_call(bench.context.model, weights, (inputs,)) / temperature, targets)
        for inputs, targets in data
    ]
    return torch.stack(losses).sum()


def flat_weights(bench: Bench) -> Tensor:
    return torch.cat([bench.context.weight(c).reshape(-1) for c in bench.connections]).clone()


@pytest.mark.parametrize("temperature", [200.0, 1.0])
def test_scores_are_weights_times_the_whole_hessian_times_the_gradient(temperature: float) -> None:
    found = bench(batches=3, temperature=temperature)
    with found.calibrating() as context:
        data = list(context.batches(3))
    flat = flat_weights(found)
    hessian = torch.autograd.functional.hessian(lambda w: loss_of(found, w, data, temperature), flat)
    gradient = torch.autograd.functional.jacobian(lambda w: loss_of(found, w, data, temperature), flat)
    expected = flat * (hessian @ gradient)
    scores = torch.cat([score.reshape(-1) for score in found.scores().values()])
    torch.testing.assert_close(scores, expected, rtol=1e-8, atol=0)


def test_what_stays_is_what_gradient_flow_would_lose_most_by() -> None:
    """The squared norm of the gradient when a weight is made a little smaller, for each by itself: no Hessian."""
    found = bench(density=0.4, batches=2, temperature=1.0)
    with found.calibrating() as context:
        data = list(context.batches(2))
    flat = flat_weights(found)

    def norm(weights: Tensor) -> float:
        weights = weights.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss_of(found, weights, data, 1.0), weights)
        return gradient.square().sum().item()

    fall = []
    for i in range(30):
        smaller = flat.clone()
        smaller[i] *= 1 - 1e-6
        fall.append(norm(flat) - norm(smaller))
    (masks,) = found.prune()
    kept = torch.cat([mask.reshape(-1) for mask in masks.values()])
    assert kept.nonzero()[:, 0].tolist() == sorted(torch.tensor(fall).argsort(descending=True)[:12].tolist())
    assert min(fall) < 0 < max(fall)


def test_the_sign_by_hand() -> None:
    """Target 0, logits a = 1 and b = 2: to remove a raises the loss and its gradient, to remove b lowers both.

    With p = 1 / (1 + exp(b - a)): g = (p - 1, 1 - p), H = p (1 - p) [[1, -1], [-1, 1]], so w Hg = -+2 w p (1 - p)^2.
    """
    spec = DataSpec("classification", (1,), 2, examples=1)
    found = Bench(Grasp(GraspOptions(temperature=1.0)), Single(NoOptions(), spec), One(), 0.5, batch_size=1)
    p = 1 / (1 + torch.tensor(1.0).exp().item())
    assert found.scores()["only"][:, 0].tolist() == pytest.approx([-2 * p * (1 - p) ** 2, 4 * p * (1 - p) ** 2])
    (masks,) = found.prune()
    assert masks["only"].tolist() == [[False], [True]]


def test_the_temperature_divides_logits() -> None:
    """By the same hand: g and H have factors 1 / T and 1 / T^2, and p is that of (b - a) / T."""
    spec = DataSpec("classification", (1,), 2, examples=1)
    found = Bench(Grasp(GraspOptions()), Single(NoOptions(), spec), One(), 0.5, batch_size=1)
    p = 1 / (1 + torch.tensor(1 / 200).exp().item())
    expected = [factor * p * (1 - p) ** 2 / 200**3 for factor in (-2, 4)]
    assert found.scores()["only"][:, 0].tolist() == pytest.approx(expected)


def test_numbers_have_the_loss_of_training_and_no_temperature() -> None:
    """Outputs 1 and 2, targets 3 and 1: the mean of squares has g = (-2, 1) and H = 1, so w Hg = (-2, 2)."""
    spec = DataSpec("regression", (1,), 2, examples=1)
    found = Bench(Grasp(GraspOptions()), Single(NoOptions(), spec), One(3.0, 1.0), 0.5, batch_size=1)
    assert found.scores()["only"][:, 0].tolist() == pytest.approx([-2, 2])


def test_counts_are_exact() -> None:
    toy = ToyArchitecture(NoOptions(), DataSpec("classification", (8,), 4, examples=64))
    for distribution, counts in (("global", None), ("uniform", {"layer0": 8, "layer1": 16, "layer2": 8})):
        method = Grasp(GraspOptions.model_validate({"distribution": distribution, "per_class": 3}))
        (masks,) = Bench(method, toy, ToyData(toy.data), 0.125).prune()
        assert sum(masks.kept.values()) == 32 and (counts is None or masks.kept == counts)


def test_program_and_what_determines_it() -> None:
    method = Grasp(GraspOptions(distribution="erk"))
    assert method.program(TrainingBudget(9, 4, 0.1)) == [Prune(distribution="erk"), Train(9, hooks=False)]
    expected = {"batches": 1, "batch_size": None, "per_class": None, "temperature": 200.0}
    assert method.influences(Prune()) == expected


def test_attention_is_differentiated_twice() -> None:
    """A language network, against the product of its Hessian with its gradient by finite differences of gradients."""
    language = DataSpec("language", (6,), 11, examples=20, tokens=6)
    network = Gpt2(Gpt2Options(n_layers=1, width=8, heads=2), language)
    found = Bench(Grasp(GraspOptions(temperature=1.0)), network, Tokens(), 0.3, batch_size=4)
    scores = found.scores()
    model = found.context.model
    names = list(dict.fromkeys(c.parameter for c in found.connections))
    parameters = [model.get_parameter(name) for name in names]
    with found.calibrating() as context:
        (batch,) = context.batches(1)

        def gradients() -> list[Tensor]:
            return list(torch.autograd.grad(context.loss(*batch), parameters))

        gradient, ends = gradients(), []
        for sign in (1, -1):
            with torch.no_grad():
                for parameter, g in zip(parameters, gradient, strict=True):
                    parameter.add_(g, alpha=sign * 1e-5)
            ends.append(gradients())
            with torch.no_grad():
                for parameter, g in zip(parameters, gradient, strict=True):
                    parameter.sub_(g, alpha=sign * 1e-5)
    product = {name: (up - down) / 2e-5 for name, up, down in zip(names, *ends, strict=True)}
    for c in found.connections:
        expected = found.context.weight(c) * c.region(product[c.parameter])
        torch.testing.assert_close(scores[c.name], expected, rtol=1e-5, atol=1e-10)
    (masks,) = found.prune()
    assert sum(masks.kept.values()) == found.budget.keep
