"""The training loop, against loops written out naively in float64."""

import pickle
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from harness import Connection, DensityBudget, Masks, MethodContext, NoOptions, SparsityMethod, select
from harness.core.phases import Train
from harness.errors import Diverged
from harness.registry.plugins import load
from harness.suites.schema import Training
from harness.training.distributed import Substrate
from harness.training.sampler import Sampler
from harness.training.trainer import Clock, StepReport, Trainer
from harness.training.weights import Weights

CPU = torch.device("cpu")
TOY = load([Path(__file__).parents[1] / "toy_plugin.py"])
NetArchitecture = TOY.get("architecture", "net")
Soft = TOY.get("method", "soft")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    yield


class Data:
    """40 examples of noise; example ``bad`` is NaN."""

    def __init__(self, dtype: torch.dtype = torch.float64, bad: int | None = None) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(40, 6, generator=generator, dtype=torch.float64).to(dtype)
        self.targets = torch.randint(3, (40,), generator=generator)
        if bad is not None:
            self.inputs[bad] = torch.nan

    def __len__(self) -> int:
        return 40

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.inputs[indices], self.targets[indices]


def network(dtype: torch.dtype = torch.float64) -> tuple[nn.Module, tuple[Connection, ...]]:
    architecture = NetArchitecture(NetArchitecture.Options(dropout=0, norm=False), None)
    torch.manual_seed(0)
    return architecture.build().to(dtype), tuple(architecture.connections())


def context_of(module: nn.Module, weights: Weights) -> MethodContext:
    return MethodContext(module, weights.connections, weights.raw, weights.current, None, None, 5, CPU)


def training(**options: Any) -> Training:
    base = {"steps": 10, "batch_size": 12, "optimizer": "sgd", "momentum": 0.0, "lr": 0.2, "schedule": "linear"}
    return Training.model_validate({**base, **options})


def trainer_of(
    weights: Weights, settings: Training, steps: int, method: Any = None, data: Data | None = None, position: int = 0
) -> Trainer:
    return Trainer(
        weights=weights,
        method=method,
        context=context_of(weights.module, weights) if method is not None else None,
        data=data or Data(),
        sampler=Sampler(40, 1),
        training=settings,
        phase=Train(steps),
        substrate=Substrate(0, 1, CPU),
        position=position,
    )


def nothing(_: StepReport) -> None:
    pass


def some_masks(connections: tuple[Connection, ...], density: float = 0.5) -> Masks:
    generator = torch.Generator().manual_seed(3)
    scores = {c.name: torch.rand(c.shape, generator=generator) for c in connections}
    return select(scores, DensityBudget.of(density, connections), connections, "global")


def close(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).norm() <= 1e-10 * b.norm())


# --- the whole loop against naive ones --------------------------------------------------------


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_composed_training_equals_a_naive_loop(micro_batches: int) -> None:
    """Nine steps: clipping after the pull-back and without the method's own parameters, decay, own Adam."""
    module, connections = network()
    start = {name: p.detach().clone() for name, p in module.named_parameters()}
    method = Soft(Soft.Options())
    weights = Weights(module, connections, None, method)
    method.attach(context_of(module, weights))
    logits = {name: value.detach().clone().requires_grad_() for name, value in method.logits.items()}
    settings = training(micro_batches=micro_batches, clip_norm=0.1, weight_decay=0.05)
    trainer = trainer_of(weights, settings, 9, method, position=7)
    trainer.run(nothing)

    raw = {name: value.clone().requires_grad_() for name, value in start.items()}
    own = torch.optim.AdamW(logits.values(), lr=0.02, weight_decay=0.0, foreach=False)
    reference, data, sampler = network()[0], Data(), Sampler(40, 1)
    for step in range(9):
        rate = 1 - step / 9
        gates = {name: torch.sigmoid(value) for name, value in logits.items()}
        effective = {
            **raw,
            "first.weight": raw["first.weight"] * gates["first"],
            "second.weight": raw["second.weight"] * gates["second"],
            "out.weight": raw["out.weight"] * torch.cat([gates["out.first"], gates["out.second"]], 1),
        }
        loss = functional_call(reference, effective, data.batch(sampler.indices(7 + step * 12, 12)))
        loss = loss + 0.1 * sum(gate.mean() for gate in gates.values()) / 4
        gradients = dict(zip(raw, torch.autograd.grad(loss, list(raw.values()), retain_graph=True), strict=True))
        for value, gradient in zip(logits.values(), torch.autograd.grad(loss, list(logits.values())), strict=True):
            value.grad = gradient
        scale = min(1.0, 0.1 / (torch.cat([g.reshape(-1) for g in gradients.values()]).norm().item() + 1e-6))
        assert scale < 1
        with torch.no_grad():
            for name, value in raw.items():
                decay = 0.05 if value.ndim > 1 else 0.0
                value -= 0.2 * rate * (gradients[name] * scale + decay * value)
        own.param_groups[0]["lr"] = 0.02 * rate
        own.step()
    for name, value in raw.items():
        assert close(weights.trained[name].detach(), value.detach()), name
    for name, value in logits.items():
        assert close(method.logits[name].detach(), value.detach()), name
    assert method.count == 9


