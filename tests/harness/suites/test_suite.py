"""From a suite file to cells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.registry.plugins import load
from harness.stages.graph import compile_graph
from harness.suites.cell import Cell, Key
from harness.suites.suite import load_suite

PLUGIN = '''
from pydantic import BaseModel, ConfigDict
from harness import Benchmark, DataSpec, Entry, Metric, SparsityMethod, UserError, hookimpl


class Greedy(SparsityMethod):
    """Takes a density of its own and a source."""

    takes_density = "optional"
    takes_source = "optional"


class Corpus(Benchmark):
    """Only offers training data."""

    def spec(self):
        return DataSpec("classification", (1, 8, 8), 10, 100)


class Exam(Benchmark):
    """Only scores."""

    metrics = (Metric("accuracy", "fraction", "max"),)


class Sizes(BaseModel):
    model_config = ConfigDict(extra="forbid")
    train: int = 100
    validation: int = 10
    test: int = 10


class Sized(Exam):
    """Has as many examples as it is told; knows what to do without any for the test where that is -1."""

    Options = Sizes

    def spec(self):
        return DataSpec("classification", (1, 8, 8), 10, self.options.train)

    def examples(self, split):
        if split == "test" and self.options.test < 0:
            raise UserError("the test split is empty. Raise `test`.")
        return getattr(self.options, split)


@hookimpl
def harness_register_methods():
    return [Entry("greedy", Greedy)]


@hookimpl
def harness_register_benchmarks():
    return [Entry("unscored", Corpus), Entry("exam", Exam), Entry("sized", Sized)]
'''


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "greedy.py"
    path.write_text(PLUGIN)
    return load([path])


HEAD = "architectures: mlp\nbenchmarks: digits\ntraining: {steps: 10, batch_size: 32}\n"


def only(cells: list[Cell], **wanted: object) -> Cell:
    found = [cell for cell in cells if all(getattr(cell, key) == value for key, value in wanted.items())]
    assert len(found) == 1
    return found[0]


# --- number and order ----------------------------------------------------------------------------


def test_every_combination_once_in_order_of_the_file_with_seeds_innermost(suite):
    cells = suite("""
architectures: {small: {use: mlp, hidden: [4]}, large: {use: mlp, hidden: [8]}}
benchmarks: [digits, {other: {use: digits, validation_size: 0}}]
training: {steps: 10}
seeds: [5, 0]
methods: {dense: , random: {density: [0.5, 1e-1]}}
""").cells
    expected = [
        Key("main", architecture, benchmark, method, density, seed)
        for architecture in ("small", "large")
        for benchmark in ("digits", "other")
        for method, density in (("dense", None), ("random", 0.5), ("random", 0.1))
        for seed in (5, 0)
    ]
    assert [cell.key for cell in cells] == expected
    assert cells[0].architecture_part.options.hidden == [4]
    assert cells[0].architecture_part.plugin == "mlp" and cells[0].architecture_part.label == "small"
    assert only(cells, key=expected[-1]).benchmark_part.options.validation_size == 0


def test_three_ways_to_write_labels_are_one(suite):
    written = ["methods: dense", "methods: [dense]", "methods: {dense: }", "methods: {dense: {}}"]
    assert len({tuple(cell.key for cell in suite(HEAD + text).cells) for text in written}) == 1
    mixed = suite(HEAD + "methods: [dense, {rare: {use: random, density: 0.1}}]").cells
    assert [cell.method for cell in mixed] == ["dense", "rare"]


def test_a_number_of_seeds_counts_from_zero(suite):
    assert [cell.seed for cell in suite(HEAD + "seeds: 3\nmethods: dense").cells] == [0, 1, 2]
    assert [cell.seed for cell in suite(HEAD + "methods: dense").cells] == [0]


def test_no_is_a_label_like_any_other(suite):
    assert [cell.method for cell in suite(HEAD + "methods: {no: {use: dense}}").cells] == ["no"]


def test_include_and_exclude(suite):
    text = HEAD + "seeds: 3\nmethods: {dense: , random: {density: [0.5, 0.1]}}\n"
    included = suite(text + "include: [{method: dense}, {density: 0.1, seed: [0, 2]}]").cells
    assert [(c.method, c.density, c.seed) for c in included] == [
        ("dense", None, 0),
        ("dense", None, 1),
        ("dense", None, 2),
        ("random", 0.1, 0),
        ("random", 0.1, 2),
    ]
    excluded = suite(text + "exclude: [{method: random, density: [0.5]}, {seed: 1}]").cells
    assert [(c.method, c.density, c.seed) for c in excluded] == [
        ("dense", None, 0),
        ("dense", None, 2),
        ("random", 0.1, 0),
        ("random", 0.1, 2),
    ]
    both = suite(text + "include: [{method: dense}]\nexclude: [{seed: [0, 1]}]").cells
    assert [(c.method, c.seed) for c in both] == [("dense", 2)]


def test_what_does_not_go_together_may_stand_in_one_suite_if_it_is_excluded(suite, refusal):
    text = "architectures: [mlp, gpt2]\nbenchmarks: digits\ntraining: {steps: 10}\nmethods: dense\n"
    assert "architecture 'gpt2' takes language data, not classification" in refusal(text)
    assert len(suite(text + "exclude: [{architecture: gpt2}]").cells) == 1


# --- training budgets ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("training", "steps"),
    [
        ("{steps: 7}", 7),
        ("{epochs: 1, batch_size: 1257}", 1),
        ("{epochs: 1, batch_size: 1256}", 2),  # the last batch takes its rest from the next pass
        ("{epochs: 2, batch_size: 100}", 26),  # 2514 examples
        ("{epochs: 0.5, batch_size: 100}", 7),  # 628.5 examples
        ("{epochs: 1e-6, batch_size: 100}", 1),
    ],
)
def test_epochs_become_steps(suite, training, steps):
    (cell,) = suite(f"architectures: mlp\nbenchmarks: digits\ntraining: {training}\nmethods: dense").cells
    assert cell.steps == steps
    assert cell.training.epochs is None


def test_a_budget_match_is_the_sum_of_the_other_program(suite):
    cells = suite(
        HEAD
        + """
