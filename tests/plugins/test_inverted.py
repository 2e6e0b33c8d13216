"""The control that keeps the lowest scores (Frankle et al. 2021), of any method that prunes by scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pruning import Bench

from harness import (
    DataSpec,
    HarnessError,
    Masks,
    MethodContext,
    NoOptions,
    Prune,
    Source,
    SparsityMethod,
    Train,
    UserError,
)
from harness.core.phases import inverted
from harness.errors import SuiteError
from harness.registry.plugins import load
from harness.stages.graph import PlannedCell, compile_graph
from harness.suites.suite import Suite, load_suite
from harness.testing.toy import ToyArchitecture, ToyData
from harness_controls.shuffle import Shuffle, ShuffleOptions
from harness_initialisation.at_initialisation import AtInitialisationOptions
from harness_initialisation.calibration import CalibratedOptions
from harness_initialisation.grasp import Grasp, GraspOptions
from harness_initialisation.magnitude_at_init import MagnitudeAtInit
from harness_initialisation.snip import Snip
from harness_initialisation.synflow import Synflow, SynflowOptions
from harness_magnitude.method import Magnitude, MagnitudeOptions

SPEC = DataSpec("classification", (8,), 4, examples=64)
TOY = ToyArchitecture(NoOptions(), SPEC)
REGISTRY = load([])
HEAD = "architectures: {mlp: {hidden: [8]}}\nbenchmarks: digits\ntraining: {steps: 4}\nseeds: [3]\nmethods:\n"


class Given(SparsityMethod[NoOptions]):
    """Scores as given: 0 to 63, 0 to 127 and so on in each layer; some may not be kept."""

    forbidden = 0

    def program(self, budget: Any) -> list[Any]:
        return [Prune(exponent=0.5), Prune(), Train(1, hooks=False)]

    def scores(self, context: MethodContext) -> dict[str, torch.Tensor]:
        scores = {c.name: torch.arange(c.size, dtype=torch.float32).view(c.shape) for c in context.connections}
        scores["layer0"].view(-1)[: self.forbidden] = float("-inf")
        return scores


class Stubborn(Given):
    """Makes the masks that it wants in refine()."""

    def refine(self, masks: Masks, context: MethodContext) -> Masks:
        return Masks({name: mask.flip(0) for name, mask in masks.items()})


def suite(tmp_path: Path, methods: str) -> Suite:
    path = tmp_path / "suite.yaml"
    path.write_text(HEAD + methods)
    return load_suite(path, REGISTRY)


def planned(tmp_path: Path, methods: str) -> dict[str, PlannedCell]:
    return {cell.cell.method: cell for cell in compile_graph(suite(tmp_path, methods).cells, REGISTRY).cells}


# --- the phase -----------------------------------------------------------------------------------


def test_the_lowest_are_kept_and_what_is_gone_stays_gone() -> None:
    """16 of 256 after 64: the lowest in three layers together, ties to the first."""
    found = Bench(Given(NoOptions()), TOY, None, 1 / 16)
    first, second = found.prune(invert=True)
    assert first.kept == {"layer0": 22, "layer1": 21, "layer2": 21}
    assert [name for name, mask in second.items() for _ in range(int(mask.sum()))] == (
        ["layer0"] * 6 + ["layer1"] * 5 + ["layer2"] * 5
    )
    assert all(mask.reshape(-1).nonzero().max() < 6 for mask in second.values())
    weight = found.context.model.get_parameter("layers.0.weight")
    assert int((weight != 0).sum()) == 6


def test_what_must_go_goes_all_the_same() -> None:
    method = Given(NoOptions())
    method.forbidden = 10
    masks = Bench(method, TOY, None, 1 / 16).prune(invert=True)[-1]
    kept = masks["layer0"].reshape(-1).nonzero()
    assert kept.numel() == 0 and masks.kept == {"layer0": 0, "layer1": 8, "layer2": 8}


METHODS: dict[str, SparsityMethod[Any]] = {
    "snip": Snip(CalibratedOptions()),
    "grasp": Grasp(GraspOptions()),
    "synflow": Synflow(SynflowOptions(rounds=1)),
    "magnitude_at_init": MagnitudeAtInit(AtInitialisationOptions()),
    "magnitude": Magnitude(MagnitudeOptions()),
}


@pytest.mark.parametrize("name", METHODS)
def test_at_half_the_weights_it_is_what_the_method_removes(name: str) -> None:
    upright = Bench(METHODS[name], TOY, ToyData(SPEC), 0.5).prune()[-1]
    turned = Bench(METHODS[name], TOY, ToyData(SPEC), 0.5).prune(invert=True)[-1]
    assert sum(upright.kept.values()) == sum(turned.kept.values()) == 128
    assert all(torch.equal(turned[layer], ~mask) for layer, mask in upright.items())


def test_a_rule_that_only_removes_goes_together_with_it() -> None:
    found = Bench(Magnitude(MagnitudeOptions(dead_neurons=0.8)), TOY, None, 0.2)
    plain = Bench(Magnitude(MagnitudeOptions()), TOY, None, 0.2).prune(invert=True)[-1]
    (masks,) = found.prune(invert=True)
    assert all((mask <= plain[name]).all() for name, mask in masks.items())
    assert sum(masks.kept.values()) < sum(plain.kept.values())


def test_masks_that_are_not_made_by_scores_are_refused() -> None:
    Bench(Stubborn(NoOptions()), TOY, None, 0.1).prune()
    with pytest.raises(HarnessError, match=r"Stubborn.refine\(\) keeps weights that are not those of the"):
        Bench(Stubborn(NoOptions()), TOY, None, 0.1).prune(invert=True)


def test_programs() -> None:
    train = Train(9, hooks=False)
    assert inverted([train, Prune(exponent=0.5), Prune()]) == [
        train,
        Prune(exponent=0.5, inverted=True),
        Prune(inverted=True),
    ]
    for program in ([train], [Prune(density=1.0), train]):
        with pytest.raises(UserError, match="this program chooses by none"):
            inverted(program)


# --- the suite -----------------------------------------------------------------------------------


def test_a_suite_inverts_any_method(tmp_path: Path) -> None:
    cells = planned(
        tmp_path,
        "  dense:\n"
        "  magnitude: {density: 0.1, recovery_steps: 2}\n"
        "  magnitude_inverted: {use: magnitude, density: 0.1, recovery_steps: 2, inverted: true}\n"
        "  snip: {density: 0.1}\n"
        "  snip_inverted: {use: snip, density: 0.1, inverted: true}\n",
    )
    assert cells["snip"].stages[0].phases[0] == Prune()
    assert cells["snip_inverted"].stages[0].phases[0] == Prune(inverted=True)
    assert cells["magnitude"].stages[0] is cells["magnitude_inverted"].stages[0] is cells["dense"].stages[0]
    for name in ("magnitude", "snip"):
        one, other = cells[name], cells[f"{name}_inverted"]
        assert one.stages[-1].hash != other.stages[-1].hash and one.id != other.id
    record = cells["snip_inverted"].cell.method_part.record()
    assert record["inverted"] is True and "inverted" not in cells["snip"].cell.method_part.record()


def test_without_it_nothing_has_another_name(tmp_path: Path) -> None:
    """``inverted: false`` says what is so already, and older results stay valid."""
    said = planned(tmp_path, "  magnitude: {density: 0.1, inverted: false}\n")["magnitude"]
    plain = planned(tmp_path, "  magnitude: {density: 0.1}\n")["magnitude"]
    assert said.id == plain.id and said.stages[-1].hash == plain.stages[-1].hash


def test_it_is_a_control_of_the_same_method(tmp_path: Path) -> None:
    found = suite(
        tmp_path,
        "  dense:\n"
        "  random: {density: 0.1}\n"
        "  many: {use: snip, density: 0.1, batches: 3}\n"
        "  snip: {density: 0.1}\n"
        "  turned: {use: snip, density: 0.1, inverted: true}\n"
        "  elsewhere: {use: snip, density: 0.1, batches: 2, inverted: true, controls: many}\n",
    ).comparisons["main"]
    assert found.controls["turned"] == "snip" and found.controls["elsewhere"] == "many"
    assert set(found.control_methods) == {"random", "turned", "elsewhere"}
    assert "snip against turned" in map(str, found.questions)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("dense: {inverted: true}", "chooses by none"),
        ("genome: {inverted: true}", "chooses by none"),
        ("shuffle: {source: snip, inverted: true}", "chooses by none"),
    ],
)
def test_what_cannot_be_inverted_is_refused_when_planned(tmp_path: Path, entry: str, reason: str) -> None:
    with pytest.raises(SuiteError, match=reason):
        suite(tmp_path, f"  snip: {{density: 0.1}}\n  {entry}\n")


def test_masks_that_change_in_training_are_refused(tmp_path: Path) -> None:
    plugin = tmp_path / "moving.py"
    plugin.write_text(
        "from harness import Entry, Prune, SparsityMethod, Train, hookimpl\n"
        "class Moving(SparsityMethod):\n"
        "    def program(self, budget):\n        return [Prune(), Train(budget.steps)]\n"
        "    def after_step(self, context):\n        return None\n"
        "@hookimpl\ndef harness_register_methods():\n    return [Entry('moving', Moving)]\n"
    )
    path = tmp_path / "suite.yaml"
    path.write_text(HEAD + "  moving: {density: 0.1, inverted: true}\n")
    with pytest.raises(SuiteError, match="this method also masks while it trains"):
        load_suite(path, load([plugin]))


def test_a_shuffled_mask_is_another_one_of_equal_counts(tmp_path: Path) -> None:
    """What the other controls take from these methods: counts per layer, and not the places."""
    for name in ("snip", "grasp", "synflow"):
        found = Bench(METHODS[name], TOY, ToyData(SPEC), 0.2)
        masks = found.prune()[-1]
        found.context.source = Source("cell", masks, {}, {})
        shuffled = Shuffle(ShuffleOptions()).refine(masks, found.context)
        assert shuffled.kept == masks.kept and shuffled.digest() != masks.digest()
