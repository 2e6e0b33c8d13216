"""What a program computed, by hand: 194 maskable weights, one multiply-accumulate each."""

from __future__ import annotations

from typing import Any

import pytest

from harness.stages.runner import StageRunner
from harness.stages.training_run import Interrupted

FORWARD = 2 * 194
EXAMPLES = 40 * 16


def flops(record: dict[str, Any]) -> tuple[float, float]:
    found = record["spent"]["flops"]
    return found["training"], found["training_sparse"]


@pytest.mark.parametrize("use", ["alternating", "alternating_composed"])
@pytest.mark.parametrize("interval", [10, 7, 1, 40])
def test_masks_that_alternate_in_step_with_the_checks_are_counted_at_every_change(lab, use: str, interval: int) -> None:
    record = lab().records(f"{{m: {{use: {use}, interval: {interval}}}}}")["m"]
    mean = sum(0.5 if step // interval % 2 else 1.0 for step in range(40)) / 40
    dense, sparse = flops(record)
    assert dense == 3 * FORWARD * EXAMPLES
    # Forward and the inputs' gradient are sparse; of the weights' gradient, a quarter of the steps need all.
    assert sparse == pytest.approx(EXAMPLES * FORWARD * (2 * mean + 0.75 * mean + 0.25))


def test_what_was_counted_survives_a_restart(lab) -> None:
    here = lab()
    planned = here.cells("{m: {use: alternating, interval: 7}}")["m"]
    looks = iter(range(100))
    stopped = StageRunner(
        here.registry, here.store, here.runner.substrate, checkpoint_seconds=0, stopping=lambda: next(looks) == 0
    )
    with pytest.raises(Interrupted):
        stopped.run(planned.stages[0])
    assert here.store.manifest(planned.stages[0].hash) is None
    mean = sum(0.5 if step // 7 % 2 else 1.0 for step in range(40)) / 40
    assert flops(here.record(planned))[1] == pytest.approx(EXAMPLES * FORWARD * (2.75 * mean + 0.25))
    trained = here.store.manifest(planned.stages[0].hash)["trained"]
    assert trained["densities"] == pytest.approx(dict.fromkeys(trained["densities"], mean))


def test_soft_masks_save_nothing_and_hard_ones_only_in_inference(lab) -> None:
    record = lab().records("{m: {use: soft, program: train}}")["m"]
    dense, sparse = flops(record)
    assert sparse == dense == 3 * FORWARD * 45 * 16
    inference = record["spent"]["flops"]
    assert inference["inference_sparse"] == pytest.approx(2 * record["density"]["kept"])
    assert record["density"]["kept"] < 194
    soft = lab().records("{m: {use: soft, program: train}}", evaluation="{checks: 1, masks: soft}")["m"]
    assert soft["spent"]["flops"]["inference_sparse"] == FORWARD


def test_an_heir_has_spent_what_its_source_had(lab) -> None:
    """At the full price: which masks the source had when is not known to the heir."""
    first = "first: {use: programmed, program: prune, density: 0.5}"
    records = lab().records(f"{{{first}, heir: {{source: first}}, next: {{use: heir, source: heir}}}}")
    steps = {"first": 70, "heir": 110, "next": 150}
    assert {label: record["spent"]["steps"] for label, record in records.items()} == steps
    assert {label: record["spent"]["examples"] // 16 for label, record in records.items()} == steps
    for label, before in (("heir", 70), ("next", 110)):
        dense, sparse = flops(records[label])
        assert dense == 3 * FORWARD * steps[label] * 16
        assert sparse == pytest.approx(3 * 16 * (FORWARD * before + 2 * 97 * 40))
    dense, sparse = flops(records["first"])
    assert sparse == pytest.approx(3 * 16 * (FORWARD * 25 + 2 * 97 * 45))


def test_a_training_that_cells_of_several_scopes_share_was_whole(lab) -> None:
    records = lab().records(
        "{narrow: {use: programmed, program: train_held, scope: [skip]},"
        " wide: {use: programmed, program: prune, density: 0.5}, all: {use: programmed, program: train_held}}",
        training="{steps: 45, batch_size: 16, lr: 0.02}",
    )
    assert records["narrow"]["stages"] == records["all"]["stages"]
    assert records["narrow"]["density"]["size"] == 30 and records["all"]["density"]["size"] == 194
    for label in ("narrow", "all"):
        dense, sparse = flops(records[label])
        assert sparse == dense == 3 * FORWARD * 45 * 16
