"""What is noted while masks and weights settle: equal to a second look, and to the bit after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from stage_runs import assert_same, finish, outcome, stopped_and_resumed

from harness.core.mask_history import MaskHistory
from harness.stages.settling import distance

SETTLING = "{checks: 4, settling: true}"
EXAMPLES = 96  # of the toy


def noted(lab, methods: str, **keys: str):
    """(rows, state, what the network computed with and its masks at each step) of a method's only stage."""
    here = lab()
    planned = here.cells(methods, evaluation=SETTLING, **keys)["m"]
    looks: dict[int, tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]] = {}
    original = here.runner.evaluate

    def look(network, weights, *rest):
        with weights.evaluating("soft"):
            effective = {c.name: c.region(weights.parameters[c.parameter]).clone() for c in network.connections}
        looks[len(looks)] = effective, {name: mask.clone() for name, mask in network.final_masks().items()}
        return original(network, weights, *rest)

    here.runner.evaluate = look
    here.run(planned)
    last = planned.stages[-1].hash
    return here.store.series(last)["settling"], here.store.state(last), looks


@pytest.mark.parametrize("method", ["{use: programmed, program: dynamic, density: 0.4}", "{use: soft, program: train}"])
def test_each_note_is_compared_with_the_end_of_the_training(lab, method: str) -> None:
    rows, state, looks = noted(lab, f"{{m: {method}}}")
    steps = [0, 11, 22, 34, 45]  # quarters of the toy's 45
    assert [row[1] for row in rows] == steps and len({row[0] for row in rows}) == 1
    assert [row[2] for row in rows] == pytest.approx([step * 16 / EXAMPLES for step in steps], abs=1e-6)
    weights, masks = looks[3]
    for row, (then, held) in zip(rows[1:], looks.values(), strict=True):
        difference = torch.cat([(then[name] - weights[name]).flatten() for name in weights])
        norm = torch.cat([tensor.flatten() for tensor in weights.values()]).norm()
        assert row[3] == pytest.approx(float(difference.norm() / norm), rel=1e-5)
        assert row[4] == {name: [int((held[name] == masks[name]).sum()), int(held[name].sum())] for name in masks}
    assert rows[-1][3] == 0 and all(same == masks[name].numel() for name, (same, _) in rows[-1][4].items())
    assert any(same < masks[name].numel() for row in rows for name, (same, _) in row[4].items())
    history = MaskHistory.of_state(state["history"])
    assert history.steps == tuple(steps)
    for name in masks:
        bits = history.bits(name)
        for index, (_, held) in looks.items():
            assert (bits[index + 1] == held[name].flatten().numpy()).all()


def test_of_a_network_without_masks_only_weights_are_noted(lab) -> None:
    rows, state, _ = noted(lab, "{m: {use: programmed, program: train}}")
    assert [row[4] for row in rows] == [{}] * 5
    assert "history" not in state
    assert rows[0][3] > rows[3][3] > rows[4][3] == 0


@pytest.mark.parametrize("method", ["{use: programmed, program: dynamic, density: 0.4}", "{use: soft, program: train}"])
def test_notes_change_no_weights_and_go_through_a_kill(lab, tmp_path: Path, method: str) -> None:
    here = lab()
    plain = here.cells(f"{{m: {method}}}")["m"]
    cell = here.cells(f"{{m: {method}}}", evaluation=SETTLING)["m"]
    assert cell.stages[-1].hash != plain.stages[-1].hash
    for name, one in (("plain", plain), ("whole", cell)):
        torch.manual_seed(1)
        finish(tmp_path / name, here.registry, one)
    whole = outcome(tmp_path / "whole", cell)
    for name, windows in (("often", 1), ("seldom", 3)):
        assert stopped_and_resumed(tmp_path / name, here.registry, cell, windows) > 0
        assert_same(whole, outcome(tmp_path / name, cell))
        assert not list((tmp_path / name).rglob("*note-*"))
    assert_same(whole[-1][0]["weights"], outcome(tmp_path / "plain", plain)[-1][0]["weights"])


@pytest.mark.parametrize("damage", ["lost", "damaged"])
@pytest.mark.parametrize("lost", [0, 22, 45])
def test_a_note_that_is_gone_costs_its_row_and_not_the_training(lab, lost: int, damage: str) -> None:
    here = lab()
    cell = here.cells("{m: {use: programmed, program: dynamic, density: 0.4}}", evaluation=SETTLING)["m"]
    keep = here.store.save_note

    def save(stage: str, step: int, content: object) -> None:
        keep(stage, step, content)
        if step == lost:
            path = here.store.folder(stage) / f"note-{step:012d}.safetensors"
            path.unlink() if damage == "lost" else path.write_bytes(b"x" * 100)

    here.runner.store.save_note = save
    here.run(cell)
    last = cell.stages[-1].hash
    rows, state = here.store.series(last).get("settling", []), here.store.state(last)
    if lost == 45:  # the end, which all others are compared with
        assert rows == [] and "history" not in state
    else:
        assert [row[1] for row in rows] == [step for step in (0, 11, 22, 34, 45) if step != lost]
        assert MaskHistory.of_state(state["history"]).steps == tuple(row[1] for row in rows)


def test_the_distance_is_relative_to_the_end_over_all_connections() -> None:
    end = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([[4.0]])}
    then = {"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([[6.0]])}
    assert distance(then, end) == pytest.approx((1 + 4) ** 0.5 / 5)
    assert distance(end, end) == 0
    assert distance(then, {name: tensor * 0 for name, tensor in end.items()}) is None


@pytest.mark.parametrize("size", [1, 7, 8, 65])
def test_a_history_gives_back_its_bits(size: int) -> None:
    import numpy as np

    masks = np.random.RandomState(size).rand(5, size) < 0.3
    packed = [np.packbits(row) for row in masks]
    history = MaskHistory.of(2, (0, 3, 4, 9, 10), {"c": packed}, {"c": size})
    back = MaskHistory.of_state(history.state())
    assert back.phase == 2 and back.steps == (0, 3, 4, 9, 10)
    assert (back.bits("c") == masks).all()
    some = np.arange(0, size, 2)
    assert (history.reduced(lambda _: some).bits("c") == masks[:, ::2]).all()
    assert (history.reduced(lambda _: None).bits("c") == masks).all()