def test_projected_training_equals_a_naive_loop_over_micro_batches() -> None:
    module, connections = network()
    masks = some_masks(connections)
    weights = Weights(module, connections, masks)
    trainer_of(weights, training(micro_batches=4, momentum=0.9), 9).run(nothing)

    reference, data, sampler = network()[0], Data(), Sampler(40, 1)
    keep = {
        "first.weight": masks["first"],
        "second.weight": masks["second"],
        "out.weight": torch.cat([masks["out.first"], masks["out.second"]], 1),
    }
    raw = {n: p.detach().clone().requires_grad_() for n, p in reference.named_parameters()}
    velocity = {name: torch.zeros_like(value) for name, value in raw.items()}
    for step in range(9):
        effective = {n: torch.where(keep[n], p, 0.0) if n in keep else p for n, p in raw.items()}
        loss = functional_call(reference, effective, data.batch(sampler.indices(step * 12, 12)))
        gradients = torch.autograd.grad(loss, list(raw.values()))
        with torch.no_grad():
            for (name, value), gradient in zip(raw.items(), gradients, strict=True):
                velocity[name] = 0.9 * velocity[name] + gradient
                value -= 0.2 * (1 - step / 9) * velocity[name]
    for name, value in raw.items():
        expected = torch.where(keep[name], value, 0.0) if name in keep else value
        assert close(module.get_parameter(name).detach(), expected.detach()), name
    assert weights.zeros() == {name: mask.numel() - masks.kept[name] for name, mask in masks.items()}


def test_bf16_casts_see_the_weights_of_their_own_step() -> None:
    """A stale cache of casts would train on the weights of an earlier step."""
    module, connections = network(torch.float32)
    trainer_of(
        Weights(module, connections), training(precision="bf16", micro_batches=2), 6, data=Data(torch.float32)
    ).run(nothing)
    reference, data, sampler = network(torch.float32)[0], Data(torch.float32), Sampler(40, 1)
    for step in range(6):
        reference.zero_grad()
        for half in range(2):
            with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
                loss = reference(*data.batch(sampler.indices(step * 12 + half * 6, 6))) / 2
            loss.backward()
        with torch.no_grad():
            for p in reference.parameters():
                p -= 0.2 * (1 - step / 6) * p.grad
    for name, p in reference.named_parameters():
        assert torch.allclose(module.get_parameter(name), p, rtol=1e-6, atol=1e-7), name
        assert module.get_parameter(name).dtype == torch.float32


# --- a method that moves its masks ------------------------------------------------------------