methods:
  connectome: {generations: 3, outer_steps: 7}
  as_connectome: {use: dense, budget: {match: connectome}}
  magnitude: {density: [1.0, 0.5], recovery_steps: 4, recover_dense: false, training: {steps: 5}}
  as_magnitude: {use: dense, budget: {match: magnitude}}
  twice: {use: connectome, generations: 1, budget: {match: as_connectome}}
"""
    ).cells
    assert only(cells, method="as_connectome").steps == 3 * 7 + 10
    assert only(cells, method="as_magnitude").steps == 5 + 4  # the longest of its densities
    assert only(cells, method="twice").steps == 31
    assert only(cells, method="connectome").steps == 10


def test_a_budget_match_counts_the_trainings_that_a_program_goes_on_from(suite):
    found = suite(
        """
architectures: mlp
benchmarks: digits
training: {steps: 10}
experiments:
  before: {methods: {dense: {training: {steps: 1000}}}}
  main:
    methods:
      dense:
      magnitude: {density: [1.0, 0.5], recovery_steps: 4, recover_dense: false}
      more: {use: continued, source: magnitude, training: {steps: 3}}
      still_more: {use: continued, source: more, training: {steps: 2}}
      moved: {use: continued, source: {experiment: before, method: dense}, training: {steps: 1}}
      reinit: {source: magnitude}
      as_more: {use: dense, budget: {match: more}}
      as_still_more: {use: random, density: {match: still_more}, budget: {match: still_more}}
      as_moved: {use: dense, budget: {match: moved}}
      as_reinit: {use: dense, budget: {match: reinit}}
      twice: {use: dense, budget: {match: as_still_more}}
"""
    )
    wanted = {"as_more": 10 + 4 + 3, "as_still_more": 10 + 4 + 3 + 2, "as_moved": 1001, "as_reinit": 10, "twice": 19}
    assert {label: {cell.steps for cell in found.cells if cell.method == label} for label in wanted} == {
        label: {steps} for label, steps in wanted.items()
    }


def test_a_budget_of_what_goes_on_from_itself_is_refused(refusal):
    text = HEAD + "methods: {a: {use: dense, budget: {match: b}}, b: {use: continued, source: a}}"
    assert "cyclic budget: a -> b -> a -> b" in refusal(text)


def test_a_method_overrides_training_and_evaluation_key_by_key(suite):
    text = """
architectures: mlp
benchmarks: digits
training: {epochs: 2, batch_size: 100, lr: 0.5, weight_decay: 0.1}
evaluation: {masks: soft, checks: 3}
methods:
  dense:
  other: {use: dense, training: {lr: 1e-2}, evaluation: {checks: 5}}
  short: {use: dense, training: {steps: 9}}
