"""What `harness run` says to a suite that is wrong: file, line, column, and how to repair it."""

from __future__ import annotations

import re

import pytest

from harness.cli import main

SUITE = """\
architectures:
  mlp: {hidden: [8]}
benchmarks: digits
seeds: 2
training: {steps: 10, batch_size: 32}
methods:
  dense:
  magnitude: {density: 0.5, recovery_steps: 5}
"""

TWO = """\
benchmarks: digits
training: {steps: 10, batch_size: 32}
experiments:
  one:
    architectures: {mlp: {hidden: [8]}}
    methods: [dense]
  two:
    architectures: {mlp: {hidden: [8]}}
    training: {lr: 0.1}
    methods: {random: {density: 0.5}}
"""


@pytest.fixture
def run(tmp_path, capsys):
    """Runs a suite's text; (exit code, stderr without the folder's name)."""

    def call(text: str, *arguments: str) -> tuple[int, str]:
        path = tmp_path / "s.yaml"
        path.write_text(text, encoding="utf8")
        with pytest.raises(SystemExit) as caught:
            main(["run", str(path), "--results", str(tmp_path / "results"), "--dry-run", *arguments])
        return caught.value.code, capsys.readouterr().err.replace(f"{tmp_path}/", "")

    return call


def test_the_suites_that_are_broken_below_are_sound_before(run):
    assert run(SUITE)[0] == 0
    assert run(TWO)[0] == 0


def test_a_label_may_be_a_number(run):
    text = broken(SUITE, "  dense:\n", "  2024: {use: dense}\n  7: {use: random, density: {match: 2024}}\n")
    assert run(text, "--set", "baseline=2024")[0] == 0


def test_there_is_an_end_to_the_number_of_cells(run):
    code, said = run(
        SUITE, "--set", "seeds=10000", "--set", f"methods.magnitude.density={[i / 100 for i in range(1, 20)]}"
    )
    assert code == 2 and "this is 200,000 runs, and at most 100,000 go into one suite" in said


def broken(base: str, old: str, new: str) -> str:
    assert base.count(old) == 1, f"{old!r} is not once in the suite"
    return base.replace(old, new)


