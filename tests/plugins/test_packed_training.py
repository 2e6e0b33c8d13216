"""Networks that take their steps together become, in float64, what each becomes alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from harness import CurrentMasks, DataSpec, DensityBudget, Finetune, MethodContext, Train, TrainingBudget, select
from harness.core.connections import weights_among
from harness.executors.short_timing import RandomExamples
from harness.registry.plugins import load
from harness.stages.network import initial_module
from harness.stages.together import run_together
from harness.suites.schema import Training
from harness.training.distributed import Substrate
from harness.training.sampler import Sampler
from harness.training.trainer import Trainer
from harness.training.weights import Weights

CPU, BATCH = torch.device("cpu"), 6
REGISTRY = load()
NETWORKS: dict[str, tuple[DataSpec, dict[str, Any]]] = {
    "mlp": (DataSpec("classification", (1, 4, 4), 5, 40), {"hidden": [12, 8]}),
    "skip_mlp": (DataSpec("regression", (7,), 3, 40), {"hidden": [12, 8]}),
    "lenet": (DataSpec("classification", (1, 20, 20), 5, 40), {}),
    "resnet": (DataSpec("classification", (3, 8, 8), 5, 40), {"depth": 8, "width": 4}),
    "gpt2": (DataSpec("language", (10,), 30, 40, 10), {"n_layers": 2, "width": 16, "heads": 2}),
}


class Member(NamedTuple):
    """What may differ between those of a pack."""

    method: str = "dense"
    options: dict[str, Any] = {}
    density: float = 0.5
    training: dict[str, Any] = {}


class Doubles(RandomExamples):
    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        inputs, targets = super().batch(indices)
        return inputs.double() if inputs.is_floating_point() else inputs, targets


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


def trainers(network: str, members: Sequence[Member], steps: int) -> list[Trainer]:
    """Of the last training of each member's program, projected ones with random masks; its seed is its number."""
    spec, settings = NETWORKS[network]
    cls = REGISTRY.get("architecture", network)
    architecture = cls(cls.Options.model_validate(settings), spec)
    torch.manual_seed(0)
    data, found = Doubles(spec, 40, CPU), []
    for seed, (name, options, density, training) in enumerate(members):
        module = initial_module(architecture, seed).double()
        kind = REGISTRY.get("method", name)
        method = kind(kind.Options.model_validate(options))
        connections = tuple(c for c in architecture.connections() if c.kind in method.kinds)
        masked = weights_among(connections)
        budget = DensityBudget.of(density, masked) if method.takes_density == "required" else None
        parameters = dict(module.named_parameters())
        context = MethodContext(
            model=module,
            connections=connections,
            raw={c.parameter: parameters[c.parameter] for c in masked},
            current=CurrentMasks(connections, CPU),
            budget=budget,
            source=None,
            seed=seed,
            device=CPU,
            bands=1 + max(band.depth for c in connections for band in (c.source, c.target)),
            units=architecture.units(),
            data=spec,
        )
        method.attach(context)
        program = method.program(TrainingBudget(steps, BATCH, density))
        phase = next((phase for phase in reversed(program) if isinstance(phase, Train)), Finetune(steps))
        if method.mode == "projected" and budget is not None:
            scores = {c.name: torch.rand(c.shape) for c in masked}
            context.current.hard = select(scores, budget, masked, "uniform")
        weights = Weights(module, connections, context.current, method if phase.hooks else None)
        context.raw = weights.inputs
        found.append(
            Trainer(
                weights=weights,
                method=method if phase.hooks else None,
                context=context,
                data=data,
                sampler=Sampler(40, seed),
                training=Training(
                    **{"steps": steps, "batch_size": BATCH, "lr": 0.01, "weight_decay": 0.05, **training}
                ),
                phase=phase,
                substrate=Substrate(0, 1, CPU),
            )
        )
    return found