"""
    cells = suite(text).cells
    other = only(cells, method="other")
    assert (other.training.lr, other.training.weight_decay, other.steps) == (0.01, 0.1, 26)
    assert (other.evaluation.masks, other.evaluation.checks) == ("soft", 5)
    short = only(cells, method="short")
    assert (short.steps, short.training.lr, short.training.epochs) == (9, 0.5, None)
    assert only(cells, method="dense").training.lr == 0.5


def test_shared_keys_are_defaults_of_experiments_and_settings_are_merged_key_by_key(suite):
    found = suite("""
architectures: mlp
benchmarks: digits
methods: [dense]
seeds: 2
training: {epochs: 2, batch_size: 100, lr: 0.5}
experiments:
  one: {}
  two:
    seeds: [4]
    training: {steps: 3, optimizer: sgd}
    methods: {magnitude: {density: 0.5}}
""")
    assert [cell.key for cell in found.cells] == [
        Key("one", "mlp", "digits", "dense", None, 0),
        Key("one", "mlp", "digits", "dense", None, 1),
        Key("two", "mlp", "digits", "magnitude", 0.5, 4),
    ]
    two = found.cells[2].training
    assert (two.steps, two.lr, two.optimizer, two.batch_size) == (3, 0.5, "sgd", 100)
    assert found.cells[0].steps == 26


def test_scope_of_the_experiment_and_of_a_method(suite):
    cells = suite(
        HEAD + "scope: dense\nmethods: {random: {density: 0.5}, all: {use: random, density: 0.5, scope: all}}"
    ).cells
    assert [(cell.scope, cell.scope_name) for cell in cells] == [
        (("dense",), "maskable[dense]"),
        ("all", "maskable[all]"),
    ]


def test_published_by_benchmark_or_architecture(suite):
    cells = suite("""
architectures: {a: {use: mlp}, b: {use: mlp, hidden: [3]}}
benchmarks: digits
training: {steps: 3}
methods:
  dense: {published: {a: 0.9}}
  two: {use: dense, published: {digits: 0.8}}
  three: {use: dense, published: 0.7}
""").cells
    assert [cell.published for cell in cells] == [0.9, 0.8, 0.7, None, 0.8, 0.7]


# --- references ----------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["hard", "soft", "soft_pairs", "per_layer"])
def test_a_match_refers_to_the_cell_of_the_same_seed(suite, by):
    cells = suite(
        HEAD
        + f"seeds: 2\nmethods: {{random: {{density: {{match: magnitude, by: {by}}}}}, magnitude: {{density: 0.5}}}}"
    ).cells
    for seed in (0, 1):
        cell = only(cells, method="random", seed=seed)
        assert cell.match == Key("main", "mlp", "digits", "magnitude", 0.5, seed)
        assert cell.match_by == by and cell.source is None


def test_a_reference_to_a_method_with_several_densities_spreads_over_them(suite):
    cells = suite(
        HEAD
        + """
methods:
  magnitude: {density: [0.5, 0.1]}
  random: {density: {match: magnitude}}
  shuffle: {source: random}
"""
    ).cells
    for density in (0.5, 0.1):
        random = only(cells, method="random", density=density)
        assert random.match == Key("main", "mlp", "digits", "magnitude", density, 0)
        assert only(cells, method="shuffle", density=density).source == random.key
    assert len(cells) == 6


def test_a_network_that_cannot_be_made_so_small_is_refused_at_its_density(suite, refusal):
    methods = "methods: {{dense: , genome: , small_dense: {{density: {}}}}}\n"
    head = HEAD.replace("mlp", "{mlp: {hidden: [32, 16]}}")
    text = refusal(head + methods.format("[0.5, 0.001]"))
    assert "4:44: method 'small_dense' on 'mlp', density 0.001: Mlp cannot be made as small as 61 parameters" in text
    assert len(suite(head + methods.format("[0.5, 0.1]")).cells) == 4
    assert suite(head + methods.format("{match: genome}")), "what it is given is not known yet"


def test_a_method_with_a_density_of_its_own_and_a_source(suite, refusal):
    text = HEAD + "methods: {magnitude: {density: %s}, greedy: {density: [0.3, 0.2], source: magnitude}}"
    one = suite(text % "0.7").cells
    assert {(c.density, c.source.density) for c in one if c.method == "greedy"} == {(0.3, 0.7), (0.2, 0.7)}
    same = suite(text % "[0.1, 0.2, 0.3]").cells
    assert {(c.density, c.source.density) for c in same if c.method == "greedy"} == {(0.3, 0.3), (0.2, 0.2)}
    assert "'magnitude' has the densities [0.3, 0.7], and none is 0.2: which one is meant?" in refusal(
        text % "[0.3, 0.7]"
    )


def test_a_cycle_through_the_second_of_two_references_is_found(refusal):
    said = refusal(
        HEAD
        + """
