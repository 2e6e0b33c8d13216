from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from harness import (
    Band,
    Connection,
    CurrentMasks,
    DensityBudget,
    Masks,
    MethodContext,
    Prune,
    Reinitialize,
    Train,
    TrainingBudget,
    UserError,
    select,
)
from harness_connectome.method import Connectome, ConnectomeOptions


def connectome(**options: Any) -> Connectome:
    return Connectome(ConnectomeOptions.model_validate(options))


def connection(name: str, *shape: int) -> Connection:
    return Connection(name, name, "dense", Band(f"{name}.in", shape[1], 0), Band(f"{name}.out", shape[0], 1), shape)


def context(raw: dict[str, Tensor], masks: Masks | None = None, budget: DensityBudget | None = None) -> MethodContext:
    connections = tuple(connection(name, *weight.shape) for name, weight in raw.items())
    return MethodContext(
        nn.Module(), connections, raw, CurrentMasks(connections, hard=masks), budget, None, 0, torch.device("cpu")
    )


def prune(method: Connectome, phase: Prune, context: MethodContext) -> Masks:
    """What the core does with a pruning, in short; masks of pruned weights stay closed."""
    kept, sizes = context.masks.kept, context.masks.sizes
    if phase.density is not None:
        budget = DensityBudget(round(phase.density * sum(sizes.values())), phase.density)
    elif phase.fraction is not None:
        left = {name: n - round(phase.fraction * n) for name, n in kept.items()}
        total = sum(kept.values())
        keep = total - round(phase.fraction * total)
        counts = left if phase.distribution == "uniform" else None
        budget = DensityBudget(sum(left.values()) if counts else keep, 0.0, counts)
    else:
        assert context.budget is not None
        whole = context.budget
        budget = (
            whole if phase.exponent == 1 else DensityBudget.of(whole.requested**phase.exponent, context.connections)
        )
    scores = {
        name: torch.where(context.masks[name], score, -torch.inf) for name, score in method.scores(context).items()
    }
    return method.refine(select(scores, budget, context.connections, phase.distribution), context)


BUDGET = TrainingBudget(steps=7, batch_size=2)


def test_program_is_the_papers() -> None:
    generation = [Train(7, hooks=False), Prune(fraction=0.2, distribution="uniform"), Reinitialize("sign", 0.02)]
    assert connectome().program(BUDGET) == [*6 * generation, Train(7, hooks=False)]


def test_program_follows_options() -> None:
    method = connectome(
        generations=1,
        fraction=0.5,
        distribution="global",
        reset="random_sign",
        reset_value=0.1,
        outer_steps=3,
        inner_steps=4,
    )
    assert method.program(BUDGET) == [
        Train(3, hooks=False),
        Prune(fraction=0.5, distribution="global"),
        Reinitialize("random_sign", 0.1),
        Train(4, hooks=False),
    ]


def test_generations_are_shared_by_ablations_over_their_number() -> None:
    three, six = connectome(generations=3), connectome(generations=6)
    prefix = three.program(BUDGET)
    assert six.program(BUDGET)[: len(prefix)] == prefix
    assert three.influences(Prune(fraction=0.2)) == six.influences(Prune(fraction=0.2))


def test_resets_share_their_pruning_but_threshold_rules_do_not() -> None:
    phase = Prune(fraction=0.2)
    assert connectome(reset="random_sign").influences(phase) == connectome().influences(phase)
    assert connectome(threshold_rule="published").influences(phase) != connectome().influences(phase)


@pytest.mark.parametrize("budget", [TrainingBudget(7, 2, density=0.1), TrainingBudget(7, 2, matched=True)])
def test_a_density_is_reached_by_equal_fractions_and_exactly(budget: TrainingBudget) -> None:
    program = connectome(generations=3).program(budget)
    first, second, last = (phase for phase in program if isinstance(phase, Prune))
    assert [first.exponent, second.exponent, last.exponent] == pytest.approx([1 / 3, 2 / 3, 1])
    assert {(phase.density, phase.fraction) for phase in (first, second, last)} == {(None, None)}
    weights = {"a": torch.randn(13, 17), "b": torch.randn(5, 13)}
    masks, generator = None, torch.Generator().manual_seed(0)
    for phase in (first, second, last):
        weights = {name: torch.randn(w.shape, generator=generator) for name, w in weights.items()}
        now = context(weights, masks, DensityBudget(keep=29, requested=0.1))
        before = now.masks
        masks = prune(connectome(generations=3), phase, now)
        assert all(bool((masks[name] <= before[name]).all()) for name in masks)
    assert masks is not None and sum(masks.kept.values()) == 29