def trained(members: Sequence[Trainer], steps: int) -> list[str]:
    """Train them together from random states of their own; what was said of those that went alone."""
    notes: list[str] = []

    def run(seed: int, member: Trainer) -> Iterator[Trainer]:
        torch.manual_seed(seed)
        yield from member.legs(lambda _: None, until=steps)

    def ended(name: str, error: BaseException | None) -> None:
        if error is not None:
            raise error

    runs = {str(seed): run(seed, member) for seed, member in enumerate(members)}
    run_together(runs, ended, lambda name, text: notes.append(f"{name}: {text}"))
    return notes


def results(member: Trainer) -> list[Tensor]:
    own = [p for group in member.optimizers.all for part in group.param_groups for p in part["params"]]
    return [
        *own,
        *member.weights.parameters.values(),
        *(b for b in member.weights.module.buffers() if b.is_floating_point()),
    ]


LR = {"lr": 0.03}
CASES = {
    "seeds": ("mlp", [Member()] * 3),
    "numbers": ("skip_mlp", [Member(), Member(training=LR)]),
    "sgd": ("mlp", [Member(training={"optimizer": "sgd"}), Member(training={"optimizer": "sgd", **LR})]),
    "parts and norms": ("mlp", [Member(training={"clip_norm": c, "micro_batches": 2}) for c in (0.05, 0.1)]),
    "methods, densities and rates": (
        "mlp",
        [
            Member(),
            Member("random", density=0.15),  # so few that the optimizer owns the kept entries alone
            Member("random", density=0.6, training=LR),
            Member("rigl", {"interval": 4}, training={"steps": 60}),
            Member("set", {"interval": 4}),
            Member("genome", training=LR),
            Member("l0"),
            Member("movement", density=0.3),
            Member("top_kast", density=0.3),
            Member(training={"optimizer": "adam", "schedule": "constant"}),
        ],
    ),
    "convolutions": ("lenet", [Member(), Member("random", density=0.3)]),
    "batch norms": ("resnet", [Member(), Member("random"), Member("genome")]),
    "attention": ("gpt2", [Member(), Member("random"), Member("genome", training={"clip_norm": 1.0})]),
}


@pytest.mark.parametrize("case", CASES)
def test_together_is_as_alone(case: str) -> None:
    network, members = CASES[case]
    alone, together = trainers(network, members, 22), trainers(network, members, 22)
    for seed, member in enumerate(alone):
        torch.manual_seed(seed)
        member.run(lambda _: None, until=22)
    assert trained(together, 22) == []
    for mine, theirs in zip(together, alone, strict=True):
        assert mine.packed == len(members) and theirs.packed == 1
        for a, b in zip(results(mine), results(theirs), strict=True):
            assert torch.isfinite(b).all()
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_company_does_not_matter() -> None:
    members = [Member(), Member("genome"), Member("l0"), Member("set", {"interval": 4})]
    many, few = trainers("mlp", members, 22), trainers("mlp", members, 22)
    assert trained(many, 22) == trained(few[:2], 22) == []
    for a, b in zip(results(many[1]), results(few[1]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_states_are_the_members_own() -> None:
    """A pack that goes on from its members' states, at different steps, ends as one that was never taken apart."""
    members = [Member(), Member("genome"), Member("random", density=0.6)]
    whole, first, second = (trainers("mlp", members, 40) for _ in range(3))
    trained(whole, 40)
    trained(first[1:], 10)
    trained(first, 20)
    for old, new in zip(first, second, strict=True):
        new.weights.load({name: tensor.clone() for name, tensor in old.weights.state().items()})
        if new.method is not None:
            new.method.load_state_dict(old.method.state_dict())
        new.optimizers.load_state_dict(old.optimizers.state_dict())
        new.step = old.step
    trained(second, 40)
    for mine, theirs in zip(second, whole, strict=True):
        for a, b in zip(results(mine), results(theirs), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