methods:
  magnitude: {density: 0.5}
  a: {use: greedy, density: {match: magnitude}, source: b}
  b: {use: greedy, source: a}
"""
    )
    assert "cyclic match: a -> b -> a" in said


def test_transfer_takes_the_source_from_another_experiment(suite):
    cells = suite("""
architectures: {mlp: {hidden: [8]}}
training: {steps: 10}
seeds: 2
experiments:
  learn:
    benchmarks: {first: {use: digits}}
    methods: {magnitude: {density: [0.5, 0.1]}, dense: }
  use:
    benchmarks: {second: {use: digits, validation_size: 10}}
    seeds: [1]
    methods:
      reinit: {source: {method: magnitude, experiment: learn}}
      same: {use: random, density: {match: {method: dense, experiment: learn, benchmark: first}}}
""").cells
    transferred = [cell for cell in cells if cell.method == "reinit"]
    assert [cell.source for cell in transferred] == [
        Key("learn", "mlp", "first", "magnitude", 0.5, 1),
        Key("learn", "mlp", "first", "magnitude", 0.1, 1),
    ]
    assert only(cells, method="same").match == Key("learn", "mlp", "first", "dense", None, 1)


def test_a_reference_across_benchmarks_where_the_choice_is_not_clear(suite, refusal):
    text = """
architectures: mlp
training: {steps: 10}
experiments:
  learn: {benchmarks: {a: {use: digits}, b: {use: digits}}, methods: {magnitude: {density: 0.5}}}
  use:
    benchmarks: {c: {use: digits}}
    methods: {reinit: {source: {method: magnitude, experiment: learn%s}}}
"""
    assert "unknown benchmark 'c' of experiment 'learn'. Known: a, b." in refusal(text % "")
    assert only(suite(text % ", benchmark: b").cells, method="reinit").source.benchmark == "b"


def test_a_reference_to_an_excluded_cell_is_an_error_with_its_line(refusal):
    said = refusal(
        HEAD + "seeds: 2\nmethods:\n  magnitude: {density: 0.5}\n  shuffle: {source: magnitude}\n"
        "exclude: [{method: magnitude, seed: 1}]"
    )
    assert "s.yaml:7:21: method 'shuffle' refers to 'magnitude' (mlp, digits, density 0.5, seed 1), which" in said


# --- training data and scores --------------------------------------------------------------------


def test_train_on_one_benchmark_and_test_on_others(suite):
    cells = suite("""
architectures: mlp
training: {epochs: 1, batch_size: 10}
benchmarks: {unscored: , exam: , digits: }
train_on: unscored
methods: dense
""").cells
    assert [(cell.benchmark, cell.training_part.label, cell.steps) for cell in cells] == [
        ("exam", "unscored", 10),
        ("digits", "unscored", 10),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "benchmarks: exam",
            "s.yaml:3:13: benchmark 'exam' cannot be trained on (Exam offers no training data)",
        ),
        ("benchmarks: [unscored]", "s.yaml:3:14: benchmark 'unscored' has no scores: give it to train_on"),
        (
            "benchmarks: [unscored, exam]\ntrain_on: unscored\nevaluation: {select: validation}",
            "s.yaml:5:22: select is 'validation', but 'unscored' has no scores to select by: give select: final",
        ),
    ],
)
def test_benchmarks_that_lack_what_is_asked_of_them(refusal, text, message):
    assert message in refusal(f"architectures: mlp\ntraining: {{steps: 10}}\n{text}\nmethods: dense")


SIZED = """\
architectures: mlp
benchmarks:
  a: {use: sized, %s}
  b: {use: sized}