CASES = [
    # --- keys that do not exist, at every level
    (
        SUITE,
        "seeds: 2",
        "seed: 2",
        "4:1",
        "unknown key 'seed'. Did you mean 'seeds'? Known: agreements, architectures,",
    ),
    (
        SUITE,
        "batch_size",
        "bath_size",
        "5:23",
        "unknown key 'bath_size'. Did you mean 'batch_size'? Known: batch_size,",
    ),
    (SUITE, "seeds: 2", "evaluation: {mask: hard}", "4:14", "unknown key 'mask'. Did you mean 'masks'?"),
    (
        SUITE,
        "seeds: 2",
        "seeds: 100000000000",
        "4:8",
        "at most 10,000 seeds; the one seed 100000000000 is [100000000000]",
    ),
    (SUITE, "seeds: 2", "seeds: five", "4:8", "seeds is a number of seeds, at least 1, or a list of them"),
    (SUITE, "seeds: 2", "seeds: [9223372036854775808]", "4:9", "whole numbers lie between"),
    (
        SUITE,
        "seeds: 2",
        "evaluation: {checks: 1000000000}",
        "4:22",
        "checks is a whole number, at least 1 and at most 10,000",
    ),
    (SUITE, "hidden: [8]", "hidden: [8, 9223372036854775807]", "2:21", "each of hidden is a whole number, "),
    (SUITE, "seeds: 2", "tune: {trials: 3, seeds: 20000}", "4:26", "seeds is a number of at most 10,000 seeds"),
    (
        SUITE,
        "steps: 10",
        "steps: 10, betas: [5, 0.9]",
        "5:31",
        "each of betas is a number, at least 0 and below 1, not 5",
    ),
    (
        SUITE,
        "steps: 10",
        "steps: 10000000000000",
        "5:19",
        "steps is a whole number, at least 0 and at most 1,000,000,000,000",
    ),
    (
        SUITE,
        "seeds: 2",
        "profiles: {full: {traning.steps: 5}}",
        "4:19",
        "unknown key 'traning'. Did you mean 'training'",
    ),
    (SUITE, "seeds: 2", "profiles: {full: {training.stesp: 5}}", "4:19", "unknown key 'stesp'. Did you mean 'steps'?"),
    (SUITE, "seeds: 2", "profiles: {p: {seeds.x: 5}}\nprofile: p\nseeds: 2", "4:16", "'seeds' is a single value"),
    (
        SUITE,
        "seeds: 2",
        "profiles: {p: {seeds: x}}\nprofile: p",
        "4:23",
        "seeds is a number of seeds, at least 1, or a list of them",
    ),
    (SUITE, "recovery_steps", "recover_steps", "8:29", "unknown key 'recover_steps'. Did you mean 'recovery_steps'?"),
    (SUITE, "hidden: [8]", "hiden: [8]", "2:9", "unknown key 'hiden'. Did you mean 'hidden'? Known: hidden, init"),
    (SUITE, "benchmarks: digits", "benchmarks: {digits: {size: 3}}", "3:23", "unknown key 'size'."),
    (SUITE, "seeds: 2", "exclude: [{methods: dense}]", "4:12", "unknown key 'methods'. Did you mean 'method'?"),
    (
        SUITE,
        "density: 0.5",
        "density: {match: dense, bye: hard}",
        "8:39",
        "unknown key 'bye'. Did you mean 'by'? Known: by, match.",
    ),
    (
        SUITE,
        "density: 0.5",
        "density: {match: {method: dense, bench: x}}",
        "8:48",
        "unknown key 'bench'. Did you mean 'benchmark'?",
    ),
    (SUITE, "recovery_steps: 5", "budget: {mach: dense}", "8:38", "unknown key 'mach'. Did you mean 'match'?"),
    (SUITE, "recovery_steps: 5", "training: {stesp: 3}", "8:40", "unknown key 'stesp'. Did you mean 'steps'?"),
    (SUITE, "recovery_steps: 5", "evaluation: {chekcs: 3}", "8:42", "unknown key 'chekcs'. Did you mean 'checks'?"),
    (TWO, "batch_size", "bath_size", "2:23", "unknown key 'bath_size'. Did you mean 'batch_size'?"),
    (TWO, "    training: {lr", "    training: {lrr", "9:16", "unknown key 'lrr'. Did you mean 'lr'?"),
    (TWO, "    methods: [dense]", "    metods: [dense]", "6:5", "unknown key 'metods'. Did you mean 'methods'?"),
    (TWO, "experiments:", "experimens:", "3:1", "unknown key 'experimens'. Did you mean 'experiments'?"),
    # --- values of the wrong type or out of range
    (SUITE, "steps: 10", "steps: ten", "5:19", "steps is a whole number, "),
    (SUITE, "steps: 10", "steps: -1", "5:19", "steps is a whole number, at least 0"),
    (SUITE, "steps: 10", "epochs: .inf", "5:20", "epochs is a number, above 0 and at most 1,000,000,000"),
    (SUITE, "steps: 10", "steps: 10, lr: fast", "5:27", "lr is a number, above 0, not 'fast'"),
    (SUITE, "steps: 10", "steps: 10, optimizer: adma", "5:34", "optimizer is 'adamw', 'adam' or 'sgd'"),
    (
        SUITE,
        "training: {steps: 10, batch_size: 32}",
        "training: 10",
        "5:11",
        "training is a mapping with keys among epochs, steps, ",
    ),
    (SUITE, "[8]", "8", "2:17", "hidden is a list, each a whole number, "),
    (SUITE, "[8]", "[8, 0]", "2:21", "each of hidden is a whole number, above 0"),
    (SUITE, "benchmarks: digits", "benchmarks: 3", "3:13", "benchmarks is a mapping, not 3"),
    (SUITE, "  dense:\n", "  dense: 0\n", "7:10", "dense is a mapping, not 0"),
    (TWO, "    training: {lr: 0.1}", "    training: {lr: -1}", "9:20", "lr is a number, above 0, not -1"),
    (TWO, "steps: 10", "steps: -1", "2:19", "steps is a whole number, at least 0"),
    (SUITE, "steps: 10", "steps: 10, micro_batches: 5", "5:1", "batch_size 32 does not divide into 5 micro_batches"),
    (SUITE, "steps: 10", "steps: 10, epochs: 1", "5:1", "give either epochs or steps, not both"),
    (SUITE, "steps: 10, ", "", "5:1", "training needs a budget: epochs or steps"),
    (SUITE, "training: {steps: 10, batch_size: 32}\n", "", "1:1", "the key 'training' is missing"),
    (
        TWO,
        "    architectures: {mlp: {hidden: [8]}}\n    methods",
        "    methods",
        "4:3",
        "the key 'architectures' is missing",
    ),
    # --- densities
    (SUITE, "0.5", "1.5", "8:24", "density must be between 0 and 1, the fraction of weights kept"),
    (SUITE, "0.5", "50", "8:24", "density must be between 0 and 1, the fraction of weights kept (for 50 % write 0.5)"),
    (SUITE, "0.5", "[0.5, 20]", "8:30", "the fraction of weights kept (for 20 % write 0.2)"),
    (SUITE, "0.5", "-0.1", "8:24", "density must be between 0 and 1"),
    (SUITE, "0.5", ".nan", "8:24", "density must be between 0 and 1"),
    (SUITE, "0.5", "half", "8:24", "density must be a number between 0 and 1, a list of them, or {match: METHOD}"),
    (SUITE, "0.5", "true", "8:24", "density must be a number between 0 and 1"),
    (SUITE, "0.5", "[]", "8:15", "density is a list of at least one number, each of them once"),
    (SUITE, "0.5", "[0.1, 1e-1]", "8:15", "density is a list of at least one number, each of them once"),
    (SUITE, "density: 0.5, ", "", "8:3", "method 'magnitude' needs a density: density: 0.1, [0.3, 0.1] or {match:"),
    (SUITE, "  dense:", "  dense: {density: 0.1}", "7:11", "method 'dense' takes no density: remove it"),
    (SUITE, "  dense:", "  dense: {source: magnitude}", "7:11", "method 'dense' takes no source: remove it"),
    (SUITE, "  dense:", "  shuffle:", "7:3", "method 'shuffle' needs a source: source: METHOD"),
    # --- names
    (SUITE, "  magnitude:", "  magnitud:", "8:3", "unknown method 'magnitud'. Did you mean 'magnitude'? Known: "),
    (SUITE, "{density: 0.5", "{use: randon, density: 0.5", "8:20", "unknown method 'randon'. Did you mean 'random'?"),
    (SUITE, "  mlp:", "  mpl:", "2:3", "unknown architecture 'mpl'. Did you mean 'mlp'? Known: "),
    (SUITE, "benchmarks: digits", "benchmarks: digit", "3:13", "unknown benchmark 'digit'. Did you mean 'digits'?"),
    (
        SUITE,
        "benchmarks: digits",
        "benchmarks: [digits, minst]",
        "3:22",
        "unknown benchmark 'minst'. Did you mean 'mni",
    ),
    (SUITE, "seeds: 2", "scope: [dnese]", "4:1", "unknown role 'dnese' of 'mlp'. Did you mean 'dense'? Known: class"),
    (SUITE, "seeds: 2", "scope: [dnese]", "4:1", "Known: classifier, dense."),
    (SUITE, "seeds: 2", "scope: conv", "4:8", "unknown role 'conv' of 'mlp'."),
    (SUITE, "seeds: 2", "scope: []", "4:1", "scope: give at least one"),
    (SUITE, "0.5,", "0.5, scope: head,", "8:36", "unknown role 'head' of 'mlp'."),
    (SUITE, "seeds: 2", "train_on: minst", "4:11", "unknown benchmark 'minst'. Known: digits."),
    (
        SUITE,
        "seeds: 2",
        "baseline: dnse",
        "4:11",
        "unknown method 'dnse'. Did you mean 'dense'? Known: dense, magnitude.",
    ),
    (
        SUITE,
        "seeds: 2",
        "exclude: [{method: magnitud}]",
        "4:20",
        "unknown method 'magnitud'. Did you mean 'magnitude'?",
    ),
    (SUITE, "recovery_steps: 5", "published: {digts: 1}", "8:41", "unknown benchmark or architecture 'digts'. Did you"),
    (SUITE, "  mlp:", "  m/lp:", "2:3", "m/lp: a label has letters, digits, _ and -,"),
    (SUITE, "  dense:\n", "  -x: {use: dense}\n", "7:3", "-x: a label has letters, digits, _ and -,"),
    (SUITE, "seeds: 2", "name: a/b", "4:7", "name: a label has letters, digits, _ and -,"),
    (TWO, "  one:", "  o.ne:", "4:3", "o.ne: a label has letters, digits, _ and -,"),
    (SUITE, "benchmarks: digits", "benchmarks: [digits, digits]", "3:1", "'digits' is given twice"),
    (SUITE, "benchmarks: digits", "benchmarks: [digits, 7.5]", "3:1", "a label has letters, digits, _ and -,"),
    (SUITE, "mlp: {", "gpt2: {use: gpt2, ", "2:21", "unknown key 'hidden'."),
    (SUITE, "mlp: {hidden: [8]}", "gpt2:", "2:3", "architecture 'gpt2' takes language data, not classification"),
    # --- seeds
    (SUITE, "seeds: 2", "seeds: 0", "4:8", "seeds is a number of seeds, at least 1, or a list of them, not 0"),
    (SUITE, "seeds: 2", "seeds: -3", "4:8", "seeds is a number of seeds, at least 1, or a list of them, not -3"),
    (SUITE, "seeds: 2", "seeds: [1, -3]", "4:12", "each of seeds is a whole number, at least 0"),
    (SUITE, "seeds: 2", "seeds: [1, 2, 1]", "4:1", "each seed can be given only once"),
    (SUITE, "seeds: 2", "seeds: []", "4:1", "seeds: give at least one"),
    # --- references
    (SUITE, "0.5", "{match: dens}", "8:32", "unknown method 'dens'. Did you mean 'dense'? Known: dense, magnitude."),
    (SUITE, "0.5", "{match: {method: dense, experiment: x}}", "8:60", "unknown experiment 'x'. Known: main."),
    (SUITE, "0.5", "{match: magnitude}", "8:15", "cyclic match: magnitude -> magnitude; a run cannot wait for itself"),
    (
        SUITE,
        "0.5, recovery_steps: 5}",
        "{match: random}}\n  random: {density: {match: magnitude}}",
        "8:15",
        "cyclic match: magnitude -> random -> magnitude; a run cannot wait for itself",
    ),
    (
        SUITE,
        "0.5, recovery_steps: 5}",
        "{match: dense}}\n  a: {use: shuffle, source: b}\n  b: {use: shuffle, source: a}",
        "9:29",
        "cyclic match: a -> b -> a; a run cannot wait for itself",
    ),
    (
        SUITE,
        "recovery_steps: 5}",
        "recovery_steps: 5}\n  random: {density: {match: magnitude}}\nexclude: [{method: magnitude, seed: 1}]",
        "9:29",
        "method 'random' refers to 'magnitude' (mlp, digits, density 0.5, seed 1), which include and exclude leave out",
    ),
    (SUITE, "  dense:", "  dense: {budget: {match: dens}}", "7:27", "unknown method 'dens'. Did you mean 'dense'?"),
    (SUITE, "  dense:", "  dense: {budget: {match: dense}}", "7:27", "cyclic budget: dense -> dense"),
    (
        SUITE,
        "  dense:\n",
        "  dense: {budget: {match: b}}\n  b: {use: dense, budget: {match: dense}}\n",
        "8:35",
        "cyclic budget: dense -> b -> dense",
    ),
    (
        SUITE,
        "  dense:",
        "  dense: {budget: {match: magnitude}, training: {steps: 3}}",
        "7:27",
        "method 'dense' has a budget and training steps: give one of them",
    ),
    (
        TWO,
        "{random: {density: 0.5}}",
        "{reinit: {source: {method: dense, experiment: one}}}\n    seeds: [4]",
        "10:24",
        "experiment 'one' has no seed 4 to refer to; it has [0]",
    ),
    # --- what only the method or the suite as a whole can tell
    (
        SUITE,
        "recovery_steps: 5",
        "use: connectome, fraction: 0.1",
        "8:3",
        "connectome was given a density and 'fraction",
    ),
    (SUITE, "seeds: 2", "exclude: [{architecture: mlp}]", None, "s.yaml: include and exclude leave no runs"),
]