def test_one_generation_goes_straight_to_the_density() -> None:
    program = connectome(generations=1).program(TrainingBudget(7, 2, density=0.1))
    assert program[1] == Prune(distribution="uniform")


@pytest.mark.parametrize("options", [{"fraction": 0.2}, {"threshold_rule": "published"}])
def test_a_density_and_what_contradicts_it_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"given a density .*leave out"):
        connectome(**options).program(TrainingBudget(7, 2, density=0.5))


def test_six_generations_leave_a_quarter_of_each_connection() -> None:
    """By hand, 1000: 800, 640, 512, 410 (102.4 go as 102), 328, 262. 10: 8, 6, 5, 4, 3, 2."""
    generator = torch.Generator().manual_seed(0)
    weights = {"a": torch.randn(20, 50, generator=generator), "b": torch.randn(2, 5, generator=generator)}
    method, masks, kept = connectome(), None, []
    for phase in method.program(BUDGET):
        if isinstance(phase, Prune):
            masks = prune(method, phase, context(weights, masks))
            kept.append(tuple(masks.kept.values()))
    assert kept == [(800, 8), (640, 6), (512, 5), (410, 4), (328, 3), (262, 2)]


def test_the_smallest_go() -> None:
    weights = {"a": torch.tensor([[0.3, -0.1, 0.5, -0.2, 0.4]])}
    masks = prune(connectome(), Prune(fraction=0.4, distribution="uniform"), context(weights))
    assert masks["a"].tolist() == [[True, False, True, False, True]]


TEN = torch.tensor([[0.4, 0.1, 0.6, 0.2, 0.5, 0.9, -0.3, 0.7, -1.0, 0.8]])


def kept_of(weight: Tensor, rule: str) -> list[bool]:
    phase = Prune(fraction=0.2, distribution="uniform")
    kept: list[bool] = prune(connectome(threshold_rule=rule), phase, context({"a": weight}))["a"][0].tolist()
    return kept


def test_published_threshold_removes_one_weight_fewer() -> None:
    """A fifth of ten is two, 0.1 and 0.2; strictly below the threshold 0.2 is only 0.1."""
    assert [i for i, kept in enumerate(kept_of(TEN, "exact")) if not kept] == [1, 3]
    assert [i for i, kept in enumerate(kept_of(TEN, "published")) if not kept] == [1]


def test_ties_survive_the_published_threshold() -> None:
    """Rows without gradient: four weights at +-0.02 tie for two places. By index the later two go."""
    tied = TEN.clone()
    tied[0, [0, 2, 4, 6]] = torch.tensor([0.02, -0.02, 0.02, -0.02])
    assert [i for i, kept in enumerate(kept_of(tied, "exact")) if not kept] == [4, 6]
    assert all(kept_of(tied, "published"))


def test_published_threshold_leaves_earlier_prunings_alone() -> None:
    """Six remain; of the three to go, 0.5, 0.6 and 0.7, the largest survives."""
    before = Masks({"a": TEN.abs() > 0.45})
    masks = prune(
        connectome(threshold_rule="published"),
        Prune(fraction=0.5, distribution="uniform"),
        context({"a": torch.where(before["a"], TEN, 0.0)}, before),
    )
    assert TEN[masks["a"]].abs().tolist() == pytest.approx([0.9, 0.7, 1.0, 0.8])


def test_published_threshold_is_one_for_all_when_global() -> None:
    """The two to go are 0.1 of a and 0.2 of b, so the threshold is 0.2 for both and only 0.1 goes."""
    weights = {"a": torch.tensor([[0.1, 0.3, 0.4]]), "b": torch.tensor([[0.5, 0.2, 0.7]])}
    method = connectome(threshold_rule="published", distribution="global")
    masks = prune(method, Prune(fraction=1 / 3), context(weights))
    assert masks["a"].tolist() == [[False, True, True]]
    assert masks["b"].all()


def test_published_threshold_where_nothing_is_removed() -> None:
    """A fifth of two weights rounds to none; the one pruned before stays pruned."""
    before = Masks({"a": torch.tensor([[True, False, True]])})
    phase = Prune(fraction=0.2, distribution="uniform")
    now = context({"a": torch.tensor([[0.1, 0.0, 0.2]])}, before)
    assert prune(connectome(threshold_rule="published"), phase, now)["a"].tolist() == before["a"].tolist()


@pytest.mark.parametrize(
    "options", [{"generations": 0}, {"fraction": 20}, {"reset": "signs"}, {"reset_value": 0}, {"outer": 5}]
)
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ConnectomeOptions.model_validate(options)
