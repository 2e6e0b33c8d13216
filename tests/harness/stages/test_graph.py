"""The graph of stages: what is shared, and what changes a hash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.registry.plugins import load
from harness.stages import graph
from harness.stages.graph import Graph, PlannedCell, compile_graph
from harness.suites.suite import load_suite

BASE = """
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
training: {steps: 10, batch_size: 32}
"""

PLUGIN = '''
from collections.abc import Mapping
from typing import Any
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from harness import (
    Architecture, Band, Benchmark, Connection, DataSpec, Entry, Metric, Prune, Reinitialize, SparsityMethod, Train,
    hookimpl
)


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    matters: int = 1
    only_in_training: int = 1
    unhashed: int = Field(1, json_schema_extra={"hashed": False})


class Thing(SparsityMethod[Options]):
    Options = Options
    version = "1"

    def program(self, budget):
        return [Train(5, hooks=False), Prune(), Train(5)]

    def influences(self, phase) -> Mapping[str, Any]:
        include = {"matters", "only_in_training"} if isinstance(phase, Train) else {"matters"}
        return self.options.model_dump(include=include)


class Coins(SparsityMethod[Options]):
    """Begins with a reinitialisation, which depends on the scope although no hook runs."""

    Options = Options
    takes_density = "never"

    def program(self, budget):
        return [Reinitialize("random_sign"), Train(5, hooks=False)]


class Adapting(SparsityMethod[Options]):
    """Builds another network from its options, and then trains without hooks."""

    Options = Options
    takes_density = "never"

    def program(self, budget):
        return [Train(5, hooks=False)]

    def adapt(self, architecture, connections, budget):
        return architecture


class Data(Benchmark[Options]):
    Options = Options
    version = "1"  # of data
    metrics = (Metric("accuracy", "fraction", "max"),)
    content = "as it was"

    def spec(self):
        return DataSpec("classification", (4,), 2, 100)

    def fingerprint(self):
        return self.content


class Net(Architecture[Options]):
    Options = Options
    version = "1"  # of net
    kinds = ("classification",)

    def build(self):
        return nn.Linear(4, 2)

    def connections(self):
        bands = Band("input", 4, 0), Band("output", 2, 1)
        return [Connection("out", "weight", "dense", *bands, (2, 4))]


@hookimpl
def harness_register_methods():
    return [Entry("thing", Thing), Entry("adapting", Adapting), Entry("coins", Coins)]


@hookimpl
def harness_register_benchmarks():
    return [Entry("data", Data)]


@hookimpl
def harness_register_architectures():
    return [Entry("net", Net)]
'''
TOY = """
architectures: {net: }
benchmarks: {data: }
training: {steps: 10, batch_size: 32}
methods: {thing: {density: 0.5}}
"""
CHECKED = TOY + "evaluation: {checks: 5}\n"


@pytest.fixture
def planned(tmp_path: Path):
    """Compiles a suite's text with the toy plugin, or another version of that."""

    def compiled(text: str, *overrides: str, plugin: str = PLUGIN) -> Graph:
        (tmp_path / "s.yaml").write_text(text, encoding="utf8")
        (tmp_path / "toy_stages.py").write_text(plugin, encoding="utf8")
        registry = load([tmp_path / "toy_stages.py"])
        return compile_graph(load_suite(tmp_path / "s.yaml", registry, overrides).cells, registry)

    return compiled


def hashes(graph: Graph) -> list[str]:
    (cell,) = graph.cells
    return [stage.hash for stage in cell.stages]


def by_method(graph: Graph) -> dict[str, PlannedCell]:
    return {f"{p.cell.method}{p.cell.density or ''}": p for p in graph.cells}


# --- what is shared ------------------------------------------------------------------------------


def test_one_dense_training_serves_every_point_of_a_pruning_curve(planned):
    graph = planned(BASE + "methods: {dense: , magnitude: {density: [0.9, 0.5, 0.3, 0.1], recovery_steps: 5}}")
    cells = by_method(graph)
    (dense,) = cells["dense"].stages
    for density in (0.9, 0.5, 0.3, 0.1):
        first, second = cells[f"magnitude{density}"].stages
        assert first is dense
        assert second.parent is dense and second.needs == (dense.hash,)
        assert [type(phase).__name__ for phase in second.phases] == ["Prune", "Finetune"]
        assert (second.offset, second.steps) == (1, 5)
    assert len(graph.stages) == 5 and sum(len(planned.stages) for planned in graph.cells) == 9
    assert len({cell.id for cell in graph.cells}) == 5