@pytest.mark.parametrize(
    ("base", "old", "new", "place", "message"), CASES, ids=[f"{new[:40]!r}" for _, _, new, _, _ in CASES]
)
def test_a_broken_suite(run, base, old, new, place, message):
    text = broken(base, old, new)
    code, said = run(text)
    assert code == 2
    assert message in said
    assert "internal error" not in said
    if place is not None:
        line, column = map(int, place.split(":"))
        found = re.search(rf"^(?:error: )?s\.yaml:{place}: .*\n {{2}}{line} \| (.*)\n {{4,5}}\| ( *)\^$", said, re.M)
        assert found, said
        assert found[1] == text.splitlines()[line - 1]
        assert len(found[2]) == column - 1


def test_several_errors_are_shown_at_once(run):
    _, said = run(broken(TWO, "training: {steps: 10, batch_size: 32}", "training: {steps: no, batch_size: 0, lr: -1}"))
    assert [line for line in said.splitlines() if line.startswith(("error", "s.yaml"))] == [
        "error: s.yaml:2:19: steps is a whole number, at least 0 and at most 1,000,000,000,000, not 'no'",
        "s.yaml:2:35: batch_size is a whole number, at least 1 and at most 1,000,000,000, not 0",
        "s.yaml:2:42: lr is a number, above 0, not -1",
    ]


