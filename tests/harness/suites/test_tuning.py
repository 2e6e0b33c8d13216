"""Equal tuning: which trials a suite has, and which settings its reported cells get."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.registry.plugins import load
from harness.stages.graph import compile_graph
from harness.suites.cell import Cell, Tuned
from harness.suites.suite import Suite
from harness.suites.trials import common_draws, method_draws

PLUGIN = '''
from pydantic import BaseModel, ConfigDict
from harness import Benchmark, DataSpec, Entry, Metric, SparsityMethod, hookimpl


class Sizes(BaseModel):
    model_config = ConfigDict(extra="forbid")
    validation: int = 10


class Sized(Benchmark):
    """Has as many validation examples as it is told."""

    Options = Sizes
    metrics = (Metric("accuracy", "fraction", "max"),)

    def spec(self):
        return DataSpec("classification", (1, 8, 8), 10, 100)

    def examples(self, split):
        return self.options.validation if split == "validation" else 10


class Described(Sized):
    metrics = (Metric("entropy", "nats", "none"),)


class Corpus(Benchmark):
    def spec(self):
        return DataSpec("classification", (1, 8, 8), 10, 100)


class Rate(BaseModel):
    model_config = ConfigDict(extra="forbid")
    lr: float = 0.5


class Rated(SparsityMethod):
    """Has an option with a name of training's."""

    Options = Rate
    takes_density = "never"


@hookimpl
def harness_register_methods():
    return [Entry("rated", Rated)]


@hookimpl
def harness_register_benchmarks():
    return [Entry("sized", Sized), Entry("described", Described), Entry("unscored", Corpus)]