def test_generations_of_a_connectome_are_shared(planned):
    graph = planned(
        BASE + "methods: {three: {use: connectome, generations: 3}, six: {use: connectome, generations: 6}}"
    )
    three, six = by_method(graph)["three"].stages, by_method(graph)["six"].stages
    # The last training after three generations is what the fourth generation begins with.
    assert three == six[:4] and len(six) == 7
    assert len({stage.hash for stage in six}) == 7
    assert all(six[-1].ancestor(3 * generation) is stage for generation, stage in enumerate(six[:-1]))
    with pytest.raises(ValueError, match="phase 1 is no earlier training phase"):
        six[3].ancestor(1)


def test_methods_with_equal_programs_that_take_part_are_not_shared(planned):
    graph = planned(BASE + "methods: {random: {density: 0.5}, small_dense: {density: 0.5}, dense: }")
    assert len(graph.stages) == 3


def test_seeds_densities_and_scopes_are_not_shared(planned):
    graph = planned(
        BASE
        + """
seeds: 2
methods:
  random: {density: [0.5, 0.1]}
  all: {use: random, density: 0.5, scope: all}
  same: {use: random, density: 0.5}
"""
    )
    assert len(graph.cells) == 8
    assert len(graph.stages) == 6  # `same` does what `random` does under another label


def test_cells_that_only_differ_in_how_they_are_tested_share_their_training(planned):
    text = BASE + "evaluation: {masks: %s, select: %s%s}\nmethods: {dense: , genome: }"
    hard, soft, named = (
        planned(text % values)
        for values in (("hard", "final", ""), ("soft", "final", ""), ("hard", "final", ", name: x"))
    )
    assert set(hard.stages) == set(soft.stages) == set(named.stages)
    assert len({cell.id for graph in (hard, soft, named) for cell in graph.cells}) == 6
    chosen_hard, chosen_soft = (planned(text % (masks, "validation", "")) for masks in ("hard", "soft"))
    assert len(set(hard.stages) | set(chosen_hard.stages) | set(chosen_soft.stages)) == 6


def test_cells_wait_for_the_cells_they_refer_to(planned):
    graph = planned(
        BASE
        + "methods: {shuffle: {source: magnitude}, random: {density: {match: magnitude}}, magnitude: {density: 0.5}}"
    )
    cells = by_method(graph)
    last = cells["magnitude0.5"].stages[-1].hash
    (shuffle,), (random,) = cells["shuffle0.5"].stages, cells["random0.5"].stages
    assert (shuffle.source_from, shuffle.density_from, shuffle.needs) == (last, None, (last,))
    assert (random.source_from, random.density_from, random.needs) == (None, last, (last,))
    assert cells["shuffle0.5"].source_id == cells["random0.5"].match_id == cells["magnitude0.5"].id
    order = list(graph.stages)
    assert order.index(last) < order.index(shuffle.hash)


def test_each_way_of_matching_is_another_stage(planned):
    text = BASE + "methods: {genome: , random: {density: {match: genome, by: %s}}}"
    found = {
        by_method(planned(text % by))["random"].stages[0].hash for by in ("hard", "soft", "soft_pairs", "per_layer")
    }
    assert len(found) == 4


def test_what_a_match_refers_to_changes_those_that_refer(planned):
    text = BASE + "methods: {connectome: {generations: %d}, random: {density: {match: connectome}}}"
    assert len({by_method(planned(text % n))["random"].stages[0].hash for n in (1, 2)}) == 2


def test_what_a_cell_starts_from_changes_it(planned):
    text = (
        BASE + "methods: {one: {use: random, density: 0.5}, two: {use: magnitude, density: 0.5}, shuffle: {source: %s}}"
    )
    one, two = (by_method(planned(text % source))["shuffle0.5"] for source in ("one", "two"))
    assert one.stages[0].hash != two.stages[0].hash and one.id != two.id


# --- what changes a hash -------------------------------------------------------------------------


SCORED = """
import os


class Scored(Data):
    def fingerprint(self):
        return os.environ["CONTENT"]


@hookimpl(specname="harness_register_benchmarks")
def more():
    return [Entry("scored", Scored)]
"""