class DropGrow(SparsityMethod[NoOptions]):
    """Every third step drops the two smallest weights of a connection and grows by dense gradient (RigL)."""

    def __init__(self, data: Data) -> None:
        super().__init__(NoOptions())
        self.data = data
        self.opened: dict[str, Tensor] = {}
        self.updates = 0
        self.trainer: Trainer | None = None

    def on_gradients(self, context: MethodContext) -> None:
        batch = self.data.batch(Sampler(40, 1).indices(context.step * 12, 12))
        parameters = dict(context.model.named_parameters())
        dense = dict(
            zip(parameters, torch.autograd.grad(context.model(*batch), list(parameters.values())), strict=True)
        )
        for c in context.connections:
            assert close(context.gradient(c), c.region(dense[c.parameter]))
            if c.name in self.opened:  # the step before opened these: they start from zero, and alive
                assert (context.weight(c)[self.opened[c.name]] == 0).all()
                assert context.masks[c.name][self.opened[c.name]].all()
        self.opened = {}
        self.gradients = {c.name: context.gradient(c).clone() for c in context.connections}

    def after_step(self, context: MethodContext) -> Masks | None:
        if context.step % 3 != 2:
            return None
        self.updates += 1
        masks = {}
        for c in context.connections:
            before = context.masks[c.name].reshape(-1)
            smallest = context.weight(c).abs().reshape(-1).masked_fill(~before, torch.inf).argsort()[:2]
            largest = self.gradients[c.name].abs().reshape(-1).masked_fill(before, -1).argsort(descending=True)[:2]
            after = before.clone()
            after[smallest], after[largest] = False, True
            masks[c.name] = after.reshape(c.shape)
            self.opened[c.name] = (after & ~before).reshape(c.shape)
        return Masks(masks)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_dynamic_method_keeps_its_density_and_grows_from_zero(optimizer: str) -> None:
    module, connections = network()
    masks = some_masks(connections, 0.4)
    weights = Weights(module, connections, masks)
    data = Data()
    method = DropGrow(data)
    settings = training(optimizer=optimizer, momentum=0.9, weight_decay=0.1, schedule="constant", lr=0.02)
    trainer = trainer_of(weights, settings, 30, method, data)
    kept = []

    def look(_: StepReport) -> None:
        assert weights.masks is not None
        kept.append(weights.masks.kept)
        zeros = {name: mask.numel() - weights.masks.kept[name] for name, mask in weights.masks.items()}
        if trainer.step % 3:  # just after an update, what was grown is zero as well
            assert weights.zeros() == zeros

    for end in range(1, 31):
        trainer.run(look, until=end)
    assert kept == [masks.kept] * 30
    assert method.updates == 10
    assert weights.masks is not None and trainer.context is not None
    assert weights.masks.digest() != masks.digest()
    assert trainer.context.masks is weights.masks


# --- looks, order, hooks ----------------------------------------------------------------------


def test_looks_come_every_twenty_steps_and_at_ends_with_exact_means() -> None:
    module, connections = network()
    seen: list[StepReport] = []
    trainer = trainer_of(Weights(module, connections), training(micro_batches=3), 50)
    trainer.run(seen.append, until=25)
    trainer.run(seen.append)
    trainer.run(seen.append)
    assert [(s.step, s.steps) for s in seen] == [(20, 50), (25, 50), (40, 50), (50, 50)]
    assert [s.lr for s in seen] == pytest.approx([0.2 * (1 - (s.step - 1) / 50) for s in seen])

    reference, data, sampler = network()[0], Data(), Sampler(40, 1)
    losses = []
    for step in range(50):
        reference.zero_grad()
        loss = reference(*data.batch(sampler.indices(step * 12, 12)))
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            for p in reference.parameters():
                p -= 0.2 * (1 - step / 50) * p.grad
    bounds = [0, 20, 25, 40, 50]
    means = [sum(losses[a:b]) / (b - a) for a, b in pairwise(bounds)]
    assert [s.loss for s in seen] == pytest.approx(means, rel=1e-6)


@pytest.mark.parametrize("bad", [3, 17, 30])
def test_divergence_names_the_step(bad: int) -> None:
    """The stream of examples says at which step the broken one is met for the first time."""
    position = Sampler(40, 1).indices(0, 40).tolist().index(bad)
    module, connections = network()
    trainer = trainer_of(Weights(module, connections), training(batch_size=2), 50, data=Data(bad=bad))
    with pytest.raises(Diverged, match="nan at step") as caught:
        trainer.run(nothing)
    assert caught.value.step == position // 2 + 1
    assert "the inputs of this batch hold NaN or infinite numbers, as the benchmark gives them" in str(caught.value)