'''
HEAD = """
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
seeds: 2
training: {steps: 40, batch_size: 32, lr: 1e-3}
"""
METHODS = """
methods:
  dense:
  magnitude:
    density: [0.1, 0.03]
    recovery_steps: 20
    space: {recovery_steps: [10, 20, 30], distribution: [global, erk]}
  random: {density: {match: magnitude}, budget: {match: magnitude}}
"""
TUNE = "tune: {trials: 5, space: {lr: [3e-4, 1e-3, 3e-3, 1e-2], weight_decay: [0, 0.1]}, density: 0.1}\n"


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "sized.py"
    path.write_text(PLUGIN)
    return load([path])


def of(cells: list[Cell], **wanted: object) -> list[Cell]:
    return [cell for cell in cells if all(getattr(cell, key) == value for key, value in wanted.items())]


def choose(suite: Suite, **numbers: int) -> Suite:
    return suite.with_choices({Tuned("main", "mlp", "digits", label): number for label, number in numbers.items()})


# --- draws ---------------------------------------------------------------------------------------


def test_shared_draws_are_different_and_leave_out_every_default() -> None:
    space = {"lr": [1, 2, 3], "decay": [0, 1]}
    draws = common_draws(5, space, [{"lr": 1, "decay": 0}, {"lr": 2, "decay": 0}], seed=0)
    assert sorted((d["lr"], d["decay"]) for d in draws) == [(1, 1), (2, 1), (3, 0), (3, 1)]
    assert {tuple(d.values()) for d in common_draws(3, space, [], 0)} < {(lr, d) for lr in (1, 2, 3) for d in (0, 1)}


def test_the_order_of_draws_depends_on_the_seed_alone() -> None:
    space = {"lr": list(range(20))}
    assert common_draws(9, space, [], 0) == common_draws(9, {"lr": list(reversed(range(20)))}, [], 0)
    assert common_draws(9, space, [], 0) != common_draws(9, space, [], 1)
    without = [draw for draw in common_draws(9, space, [], 0) if draw != {"lr": 3}]
    assert common_draws(9, space, [{"lr": 3}], 0)[: len(without)] == without  # the rest moves up


def test_few_shared_combinations_come_as_often_as_each_other() -> None:
    draws = common_draws(8, {"lr": [1, 2, 3]}, [{"lr": 1}], seed=0)
    assert sorted(Counter(draw["lr"] for draw in draws).items()) in ([(2, 3), (3, 4)], [(2, 4), (3, 3)])


def test_own_options_are_drawn_besides_each_value_about_as_often() -> None:
    common = common_draws(7, {"lr": list(range(10))}, [], 0)
    draws = method_draws("a", 7, common, {"x": [1, 2, 3]}, {"x": 1}, 0)
    assert [{"lr": draw["lr"]} for draw in draws] == common
    assert sorted(draw["x"] for draw in draws) == [1, 1, 2, 2, 3, 3]
    assert method_draws("b", 7, common, {"x": [1, 2, 3]}, {"x": 1}, 0) != draws


def test_own_options_alone_never_repeat_and_leave_out_the_default() -> None:
    draws = method_draws("a", 6, common_draws(6, {}, [{}], 0), {"x": [1, 2, 3], "y": [0, 1]}, {"x": 1, "y": 0}, 0)
    assert sorted((d["x"], d["y"]) for d in draws) == [(1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]


def test_repeated_shared_combinations_go_with_other_values_of_a_methods_own() -> None:
    common = common_draws(7, {"lr": [1, 2]}, [{"lr": 0}], 0)
    draws = method_draws("a", 7, common, {"x": [1, 2, 3]}, {"x": 1}, 0)
    assert sorted((d["lr"], d["x"]) for d in draws) == [(lr, x) for lr in (1, 2) for x in (1, 2, 3)]
    with pytest.raises(ValueError, match="8 trials are asked for, and method 'a' has 7: its default, and 6 comb"):
        method_draws("a", 8, common_draws(8, {"lr": [1, 2]}, [{"lr": 0}], 0), {"x": [1, 2, 3]}, {"x": 1}, 0)


# --- trials --------------------------------------------------------------------------------------


def test_every_method_has_as_many_trials_with_the_same_shared_values(suite) -> None:
    found = suite(HEAD + TUNE + METHODS)
    trials = [cell for cell in found.cells if cell.trial]
    assert len(trials) == 5 * 3 * 2
    assert {cell.seed for cell in trials} == {1000, 1001}
    for label in ("dense", "magnitude", "random"):
        mine = of(trials, method=label, seed=1000)
        settings = [(cell.training.lr, cell.training.weight_decay) for cell in mine]
        assert [cell.trial.number for cell in mine] == [1, 2, 3, 4, 5]
        assert settings[0] == (1e-3, 0.0)
        assert len(set(settings)) == 5
        assert settings == [(c.training.lr, c.training.weight_decay) for c in of(trials, method="dense", seed=1000)]
    own = [cell.method_part.options.recovery_steps for cell in of(trials, method="magnitude", seed=1001)]
    assert own[0] == 20 and set(own[1:]) <= {10, 20, 30} and len(set(own)) == 3


def test_the_first_trial_is_the_suite_without_tuning(suite, registry) -> None:
    first = of(suite(HEAD + TUNE + METHODS).cells, experiment="main-trial1")
    plain = suite(HEAD.replace("seeds: 2", "seeds: [1000, 1001]") + METHODS.replace("[0.1, 0.03]", "0.1"), *NO_SPACE)
    assert hashes(first, registry) == hashes(plain.cells, registry)


NO_SPACE = ("methods.magnitude.space={}",)


def hashes(cells: list[Cell], registry) -> dict[tuple[str, float | None, int], list[str]]:
    return {
        (one.cell.method, one.cell.density, one.cell.seed): [stage.hash for stage in one.stages]
        for one in compile_graph(cells, registry).cells
    }


def test_all_trials_of_a_control_are_matched_to_the_default_network_of_the_same_seed(suite) -> None:
    for cell in of(suite(HEAD + TUNE + METHODS).cells, method="random"):
        assert (cell.match.experiment, cell.match.method) == ("main-trial1", "magnitude")
        assert (cell.match.seed, cell.match.density) == (cell.seed, 0.1)
        assert cell.steps == 40 + 20, "the budget is that of the default, too"


def test_a_source_is_followed_in_the_same_way(suite) -> None:
    text = (
        HEAD + TUNE.replace(", density: 0.1", "") + "methods: {magnitude: {density: 0.1}, shuffle: {source: magnitude}}"
    )
    sources = {cell.source for cell in of(suite(text).cells, method="shuffle")}
    assert {(key.experiment, key.method) for key in sources} == {("main-trial1", "magnitude")}


def test_an_option_may_be_called_like_one_of_training(suite) -> None:
    found = suite(HEAD + TUNE + "methods: {dense: , rated: {space: {lr: [0.1, 0.9]}}}")
    rated = of(found.cells, method="rated", seed=1000)
    assert [cell.training.lr for cell in rated] == [
        cell.training.lr for cell in of(found.cells, method="dense", seed=1000)
    ]
    own = [cell.method_part.options.lr for cell in rated]
    assert own[0] == 0.5 and sorted(own[1:]) == [0.1, 0.1, 0.9, 0.9]
    assert found.tuning("main")[1].settings["rated"].keys() == {"lr", "weight_decay", "method.lr"}


def test_a_methods_own_training_is_its_default_and_never_drawn_again(suite) -> None:
    text = HEAD + TUNE + "methods: {dense: , slow: {use: dense, training: {lr: 3e-3, eps: 1e-6}}}"
    found = suite(text)
    slow = of(found.cells, method="slow", seed=1000)
    assert slow[0].training.lr == 3e-3
    assert {cell.training.eps for cell in slow} == {1e-6}
    assert (3e-3, 0.0) not in {(c.training.lr, c.training.weight_decay) for c in slow[1:]}
    assert (1e-3, 0.0) not in {(c.training.lr, c.training.weight_decay) for c in slow[1:]}


def test_selectors_choose_what_is_tuned_whatever_seed_and_density_they_name(suite) -> None:
    rest = "include: [{method: [dense, magnitude], seed: 0}]\nexclude: [{density: 0.1}, {method: dense}]\n"
    found = suite(HEAD + TUNE + METHODS + rest)
    assert {(cell.method, cell.seed) for cell in found.cells} == {("magnitude", 1000), ("magnitude", 1001)}
    assert [(cell.method, cell.density, cell.seed) for cell in found.pending] == [("magnitude", 0.03, 0)]


def test_trials_are_scored_on_what_is_trained_on_only(suite) -> None:
    text = HEAD.replace("benchmarks: digits", "benchmarks: {digits: , again: {use: digits}}\ntrain_on: digits")
    found = suite(text + TUNE + "methods: dense")
    assert {cell.benchmark for cell in found.cells} == {"digits"}
    assert {cell.benchmark for cell in found.pending} == {"digits", "again"}
    settled = found.with_choices({Tuned("main", "mlp", "digits", "dense"): 2})
    assert not settled.pending
    assert len({cell.training.lr for cell in settled.cells if not cell.trial}) == 1


# --- what is reported ----------------------------------------------------------------------------


def test_a_reported_cell_is_that_of_a_suite_in_which_its_settings_are_written(suite, registry) -> None:
    found = choose(suite(HEAD + TUNE + METHODS), dense=4, magnitude=3, random=2)
    assert not found.pending
    settings = {label: found.tuning("main")[number - 1].settings[label] for label, number in CHOSEN.items()}
    written = suite(
        HEAD + METHODS,
        *NO_SPACE,
        *(
            f"methods.{label}.{'' if key in ('recovery_steps', 'distribution') else 'training.'}{key}={value}"
            for label, values in settings.items()
            for key, value in values.items()
        ),
    )
    reported = [cell for cell in found.cells if not cell.trial]
    ids = [{one.id for one in compile_graph(cells, registry).cells} for cells in (reported, written.cells)]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 2 * 5


CHOSEN = {"dense": 4, "magnitude": 3, "random": 2}


def test_a_cell_waits_for_its_own_settings_and_for_those_of_whom_it_names(suite) -> None:
    found = suite(HEAD + TUNE + METHODS)
    assert {cell.method for cell in found.pending} == {"dense", "magnitude", "random"}
    assert {cell.method for cell in choose(found, random=2, dense=1).pending} == {"magnitude", "random"}
    assert {cell.method for cell in choose(found, magnitude=2).pending} == {"dense", "random"}
    for_budget = suite(HEAD + TUNE + "methods: {a: {use: dense}, b: {use: dense, budget: {match: a}}}")
    assert {cell.method for cell in choose(for_budget, b=2).pending} == {"a", "b"}
    inherited = "methods: {a: {use: dense}, m: {use: continued, source: a}, b: {use: dense, budget: {match: m}}}"
    assert {cell.method for cell in choose(suite(HEAD + TUNE + inherited), b=2, m=2).pending} == {"a", "m", "b"}
    assert not choose(suite(HEAD + TUNE + inherited), a=2, b=2, m=2).pending


def test_a_matched_budget_is_that_of_the_chosen_program(suite) -> None:
    found = suite(HEAD + TUNE + METHODS)
    for number, trial in enumerate(found.tuning("main"), 1):
        steps = trial.settings["magnitude"].get("recovery_steps", 20)
        cells = of(choose(found, dense=1, magnitude=number, random=1).cells, method="random", experiment="main")
        assert {cell.steps for cell in cells} == {40 + steps}


def test_each_network_has_settings_of_its_own(suite) -> None:
    text = HEAD.replace("{mlp: {hidden: [8]}}", "{mlp: {hidden: [8]}, wide: {use: mlp, hidden: [16]}}")
    found = suite(text + TUNE + "methods: dense")
    one, other = (trial.settings["dense"]["lr"] for trial in found.tuning("main")[1:3])
    choices = {Tuned("main", "mlp", "digits", "dense"): 2, Tuned("main", "wide", "digits", "dense"): 3}
    lr = {cell.architecture: cell.training.lr for cell in found.with_choices(choices).cells if not cell.trial}
    assert lr == {"mlp": one, "wide": other}


def test_experiments_may_or_may_not_be_tuned(suite) -> None:
    text = (
        HEAD
        + TUNE
        + "methods: dense\nexperiments: {one: {}, two: {tune: null}, three: {tune: {trials: 2, space: {eps: [1]}}}}"
    )
    found = suite(text)
    assert list(found.reported) == ["one", "two", "three"]
    assert [len(found.tuning(name)) for name in found.reported] == [5, 0, 2]
    assert {cell.experiment for cell in found.pending} == {"one", "three"}
    assert list(found.comparisons) == ["one", "two", "three"]


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weight_decay: [0, 0.1]", "weight_dekay: [0, 0.1]", "option 'weight_dekay' of training. Did"),
        ("weight_decay: [0, 0.1]", "steps: [10, 20]", "'steps' decides how much training there is"),
        ("weight_decay: [0, 0.1]", "batch_size: [16]", "'batch_size' decides how much training there is"),
        ("lr: [3e-4, 1e-3", "lr: [3e-4, fast", "lr is a number, above 0, not 'fast'"),
        ("lr: [3e-4, 1e-3", "lr: [-1, 1e-3", "lr is a number, above 0, not -1"),
        ("[0, 0.1]", "[0, 0]", "each of them once: 'weight_decay' has one twice"),
        ("trials: 5", "trials: 9", "9 trials are asked for, and method 'dense' has 8: its default, and 7 combinations"),
        ("trials: 5", "trials: 1", "trials is a whole number, at least 2"),
        ("trials: 5", "trails: 5", "unknown key 'trails'. Did you mean 'trials'?"),
        ("trials: 5", "trials: 5, seeds: [7, 1]", "seed 1 of tuning would be reported as well"),
        (", density: 0.1", "", "'magnitude' has the densities 0.1, 0.03, and is tuned at one"),
        ("recovery_steps: [10", "recovry_steps: [10", "option 'recovry_steps' of 'magnitude'"),
        ("distribution: [global, erk]", "distribution: [global, eerk]", "distribution: "),
        ("distribution: [global, erk]", "lr: [1]", "unknown option 'lr' of 'magnitude'"),
        ("seeds: 2", "evaluation: {select: best_test}", "'dense' is scored where the test data are best"),
        ("digits", "{sized: {validation: 0}}", "'sized' has no validation examples"),
        ("digits", "described", "'described' has 'entropy', which does not judge"),
        ("digits", "[unscored, {digits: {}}]\ntrain_on: unscored", "'unscored' has none"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told_with_its_line(refusal, old: str, new: str, message: str) -> None:
    text = HEAD + TUNE + METHODS
    assert old in text
    told = refusal(text.replace(old, new, 1))
    assert message in told
    assert ":".join(told.split(":")[:1]).endswith("s.yaml") and told.split(":")[1].isdigit()


def test_a_space_without_trials_is_refused(refusal) -> None:
    assert "method 'magnitude' has a space, and nothing says how many trials" in refusal(HEAD + METHODS)


def test_an_experiment_must_not_be_called_like_a_trial(refusal) -> None:
    text = HEAD + TUNE + "methods: dense\nexperiments: {a: {}, a-trial3: {tune: null}}"
    assert "an experiment is called 'a-trial3', as the runs of trial 3 are" in refusal(text)


def test_a_number_of_trials_can_be_set_for_one_call(suite) -> None:
    assert len(suite(HEAD + TUNE + METHODS, "tune.trials=3").tuning("main")) == 3