def test_other_data_to_score_on_is_another_cell_of_the_same_training(planned, monkeypatch):
    text = TOY.replace("{data: }", "{data: , scored: }") + "train_on: data\ninclude: [{benchmark: scored}]\n"
    monkeypatch.setenv("CONTENT", "as it was")
    before = planned(text, plugin=PLUGIN + SCORED)
    monkeypatch.setenv("CONTENT", "as it is now")
    after = planned(text, plugin=PLUGIN + SCORED)
    assert hashes(before) == hashes(after) and before.cells[0].cell.benchmark == "scored"
    assert before.cells[0].id != after.cells[0].id


@pytest.mark.parametrize(
    "override",
    [
        *(f"training.{key}" for key in (
            "batch_size=16",
            "micro_batches=2",
            "optimizer=sgd",
            "lr=2e-3",
            "betas=[0.8, 0.999]",
            "eps=1e-7",
            "momentum=0.8",
            "weight_decay=0.1",
            "schedule=linear",
            "warmup_steps=1",
            "final_lr=0.1",
            "clip_norm=1",
            "precision=bf16",
            "threads=2",
            "compile=true",
        )),
        "evaluation.select=validation",
        "evaluation.select=best_test",
        "evaluation.checks=3",
        "seeds=[1]",
        "architectures.net.matters=2",
        "benchmarks.data.matters=2",
    ],
)  # fmt: skip
def test_every_setting_of_training_changes_every_stage(planned, override):
    before, after = hashes(planned(CHECKED)), hashes(planned(CHECKED, override))
    assert not set(before) & set(after)


@pytest.mark.parametrize("select", ["validation", "best_test"])
def test_only_the_last_training_of_a_program_chooses_and_only_earlier_ones_have_another_hash(planned, select):
    """A single training is the same stage as ever; one that others follow is not the one that is chosen from."""
    text = CHECKED.replace("{thing: ", "{plain: {use: dense, training: {steps: 5}}, thing: ")
    plain, thing = planned(text, f"evaluation.select={select}").cells
    assert [stage.chooses for stage in (*thing.stages, *plain.stages)] == [False, True, True]
    assert thing.stages[0].hash != plain.stages[0].hash
    # As the format was before: nothing but root, key and phases.
    compiler = graph._Compiler([plain.cell], load([]))
    (_, _, texts, _), *_ = compiler._program(plain.cell)[0]
    assert plain.stages[0].hash == graph._hash(compiler._root(plain.cell), "", *texts)
    shared, kept = planned(text).cells
    assert [stage.chooses for stage in kept.stages] == [False, False]
    assert kept.stages[0] is shared.stages[0]


@pytest.mark.parametrize("override", ["methods.thing.density=0.4", "methods.thing.matters=2", "scope=all"])
def test_what_only_the_method_sees_leaves_plain_training_shared(planned, override):
    before, after = hashes(planned(TOY)), hashes(planned(TOY, override))
    assert before[0] == after[0] and before[1] != after[1]


def test_options_that_a_method_declares_without_influence(planned):
    assert hashes(planned(TOY)) == hashes(planned(TOY, "architectures.net.unhashed=2", "benchmarks.data.unhashed=2"))
    assert hashes(planned(TOY))[1] != hashes(planned(TOY, "methods.thing.only_in_training=2"))[1]
    # Not hashed for training, but part of what the record says about the cell.
    before, after = planned(TOY).cells[0].id, planned(TOY, "methods.thing.only_in_training=2").cells[0].id
    assert before != after


def test_spelling_out_a_default_changes_nothing(planned):
    assert planned(TOY).cells[0].id == planned(TOY, "training.lr=0.001", "methods.thing.matters=1").cells[0].id


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("matters: int = 1", "matters: int = 2"),
        ('content = "as it was"', 'content = "changed"'),
        ('version = "1"  # of data', 'version = "2"  # of data'),
        ('version = "1"  # of net', 'version = "2"  # of net'),
        ("    return [Entry(", "    return [ Entry("),
    ],
    ids=["default of an option", "content of the data", "version of benchmark", "of architecture", "source of a file"],
)  # fmt: skip
def test_a_plugin_that_changes_changes_the_hashes(planned, old, new):
    assert old in PLUGIN
    before, after = planned(TOY), planned(TOY, plugin=PLUGIN.replace(old, new))
    assert not set(before.stages) & set(after.stages)
    assert before.cells[0].id != after.cells[0].id


