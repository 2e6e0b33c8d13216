"""One training phase: its checks, and which weights it ends with."""

from __future__ import annotations

import pytest
import torch

from harness.errors import BadScore

SCORED = {"benchmarks": "{ramp: {}}", "training": "{steps: 30, batch_size: 16, lr: 0.05}"}
METHOD = "{m: {use: programmed, program: short}}"


def at_steps(lab, ends: tuple[int, ...]) -> list[dict[str, torch.Tensor]]:
    """Weights after so many steps of the same training, by running it with the last check there."""
    here = lab()
    weights = []
    original = here.runner.evaluate

    def kept(network, *arguments):
        weights.append({name: t.clone() for name, t in network.module.state_dict().items()})
        return original(network, *arguments)

    here.runner.evaluate = kept
    here.run(here.cells(METHOD, **SCORED, evaluation=f"{{checks: {len(ends)}}}")["m"])
    return weights


@pytest.mark.parametrize(
    ("select", "split", "chosen", "value"),
    [
        ("validation", "validation", 20, 1.0),  # 3, 1, 2: the smallest loss is at the second check
        ("best_test", "test", 30, 4.0),  # 5, 6, 4: at the third
    ],
)
def test_selection_goes_by_the_split_that_is_named_and_by_the_metrics_direction(
    lab, select: str, split: str, chosen: int, value: float
) -> None:
    after = dict(zip((10, 20, 30), at_steps(lab, (10, 20, 30)), strict=True))
    assert not torch.equal(after[20]["first.weight"], after[30]["first.weight"])
    here = lab()
    planned = here.run(here.cells(METHOD, **SCORED, evaluation=f"{{checks: 3, select: {select}}}")["m"])
    rows = here.store.series(planned.stages[-1].hash)["evaluations"]
    assert [row[1:3] for row in rows] == [[10, split], [20, split], [30, split], [chosen, "chosen"]]
    assert min(row[3]["loss"] for row in rows[:3]) == value == rows[chosen // 10 - 1][3]["loss"]
    state = here.store.state(planned.stages[-1].hash)["weights"]
    assert all(torch.equal(state[name], tensor) for name, tensor in after[chosen].items())


def test_the_last_weights_are_kept_where_nothing_is_selected(lab) -> None:
    after = at_steps(lab, (10, 20, 30))
    here = lab()
    planned = here.run(here.cells(METHOD, **SCORED, evaluation="{checks: 3, select: final}")["m"])
    state = here.store.state(planned.stages[-1].hash)["weights"]
    assert all(torch.equal(state[name], tensor) for name, tensor in after[-1].items())
    assert [row[2] for row in here.store.series(planned.stages[-1].hash)["evaluations"]] == ["validation"] * 3


def test_scores_that_are_no_number_are_never_the_best_and_end_nothing(lab) -> None:
    """Validation: nan, inf, 2."""
    broken = {**SCORED, "benchmarks": "{ramp: {fault: infinite}}"}
    here = lab()
    planned = here.run(here.cells(METHOD, **broken, evaluation="{checks: 3, select: validation}")["m"])
    rows = here.store.series(planned.stages[-1].hash)["evaluations"]
    assert [row[3] for row in rows] == [{}, {}, {"loss": 2.0}, {}]
    assert rows[-1][1:3] == [30, "chosen"]
    with pytest.raises(BadScore, match="'ramp' had no finite score to choose by at any check"):
        here = lab()
        here.run(here.cells(METHOD, **broken, evaluation="{checks: 2, select: validation}")["m"])


def test_what_a_stage_says_of_its_training(lab) -> None:
    here = lab()
    planned = here.run(here.cells("{m: {use: programmed, program: dynamic, density: 0.5}}")["m"])
    manifest = here.store.manifest(planned.stages[-1].hash)
    assert manifest["trained"]["examples"] == 45 * 16
    assert manifest["trained"]["soft"] is False and manifest["trained"]["dense_gradients"] == 0.0
    sizes = {"first": 60, "second": 80, "out.first": 30, "out.second": 24}
    kept = sum(density * sizes[name] for name, density in manifest["trained"]["densities"].items())
    assert kept == pytest.approx(97)
