from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from stage_runs import after, assert_same, finish, outcome, runner_of
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
from harness.registry.plugins import load
from harness.stages.graph import compile_graph
from harness.stages.training_run import Interrupted
from harness.suites.declaration import _hashed
from harness.suites.suite import load_suite
from harness.testing import check_method
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


def test_a_score_that_is_not_asked_for_enters_no_hash() -> None:
    before = {
        "generations": 6,
        "fraction": None,
        "distribution": "uniform",
        "reset": "sign",
        "reset_value": 0.02,
        "outer_steps": None,
        "inner_steps": None,
        "threshold_rule": "exact",
    }
    for options in ({}, {"score": "magnitude"}):
        assert _hashed(ConnectomeOptions.model_validate(options)) == before
        assert connectome(**options).influences(Prune()) == {"threshold_rule": "exact"}
    assert _hashed(ConnectomeOptions(score="gradient")) == before | {"score": "gradient", "batches": 16}


def test_scores_that_do_not_look_at_training_share_the_first_generation() -> None:
    first = {score: connectome(score=score).program(BUDGET)[0] for score in ("magnitude", "gradient", "random")}
    assert set(first.values()) == {Train(7, hooks=False)}
    assert connectome(score="movement").program(BUDGET) == [
        *6 * [Train(7), Prune(fraction=0.2, distribution="uniform"), Reinitialize("sign", 0.02)],
        Train(7, hooks=False),
    ]


def test_nothing_is_reset() -> None:
    generation = [Train(7, hooks=False), Prune(fraction=0.2, distribution="uniform")]
    assert connectome(reset="none", inner_steps=0).program(BUDGET) == [*6 * generation, Train(0, hooks=False)]


class Look:
    """Batches of a network that predicts x A^T, in float64."""

    def __init__(self, model: nn.Module, batches: int) -> None:
        generator = torch.Generator().manual_seed(1)
        self.model, self.seen = model, 0
        self.data = [torch.randn(2, 4, 3, generator=generator, dtype=torch.float64) for _ in range(batches)]

    def batches(self, count: int, size: int | None, training: bool) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, targets in self.data[:count]:
            self.seen += 1
            yield inputs, targets

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        weight = self.model.get_parameter("a")
        return ((inputs @ weight.T).tanh() - targets[:, :2]).square().mean()


def test_gradient_is_the_change_of_loss_by_removal_to_first_order() -> None:
    """|w dL/dw| over all batches together; the derivative by central differences."""
    model = nn.Module()
    weight = torch.tensor([[0.5, -1.0, 0.25], [0.75, 0.0, -0.3]], dtype=torch.float64)
    model.register_parameter("a", nn.Parameter(weight.clone()))
    now = context({"a": model.get_parameter("a")})
    look = Look(model, 16)
    now.model, now.calibration = model, look
    scores = connectome(score="gradient").scores(now)["a"]
    assert look.seen == 16
    expected = torch.zeros(2, 3, dtype=torch.float64)
    for row in range(2):
        for column in range(3):
            ends = []
            for step in (1e-5, -1e-5):
                model.get_parameter("a").data.copy_(weight)
                model.get_parameter("a").data[row, column] += step
                ends.append(sum(float(look.loss(*batch).detach()) for batch in look.data))
            expected[row, column] = abs(float(weight[row, column]) * (ends[0] - ends[1]) / 2e-5)
    assert torch.allclose(scores.detach(), expected, rtol=1e-7, atol=1e-10)
    assert scores[1, 1] == 0


def moved(method: Connectome, now: MethodContext, steps: range, seed: int) -> Tensor:
    """Let the method see some steps of random weights and gradients; minus the sum of their products."""
    generator = torch.Generator().manual_seed(seed)
    expected = torch.zeros(2, 3, dtype=torch.float64)
    for step in steps:
        weight, gradient = torch.randn(2, 2, 3, generator=generator, dtype=torch.float64)
        now.raw, now.dense_gradients, now.step = {"a": weight}, {"a": gradient}, step
        method.on_gradients(now)
        for row in range(2):
            for column in range(3):
                expected[row, column] -= weight[row, column] * gradient[row, column]
    return expected


