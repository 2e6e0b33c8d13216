"""Evolution of masks: counts, selection, what it looks at and what that costs."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from harness import (
    Band,
    Connection,
    CurrentMasks,
    Masks,
    MethodContext,
    Prune,
    Reinitialize,
    Train,
    TrainingBudget,
    UserError,
)
from harness.testing import check_method
from harness_connectome.evolution import EvolutionOptions, evolve, loss_under, mutated
from harness_connectome.method import Connectome, ConnectomeOptions


class Linear(nn.Module):
    """Squared error of x A^T, with a weight beside it that nothing may mask."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.a, self.shift = nn.Parameter(weight.clone()), nn.Parameter(torch.full((1,), 0.5, dtype=torch.float64))

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return (inputs @ self.a.T + self.shift - targets).square().mean()


class Look:
    """Batches for a context, and how many were asked for."""

    def __init__(self, model: nn.Module, data: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.model, self.data, self.seen = model, data, 0

    def batches(self, count: int, size: int | None, training: bool) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.data[:count]:
            self.seen += 1
            yield batch

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return self.model(inputs, targets)


def context(weight: Tensor, targets_of: Tensor, batches: int = 3, masks: Masks | None = None) -> MethodContext:
    """Of a linear network with these weights, whose targets are those of ``targets_of``."""
    generator = torch.Generator().manual_seed(0)
    shape = tuple(weight.shape)
    connections = (Connection("a", "a", "dense", Band("in", shape[1], 0), Band("out", shape[0], 1), shape),)
    model = Linear(weight)
    inputs = [torch.randn(5, shape[1], generator=generator, dtype=torch.float64) for _ in range(batches)]
    look = Look(model, [(x, x @ targets_of.T + 0.5) for x in inputs])
    raw: dict[str, Tensor] = {"a": model.a}
    current = CurrentMasks(connections, hard=masks)
    return MethodContext(
        model, connections, raw, current, None, None, 0, torch.device("cpu"), phase=1, calibration=look
    )


def look_of(context: MethodContext) -> Look:
    assert isinstance(context.calibration, Look)
    return context.calibration


WEIGHT = torch.tensor([[3.0, -2.0, 0.5], [1.0, 0.25, -0.75]], dtype=torch.float64)
TARGET = torch.tensor([[0.0, -2.0, 0.5], [1.0, 0.0, 0.0]], dtype=torch.float64)
"""The largest weight is the one that harms."""
FIRST = Masks({"a": torch.tensor([[True, True, False], [True, False, False]])})
"""The three largest."""


def naive(mask: Tensor, now: MethodContext, batches: int) -> float:
    """Mean loss by loops."""
    means = []
    for inputs, targets in look_of(now).data[:batches]:
        errors = []
        for x, y in zip(inputs.tolist(), targets.tolist(), strict=True):
            for row in range(2):
                kept = sum(float(WEIGHT[row, i]) * x[i] for i in range(3) if mask[row, i])
                errors.append((kept + 0.5 - y[row]) ** 2)
        means.append(sum(errors) / len(errors))
    return sum(means) / batches


def test_loss_is_that_of_the_masked_network_and_writes_nothing() -> None:
    now = context(WEIGHT, TARGET)
    assert loss_under(FIRST, now, 2) == pytest.approx(naive(FIRST["a"], now, 2), rel=1e-12)
    assert look_of(now).seen == 2
    assert torch.equal(now.raw["a"], WEIGHT) and now.raw["a"].grad is None


def test_evolution_finds_what_trying_all_masks_finds() -> None:
    """Twenty masks keep three of six weights."""
    now = context(WEIGHT, TARGET)

    def of(kept: tuple[int, ...]) -> Masks:
        return Masks({"a": torch.tensor([i in kept for i in range(6)]).view(2, 3)})

    best = min((of(kept) for kept in combinations(range(6), 3)), key=lambda masks: naive(masks["a"], now, 3))
    assert best["a"].tolist() == [[False, True, True], [True, False, False]]
    options = EvolutionOptions(evaluations=120, population=4, mutation=0.3, batches=3)
    assert torch.equal(evolve(FIRST, now, options)["a"], best["a"])
    assert look_of(now).seen == 120 * 3


@pytest.mark.parametrize("evaluations", [1, 5, 12])
def test_a_population_of_one_climbs(evaluations: int) -> None:
    now, options = context(WEIGHT, TARGET), EvolutionOptions(evaluations=evaluations, population=1, batches=1)
    generator, best = now.generator("evolution 1"), FIRST
    for _ in range(evaluations - 1):
        torch.randint(1, (), generator=generator)
        child = mutated(best, Masks.full(now.connections), options.mutation, generator)
        best = child if naive(child["a"], now, 1) < naive(best["a"], now, 1) else best
    assert torch.equal(evolve(FIRST, now, options)["a"], best["a"])


def test_the_first_mask_stays_where_nothing_is_better() -> None:
    """All weights are equal and so are all losses: a tie changes nothing."""
    zero = torch.zeros(2, 3, dtype=torch.float64)
    found = evolve(FIRST, context(zero, zero), EvolutionOptions(evaluations=20))
    assert torch.equal(found["a"], FIRST["a"])


def test_a_loss_that_is_no_number_is_the_worst() -> None:
    """0 * NaN would be NaN under a product; a mask that leaves NaN out has a loss."""
    broken = WEIGHT.clone()
    broken[0, 0] = torch.nan
    now = context(broken, TARGET)
    assert loss_under(FIRST, now, 1) == torch.inf
    found = evolve(FIRST, now, EvolutionOptions(evaluations=30, population=2, batches=1))
    assert not found["a"][0, 0] and int(found["a"].sum()) == 3


def test_children_keep_counts_and_open_nothing_that_was_closed() -> None:
    generator = torch.Generator().manual_seed(0)
    before = torch.zeros(4, 8, dtype=torch.bool)
    before[:, :6] = True
    parent = torch.zeros(4, 8, dtype=torch.bool)
    parent[:, :4] = True
    full, empty = torch.ones(2, 2, dtype=torch.bool), torch.zeros(2, 2, dtype=torch.bool)
    parents = Masks({"a": parent, "full": full, "empty": empty})
    opens = Masks({"a": before, "full": full, "empty": full})
    seen = torch.zeros(4, 8, dtype=torch.bool)
    for _ in range(50):
        child = mutated(parents, opens, 0.25, generator)
        assert int((parent & ~child["a"]).sum()) == 4 and int((child["a"] & ~parent).sum()) == 4  # of 16
        assert not (child["a"] & ~before).any()
        assert torch.equal(child["full"], full) and torch.equal(child["empty"], empty)
        seen |= child["a"] != parent
    assert torch.equal(seen, before)
    least = mutated(parents, opens, 0.001, generator)["a"]
    most = mutated(parents, opens, 1.0, generator)["a"]
    assert int((least != parent).sum()) == 2
    assert bool((most[:, 4:6]).all()) and int(most.sum()) == 16  # no more than what is there to swap for


def test_earlier_prunings_are_left_alone() -> None:
    before = Masks({"a": torch.tensor([[True, True, False], [True, True, False]])})
    now = context(WEIGHT, TARGET, masks=before)
    found = evolve(FIRST, now, EvolutionOptions(evaluations=60, population=3, batches=1, mutation=0.5))
    assert not (found["a"] & ~before["a"]).any() and int(found["a"].sum()) == 3


def evolving(**options: Any) -> Connectome:
    return Connectome(ConnectomeOptions.model_validate({"score": "evolution", **options}))


def test_evaluations_are_taken_off_the_training() -> None:
    """64 masks on 4 batches are 256 forward passes, a third of a step each: 85.3."""
    generation = [Train(314, hooks=False), Prune(fraction=0.2, distribution="uniform"), Reinitialize("sign", 0.02)]
    assert evolving().program(TrainingBudget(400, 16)) == [*6 * generation, Train(400, hooks=False)]
    few = evolving(evolution={"evaluations": 9, "batches": 1, "population": 1}, outer_steps=5, generations=1)
    assert few.program(TrainingBudget(400, 16))[0] == Train(2, hooks=False)


def test_training_must_be_left() -> None:
    with pytest.raises(UserError, match=r"as much as 86 steps, and a generation has 86; lower evaluations"):
        evolving(outer_steps=86).program(TrainingBudget(400, 16))


def test_what_evolves_enters_the_hash() -> None:
    phase = Prune(fraction=0.2)
    spelt = {"evaluations": 64, "population": 8, "mutation": 0.005, "batches": 4, "start": "magnitude"}
    assert evolving().influences(phase) == {"threshold_rule": "exact", "score": "evolution", "evolution": spelt}
    assert evolving(evolution={"mutation": 0.1}).influences(phase) != evolving().influences(phase)


def test_it_starts_from_magnitudes_or_at_random() -> None:
    now = context(WEIGHT, TARGET)
    assert torch.equal(evolving().scores(now)["a"], WEIGHT.abs())
    drawn = evolving(evolution={"start": "random"}).scores(now)["a"]
    other = context(2 * WEIGHT, TARGET)
    assert torch.equal(drawn, evolving(evolution={"start": "random"}).scores(other)["a"])


@pytest.mark.parametrize("options", [{"evaluations": 4, "population": 5}, {"mutation": 0}, {"start": "sign"}])
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EvolutionOptions.model_validate(options)


@pytest.mark.parametrize("start", ["magnitude", "random"])
@pytest.mark.parametrize("distribution", ["uniform", "global"])
def test_conformance(start: str, distribution: str) -> None:
    evolution = {"evaluations": 6, "population": 3, "batches": 2, "start": start, "mutation": 0.1}
    check_method(
        Connectome, {"score": "evolution", "evolution": evolution, "generations": 2, "distribution": distribution}
    )
