"""Whole cells of the methods that learn masks and thresholds: exact counts, the trained function, stops."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from learned import cell_on_digits
from stage_runs import assert_same, finish, outcome, runner_of, stopped_and_resumed

from harness import Bake, Prune, Train, TrainingBudget
from harness.registry.plugins import load
from harness.results.record import evaluated
from harness.stages.network import NetworkBuilder
from harness_learned.exact_density import then_exact

REGISTRY = load()
SIZE = 16 * 64 + 10 * 16
METHODS: dict[str, dict[str, Any]] = {
    "movement": {"use": "movement"},
    "soft_movement": {"use": "soft_movement", "lr": 0.3},
    "soft_movement_closed": {"use": "soft_movement", "lr": 0.3, "strength": 1e5},
    "str": {"use": "str", "initial": -3.0},
    "str_closed": {"use": "str", "initial": -0.01, "decay": 0.0},
    "l0": {"use": "l0", "lr": 0.1},
    "l0_closed": {"use": "l0", "lr": 0.5, "strength": 1e4},
    "l0_input": {"use": "l0", "gates": "input", "lr": 0.1, "strength": 10.0},
    "powerprop": {"use": "powerprop"},
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


@pytest.mark.parametrize("name", METHODS)
def test_the_density_asked_for_is_met_within_the_steps_granted(name: str, tmp_path: Path) -> None:
    planned = cell_on_digits(tmp_path, REGISTRY, **METHODS[name], density=0.1)
    runner = finish(tmp_path, REGISTRY, planned)
    record = evaluated(planned, runner, REGISTRY, torch.device("cpu")).record.content()
    assert record["status"] == "done" and record["density"]["other_count"] is None
    assert record["density"]["kept"] == round(0.1 * SIZE)
    assert record["spent"]["steps"] == 30 and record["spent"]["examples"] == 30 * 16
    assert record["method"]["final_differs"] is None and record["density"]["added"] == {}


@pytest.mark.parametrize("name", ["soft_movement", "str", "l0", "l0_input"])
def test_the_network_that_is_tested_is_the_one_that_was_trained(name: str, tmp_path: Path) -> None:
    """Without a density: hard and soft evaluation give the same logits, and what is not kept is zero in both."""
    planned = cell_on_digits(tmp_path, REGISTRY, **METHODS[name])
    network = finish(tmp_path, REGISTRY, planned).restored(planned.stages[-1], planned.cell)
    weights, masks = network.begin_phase(hooks=True), network.final_masks()
    assert network.soft and 0 < masks.density < 1
    inputs = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with weights.evaluating("hard", masks) as model:
        final, values = model(inputs), {n: p.detach().clone() for n, p in model.named_parameters()}
    with weights.evaluating("soft") as model:
        assert torch.equal(model(inputs), final)
    differ = 0
    for c in network.connections:
        assert torch.equal(c.region(values[c.parameter]) != 0, masks[c.name])
        differ += int((c.region(values[c.parameter]) != network.context.weight(c)).sum())
    assert differ > 0


def test_powers_start_from_the_network_of_every_method(tmp_path: Path) -> None:
    planned = cell_on_digits(tmp_path, REGISTRY, use="powerprop", alpha=3, density=0.1)
    runner = runner_of(tmp_path, REGISTRY)
    spec = runner.benchmark(planned.cell.training_part).spec()
    network = NetworkBuilder(REGISTRY, runner.store, torch.device("cpu")).build(planned.stages[0], spec)
    inputs = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = network.initial().eval()(inputs)
    with network.begin_phase(hooks=True).evaluating("soft") as model:
        found = model(inputs)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
    raw = network.begin_phase(hooks=True).raw
    assert all(
        (raw[name] - weight).abs().max() > 0.1 for name, weight in network.initial().named_parameters() if name in raw
    )


def test_what_powerprop_prunes_stays_zero_without_a_mask(tmp_path: Path) -> None:
    planned = cell_on_digits(tmp_path, REGISTRY, use="powerprop", density=0.1, recovery=0.5)
    network = finish(tmp_path, REGISTRY, planned).restored(planned.stages[-1], planned.cell)
    assert network.soft  # trained as powers to the end
    kept = network.final_masks()
    for c in network.connections:
        assert torch.equal(network.context.weight(c) != 0, kept[c.name])


@pytest.mark.parametrize("name", ["soft_movement", "str", "l0", "powerprop"])
def test_a_stop_in_any_part_changes_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = cell_on_digits(tmp_path, REGISTRY, **METHODS[name], density=0.1, recovery=0.4)
    assert len(planned.stages) == 2
    torch.manual_seed(1)
    finish(tmp_path / "whole", REGISTRY, planned)
    monkeypatch.setattr("harness.training.trainer.PATIENCE", -1.0)  # each step is looked at
    torch.manual_seed(2)
    assert stopped_and_resumed(tmp_path / "stopped", REGISTRY, planned, 7) >= 3
    assert_same(outcome(tmp_path / "whole", planned), outcome(tmp_path / "stopped", planned))


def test_programs() -> None:
    assert then_exact(TrainingBudget(100, 8), 0.2) == [Train(100)]
    exact = [Train(80, of=100), Bake(), Prune(), Train(20, begin=80, of=100, hooks=False)]
    assert then_exact(TrainingBudget(100, 8, 0.05), 0.2) == exact
    assert then_exact(TrainingBudget(100, 8, None, matched=True), 0.2) == exact
    assert then_exact(TrainingBudget(100, 8, 0.05), 0) == [Train(100), Bake(), Prune()]
    assert then_exact(TrainingBudget(100, 8, 0.05), 0.5, "uniform")[2] == Prune(distribution="uniform")
    assert then_exact(TrainingBudget(2, 8, 0.05), 0.9)[0] == Train(1, of=2)
