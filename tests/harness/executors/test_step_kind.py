"""Which steps are said to take equally long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.phases import Finetune
from harness.executors.step_kind import StepKind, StepKinds
from harness.registry.plugins import load
from harness.stages.graph import Stage, compile_graph
from harness.suites.suite import load_suite

SUITE = """
benchmarks: {digits: , again: {use: digits, validation_size: 300}}
training: {steps: 10, batch_size: 32}
experiments:
  main:
    architectures: {mlp: {hidden: [8]}, same: {use: mlp, hidden: [8]}}
    methods:
      dense:
      magnitude: {density: 0.5, recovery_steps: 5}
      random: {density: 0.5}
      rigl: {density: 0.5}
      small_dense: {density: 0.5}
      genome:
      given: {use: genome, density: 0.5}
      matched: {use: genome, density: {match: genome}}
      faster: {use: dense, training: {lr: 0.1}}
      larger: {use: dense, training: {batch_size: 64}}
  wide:
    architectures: {mlp: {hidden: [9]}}
    methods: {dense: }
"""


@pytest.fixture(scope="module")
def kinds(tmp_path_factory) -> dict[tuple[str, str, int], StepKind]:
    """(experiment, method, index of the stage) -> its kind; the same whatever the label of network or benchmark."""
    path = tmp_path_factory.mktemp("suite") / "s.yaml"
    path.write_text(SUITE)
    suite = load_suite(path, load())
    of = StepKinds(suite).of
    found: dict[tuple[str, str, int], set[StepKind]] = {}
    for planned in compile_graph(suite.cells, suite.registry).cells:
        stages: tuple[Stage, ...] = planned.stages
        for index, stage in enumerate(stages):
            found.setdefault((planned.cell.experiment, planned.cell.method, index), set()).add(of(stage))
    assert all(len(some) == 1 for some in found.values())
    return {name: some.pop() for name, some in found.items()}


def test_held_masks_cost_nothing_and_rates_neither(kinds) -> None:
    held = {kinds["main", name, 0] for name in ("dense", "magnitude", "random", "faster")}
    assert held == {kinds["main", "magnitude", 1]} == {kinds["main", "genome", 0].held}
    assert [(kind.method, kind.composed) for kind in held] == [("", False)]


def test_a_method_that_takes_part_or_changes_the_network_is_a_kind_of_its_own(kinds) -> None:
    own = {name: kinds["main", name, 0] for name in ("rigl", "small_dense", "genome", "given", "matched")}
    assert {name: (kind.method, kind.composed) for name, kind in own.items()} == {
        "rigl": ("rigl", False),
        "small_dense": ("small_dense", False),
        "genome": ("genome", True),
        "given": ("genome at a density", True),
        "matched": ("genome at a density", True),
    }
    assert {kind.network for kind in own.values()} == {kinds["main", "dense", 0].network}


def test_a_training_without_hooks_is_not_the_methods(tmp_path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("{architectures: mlp, benchmarks: digits, training: {steps: 10}, methods: genome}")
    suite = load_suite(path, load())
    [planned] = compile_graph(suite.cells, suite.registry).cells
    of, stage = StepKinds(suite).of, planned.stages[0]
    assert of(stage).method and of(replace(stage, phases=(Finetune(5),))) == of(stage).held


def test_another_batch_or_network_is_another_kind(kinds) -> None:
    assert len({kinds["main", "dense", 0], kinds["main", "larger", 0], kinds["wide", "dense", 0]}) == 3