training: {steps: %d}
methods: dense
%s
"""


@pytest.mark.parametrize(
    ("sizes", "rest", "message"),
    [
        ("test: 0", "", "s.yaml:3:3: benchmark 'a' has no test examples to score: give it some, or leave it out"),
        ("test: -1", "", "s.yaml:3:3: benchmark 'a': the test split is empty. Raise `test`."),
        ("train: 0", "", "s.yaml:3:3: benchmark 'a' has no training examples: give it some, or training.steps: 0"),
        (
            "validation: 0",
            "evaluation: {select: validation}",
            "s.yaml:7:22: select is 'validation', but 'a' has no validation examples to choose by: give it some, or ",
        ),
        (
            "test: 0",
            "evaluation: {select: best_test}\ntrain_on: a\nexclude: [{benchmark: a}]",
            "s.yaml:7:22: select is 'best_test', but 'a' has no test examples to choose by",
        ),
    ],
)
def test_splits_without_examples_are_refused_where_they_are_needed(refusal, sizes, rest, message):
    assert message in refusal(SIZED % (sizes, 10, rest))


@pytest.mark.parametrize(
    ("sizes", "steps", "rest", "cells"),
    [
        ("validation: 0", 10, "", 2),
        ("test: 0", 10, "train_on: a\nexclude: [{benchmark: a}]", 1),
        ("train: 0", 0, "", 2),
    ],
)
def test_splits_without_examples_are_fine_where_nobody_asks(suite, sizes, steps, rest, cells):
    assert len(suite(SIZED % (sizes, steps, rest)).cells) == cells


# --- overrides -----------------------------------------------------------------------------------


def test_set_reaches_every_experiment_whatever_they_say_themselves(suite):
    text = """
architectures: mlp
benchmarks: digits
methods: [dense]
experiments:
  one: {training: {epochs: 3, lr: 0.5}, seeds: 3}
  two: {training: {steps: 9}}
"""
    cells = suite(text, "training.steps=4", "seeds=[7]").cells
    assert [(c.experiment, c.steps, c.training.lr, c.seed) for c in cells] == [("one", 4, 0.5, 7), ("two", 4, 1e-3, 7)]
    cells = suite(text, "experiments.two.training.steps=2", "experiments.one.seeds=1").cells
    assert [(c.experiment, c.steps) for c in cells] == [("one", 30), ("two", 2)]


def test_set_changes_one_option_of_one_method(suite):
    text = HEAD + "methods: {magnitude: {density: 0.5, recovery_steps: 3}, dense: }"
    cell = suite(text, "methods.magnitude.density=[0.3]", "training.lr=1e-2", "methods.dense=null").cells[0]
    assert cell.density == 0.3 and cell.method_part.options.recovery_steps == 3 and cell.training.lr == 0.01


def test_defaults_of_options_are_part_of_what_identifies_a_cell(suite):
    bare, spelt = (
        suite(HEAD + f"methods: {{magnitude: {text}}}").cells[0]
        for text in (
            "{density: 0.5}",
            "{density: 0.5, recovery_steps: 500, distribution: global}",
        )
    )
    assert bare.method_part.identity == spelt.method_part.identity
    assert bare.method_part.identity["options"]["recovery_steps"] == 500
    assert bare.method_part.identity["version"] == "1"


SUITES = sorted((Path(__file__).parents[3] / "suites").glob("*.yaml"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_the_suites_of_the_repository_load_before_their_data_is_here(path, registry, monkeypatch, tmp_path):
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "tiktoken"))
    if path.stem == "biogpt_pile":  # its tokenizer is a file that decides the size of the network
        text = path.read_text().replace("tokenizer: 20B_tokenizer.json", "tokenizer: gpt2")
        path = tmp_path / path.name
        path.write_text(text)
    if path.stem == "llm_pruning":  # its networks and tokenizers are files that nothing is known without
        config = "config: {model_type: opt, num_hidden_layers: 1, max_position_embeddings: 4096}"
        text = re.sub(r"\bmodel: [^,}]+", config, path.read_text())
        path = tmp_path / path.name
        path.write_text(re.sub(r"tokenizers/\w+\.json", "gpt2", text))
    suite = load_suite(path, registry, dry=True)
    cells = {(cell.experiment, cell.method) for cell in [*suite.cells, *suite.pending]}  # those wait for trials
    wanted = {(name, method) for name, e in suite.experiments.items() for method in e.methods}
    # What Pythia looks like is only known with its configuration.
    assert cells == {pair for pair in wanted if pair[0] != "published" or path.stem != "biogpt_pile"}
    graph = compile_graph(suite.cells, registry)
    assert len(graph.cells) == len(suite.cells)