def test_a_file_name_that_makes_no_folder_name(tmp_path, capsys):
    path = tmp_path / "my suite.v2.yaml"
    path.write_text(SUITE)
    with pytest.raises(SystemExit) as caught:
        main(["run", str(path), "--dry-run"])
    assert caught.value.code == 2
    assert "'my suite.v2' does not do as its name: give the key 'name'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "training.lr=-1"], "error: --set training.lr=-1: lr is a number, above 0, not -1"),
        (["--set", "training.lrr=1"], "error: --set training.lrr=1: unknown key 'lrr'. Did you mean 'lr'?"),
        (["--set", "methods.magnitude.density=50"], "(for 50 % write 0.5)"),
        (["--set", "methods.magnitude.use=randon"], "--set methods.magnitude.use=randon: unknown method 'randon'."),
        (["--set", "training"], "error: --set takes key=value"),
        (["--set", "seeds.x=1"], "error: --set seeds.x=1: 'seeds' is a single value and no mapping"),
        (["--set", "nothing=1"], "error: --set nothing=1: unknown key 'nothing'."),
        (["--only", "dense"], "error: --only: 'dense' is not key=value, for example method=genome,seed=0"),
        (["--only", "metod=dense"], "error: --only: unknown selector key 'metod'. Did you mean 'method'?"),
        (["--only", "method=dnse"], "error: --only method=dnse: unknown method 'dnse'. Did you mean 'dense'? Known: d"),
        (["--only", "method=dense", "--only", "seed=7"], "error: --only seed=7: unknown seed '7'. Known: 0, 1."),
        (["--only", "seed=x"], "error: --only: seed is a whole number or a list, each a whole number, not"),
        (["--only", "method=dense,density=0.5"], "matches no run of s: each of its parts does, but not together"),
        (["--workers", "0"], "0 is not in the range x>=1"),
        (["--plugin", "no_such_file.py"], "no_such_file.py: cannot be read: No such file"),
    ],
)
def test_bad_arguments(run, arguments, message):
    code, said = run(SUITE, *arguments)
    assert code == 2
    assert message in said


def test_a_shared_override_that_an_experiment_hides_is_an_error(run):
    code, said = run(TWO, "--set", "methods.random.density=0.2")
    assert code == 2
    assert "does not reach experiment 'one': it has methods of its own, write --set experiments.one.methods." in said


def test_a_plugin_that_raises_on_import_is_named(run, tmp_path):
    plugin = tmp_path / "broken_plugin.py"
    plugin.write_text("import math\n\nmath.no_such_function()\n")
    code, said = run(SUITE, "--plugin", str(plugin))
    assert code == 2
    assert "broken_plugin.py: import failed: AttributeError" in said
    assert "broken_plugin.py:3)" in said