def test_divergence_of_finite_data_blames_no_data() -> None:
    module, connections = network()
    with torch.no_grad():
        next(module.parameters()).fill_(float("nan"))
    trainer = trainer_of(Weights(module, connections), training(batch_size=2), 50, data=Data())
    with pytest.raises(Diverged, match=r"^the loss became nan at step 1$") as caught:
        trainer.run(nothing)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


class Ranking(SparsityMethod[NoOptions]):
    """Fails where there is nothing to rank, as growth by gradients does."""

    def __init__(self, hook: str) -> None:
        super().__init__(NoOptions())
        setattr(self, hook, self.rank)

    def rank(self, context: MethodContext) -> None:
        numbers = [*context.model.parameters(), *(p.grad for p in context.model.parameters() if p.grad is not None)]
        if not all(tensor.isfinite().all() for tensor in numbers):
            raise ValueError("scores hold NaN")

    def on_gradients(self, context: MethodContext) -> None:
        """Replaced, or nothing."""

    def after_step(self, context: MethodContext) -> None:
        """Replaced, or nothing."""


@pytest.mark.parametrize(("hook", "step"), [("on_gradients", 1), ("after_step", 1)])
def test_a_method_that_fails_at_numbers_that_are_none_has_diverged(hook: str, step: int) -> None:
    module, connections = network()
    method = Ranking(hook)
    with torch.no_grad():
        next(module.parameters()).fill_(float("nan"))
    weights = Weights(module, connections, None, method)
    with pytest.raises(Diverged, match=rf"^the loss became nan at step {step}$") as caught:
        trainer_of(weights, training(batch_size=2), 50, method).run(nothing)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_method_that_fails_at_a_gradient_that_is_none_has_diverged() -> None:
    """Though every loss so far was finite: the next one would not be."""
    module, connections = network()
    name, parameter = next(iter(module.named_parameters()))
    parameter.register_hook(lambda gradient: gradient * float("inf"))
    method = Ranking("on_gradients")
    weights = Weights(module, connections, None, method)
    with pytest.raises(Diverged, match=rf"^the gradient of {name} became \S+ at step 1$"):
        trainer_of(weights, training(batch_size=2), 50, method).run(nothing)


class Recorder(SparsityMethod[NoOptions]):
    mode = "composed"

    def __init__(self) -> None:
        super().__init__(NoOptions())
        self.events: list[str] = []
        self.gate = nn.Parameter(torch.ones((), dtype=torch.float64))

    def compose(self, connection: Connection, raw: Tensor) -> Tensor:
        self.events.append(f"compose {connection.name}")
        return raw * self.gate

    def parameter_groups(self) -> Any:
        from harness import ParameterGroup

        return [ParameterGroup([self.gate], 0.1)]

    def on_gradients(self, context: MethodContext) -> None:
        assert self.gate.grad is None and context.model.get_parameter("first.weight").grad is not None
        self.events.append(f"gradients {context.step}/{context.steps}")

    def regularizers(self, context: MethodContext) -> Mapping[str, Tensor]:
        assert not context.dense_gradients
        self.events.append("regularizers")
        return {"a": self.gate * 2, "b": torch.tensor(5.0)}

    def after_step(self, context: MethodContext) -> None:
        assert self.gate.grad is not None
        self.events.append("after")


def test_hooks_come_in_order_once_per_optimizer_step() -> None:
    module, connections = network()
    method = Recorder()
    weights = Weights(module, connections, None, method)
    trainer_of(weights, training(micro_batches=4), 2, method).run(nothing)
    compose = [f"compose {c.name}" for c in connections]
    expected = [[*compose, f"gradients {step}/2", "regularizers", "after"] for step in range(2)]
    assert method.events == expected[0] + expected[1]


class Plain(SparsityMethod[NoOptions]):
    """Overrides nothing."""


def test_a_method_without_hooks_trains_as_without_method() -> None:
    results = []
    for method in (None, Plain(NoOptions())):
        module, connections = network()
        weights = Weights(module, connections, some_masks(connections), method)
        trainer_of(weights, training(), 5, method).run(nothing)
        results.append(weights.state())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_the_clock_goes_on_from_what_was_spent() -> None:
    clock = Clock(100.0)
    assert 100 <= clock.seconds < 160
    assert clock.seconds <= clock.seconds