def test_the_version_of_a_method_changes_the_stages_in_which_it_takes_part(planned, monkeypatch):
    from harness_magnitude.method import Magnitude
    from harness_random.method import Random

    text = BASE + "methods: {magnitude: {density: 0.5}, random: {density: 0.5}}"
    before = by_method(planned(text))
    monkeypatch.setattr(Magnitude, "version", "2")
    monkeypatch.setattr(Random, "version", "2")
    after = by_method(planned(text))
    assert before["magnitude0.5"].stages[0].hash == after["magnitude0.5"].stages[0].hash
    assert before["magnitude0.5"].stages[1].hash != after["magnitude0.5"].stages[1].hash
    assert before["random0.5"].stages[0].hash != after["random0.5"].stages[0].hash
    assert before["magnitude0.5"].id != after["magnitude0.5"].id


def test_adapting_methods_and_their_options_share_no_training(planned):
    text = TOY.replace("thing: {density: 0.5}", "adapting: ")
    assert hashes(planned(text)) != hashes(planned(text, "methods.adapting.matters=2"))
    assert hashes(planned(text)) != hashes(planned(text.replace("adapting:", "dense:")))


def test_networks_that_are_scaled_in_another_way_are_trained_anew(planned, monkeypatch):
    from harness_architectures.mlp import Mlp

    text = BASE + "methods: {dense: , small_dense: {density: 0.5}}"
    before = by_method(planned(text))
    monkeypatch.setattr(Mlp, "scaled_version", "2")
    after = by_method(planned(text))
    assert before["dense"].id == after["dense"].id
    assert before["small_dense0.5"].stages[0].hash != after["small_dense0.5"].stages[0].hash


def test_a_reinitialisation_depends_on_the_scope_although_no_hook_runs(planned):
    text = TOY.replace("thing: {density: 0.5}", "coins: ")
    assert hashes(planned(text)) != hashes(planned(text, "scope=[dense]"))


def test_labels_and_suites_name_cells_and_not_stages(planned):
    text = BASE + "methods: {%s: {use: magnitude, density: 0.5}}"
    one, two = planned(text % "one"), planned("name: other\n" + text % "two")
    assert list(one.stages) == list(two.stages)
    assert one.cells[0].id != two.cells[0].id


# --- names ---------------------------------------------------------------------------------------

GOLDEN = {
    "dense": "main.mlp.digits.dense.s0",
    "magnitude0.5": "main.mlp.digits.magnitude.d0.5.s0",
}


def test_a_cell_is_named_after_its_labels(planned):
    cells = by_method(planned(BASE + "methods: {dense: , magnitude: {density: 0.5}}"))
    for name, head in GOLDEN.items():
        labels, digest = cells[name].id.rsplit(".", 1)
        assert labels == head
        assert len(digest) == 10 and set(digest) <= set("0123456789abcdef")


def test_hashes_do_not_depend_on_the_process(planned, tmp_path):
    """Nor on the order of sets, which PYTHONHASHSEED changes; the next test does the same for every run's own."""
    graph = planned(TOY + "scope: [dense]\n")
    program = (
        "import sys; from pathlib import Path; from harness.registry.plugins import load\n"
        "from harness.suites.suite import load_suite\n"
        "from harness.stages.graph import compile_graph\n"
        "folder = Path(sys.argv[1]); registry = load([folder / 'toy_stages.py'])\n"
        "graph = compile_graph(load_suite(folder / 's.yaml', registry).cells, registry)\n"
        "print(*graph.stages, *(cell.id for cell in graph.cells), hash('a'))"
    )
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    found = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert found.pop() != str(hash("a"))
    assert found == [*graph.stages, graph.cells[0].id]


def test_hashes_are_what_they_were(planned, monkeypatch):
    """Golden: a change here throws away everybody's finished work. Raise FORMAT only where results change.

    Written by another process, and read by one whose sets have another order at every run.
    """
    from harness.registry.plugins import Registry

    monkeypatch.setattr(Registry, "identity", lambda self, kind, name: {"plugin": name, "version": "1"})
    assert hashes(planned(TOY)) == ["7e6833914794bd1877106adaeffbfc38", "83ff3438216696edab0e78b85551f478"]
    scoped = planned(TOY + "scope: [dense]\n")
    assert (*hashes(scoped), scoped.cells[0].id) == (
        "7e6833914794bd1877106adaeffbfc38",
        "46c46a3ab5d52629a48f2e473a11d5fd",
        "main.net.data.thing.d0.5.s0.37e1e17ff9",
    )