def test_movement_is_the_sum_over_one_generation_and_survives_a_restart() -> None:
    now = context({"a": torch.zeros(2, 3, dtype=torch.float64)})
    method, restarted = connectome(score="movement"), connectome(score="movement")
    method.attach(now)
    first = moved(method, now, range(5), seed=0)
    assert torch.allclose(method.scores(now)["a"], first, atol=1e-14)
    second = moved(method, now, range(3), seed=1)
    assert torch.allclose(method.scores(now)["a"], second, atol=1e-14)
    state = method.state_dict()
    rest = moved(method, now, range(3, 5), seed=2)
    assert torch.allclose(state["a"], second, atol=1e-14)  # a state is no view of what goes on
    now.raw = {"a": torch.zeros(2, 3, dtype=torch.float64)}
    restarted.attach(now)
    restarted.load_state_dict(state)
    moved(restarted, now, range(3, 5), seed=2)
    assert torch.equal(restarted.scores(now)["a"], method.scores(now)["a"])
    assert torch.allclose(restarted.scores(now)["a"], second + rest, atol=1e-14)


def test_what_moved_away_from_zero_stays() -> None:
    """Gradients that push 0.1 up and 5 down: descent moves against them."""
    now = context({"a": torch.tensor([[0.1, 5.0, -0.1]])})
    method = connectome(score="movement")
    method.attach(now)
    now.dense_gradients = {"a": torch.tensor([[-1.0, 1.0, -1.0]])}
    method.on_gradients(now)
    masks = prune(method, Prune(fraction=2 / 3, distribution="uniform"), now)
    assert masks["a"].tolist() == [[True, False, False]]


def test_random_scores_are_new_in_each_generation_and_know_no_weights() -> None:
    method = connectome(score="random")
    one, other = context({"a": torch.randn(20, 30)}), context({"a": torch.zeros(20, 30)})
    one.phase = other.phase = 1
    first = method.scores(one)["a"]
    assert torch.equal(first, method.scores(other)["a"])
    one.phase = 4
    assert not torch.equal(first, method.scores(one)["a"])


@pytest.mark.parametrize("score", ["gradient", "movement", "random"])
@pytest.mark.parametrize("reset", ["sign", "none"])
def test_scores_pass_the_check(score: str, reset: str) -> None:
    check_method(Connectome, {"score": score, "reset": reset, "generations": 2})


def test_movement_goes_on_to_the_bit_where_a_run_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a generation: the sum so far is part of the checkpoint."""
    monkeypatch.setattr("harness.training.trainer.PATIENCE", -1.0)  # each step is looked at
    suite, registry = tmp_path / "suite.yaml", load()
    suite.write_text(
        "architectures: {mlp: {hidden: [8]}}\nbenchmarks: digits\ntraining: {steps: 12, batch_size: 8, lr: 0.01}\n"
        "evaluation: {checks: 1}\nmethods: {connectome: {score: movement, generations: 2, density: 0.3}}\n"
    )
    (cell,) = compile_graph(load_suite(suite, registry).cells, registry).cells
    finish(tmp_path / "whole", registry, cell)
    stops = 0
    for stage in cell.stages:
        while True:
            try:
                runner_of(tmp_path / "stopped", registry, stopping=after(5)).run(stage)
                break
            except Interrupted:
                stops += 1
    assert stops >= 4
    assert_same(outcome(tmp_path / "whole", cell), outcome(tmp_path / "stopped", cell))
    movement = outcome(tmp_path / "whole", cell)[0][0]["method"]
    assert len(movement) == 2 and all(bool(part.any()) for part in movement.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches": 3}, "batches is for score: gradient, and score is magnitude"),
        ({"score": "random", "batches": 3}, "batches is for score: gradient, and score is random"),
        ({"evolution": {}}, "evolution is for score: evolution, and score is magnitude"),
        ({"score": "movement", "threshold_rule": "published"}, "a rule for magnitudes, and score is movement"),
    ],
)
def test_options_of_another_score(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ConnectomeOptions.model_validate(options)


@pytest.mark.parametrize(
    "options",
    [{"generations": 0}, {"fraction": 20}, {"reset": "signs"}, {"reset_value": 0}, {"outer": 5}, {"score": "sign"}],
)
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ConnectomeOptions.model_validate(options)
