"""``budgets:`` and ``budget:`` of before: what they mean, what is said of them, and when they must go."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from harness.cli.data import command as data
from harness.cli.run import command as run
from harness.errors import SuiteError, UserError
from harness.registry.plugins import Registry, load
from harness.stages.graph import compile_graph
from harness.suites.schema import RENAMES
from harness.suites.suite import Suite, load_suite
from harness.version import __version__

ROOT = Path(__file__).parents[3]
HEAD = """\
architectures: {mlp: {hidden: [4]}}
benchmarks: digits
methods: [dense]
training: {steps: 10}
"""
NEW = HEAD + "profiles:\n  cpu: {training.steps: 3}\n  gpu: {training.steps: 7}\n"
OLD = NEW.replace("profiles", "budgets")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


def suite(folder: Path, registry: Registry, text: str, *overrides: str) -> Suite:
    path = folder / "s.yaml"
    path.write_text(text, encoding="utf8")
    return load_suite(path, registry, overrides)


def cells(found: Suite, registry: Registry) -> list[tuple[str, str, list[str]]]:
    planned = compile_graph(found.cells, registry).cells
    return [(cell.cell.suite, cell.id, [stage.hash for stage in cell.stages]) for cell in planned]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((OLD, "budget=cpu"), (NEW, "profile=cpu")),
        ((OLD + "budget: cpu\n",), (NEW + "profile: cpu\n",)),
        ((OLD, "budget=cpu", "budgets.cpu.seeds=2"), (NEW, "profile=cpu", "profiles.cpu.seeds=2")),
        ((OLD + "budget: gpu\n", "profile=cpu"), (NEW + "profile: gpu\n", "profile=cpu")),
        ((NEW + "profile: gpu\n", "budget=cpu"), (NEW, "profile=cpu")),
        ((OLD, "profile=cpu", "profiles.cpu.seeds=[4]"), (NEW, "profile=cpu", "profiles.cpu.seeds=[4]")),
    ],
)
def test_the_old_names_give_the_same_cells(tmp_path, registry, old, new):
    before, now = suite(tmp_path, registry, *old), suite(tmp_path, registry, *new)
    assert before.name == now.name == "s-cpu"
    assert {cell.training.steps for cell in now.cells} == {3}
    assert cells(before, registry) == cells(now, registry)
    assert before.outdated and not now.outdated


def test_a_file_with_old_names_is_told_the_lines_and_the_new_ones(tmp_path, registry):
    found = suite(tmp_path, registry, "budget: cpu\n" + OLD)
    by_line = {int(text.split(":")[1]): text for text in found.outdated}
    assert sorted(by_line) == [1, 6]
    assert "s.yaml:1:1: the key 'budget' is now called 'profile'; the old name works until version" in by_line[1]
    assert "s.yaml:6:1: the key 'budgets' is now called 'profiles'" in by_line[6]
    (told,) = suite(tmp_path, registry, NEW, "budget=cpu").outdated
    assert told.startswith("--set budget=cpu: the key 'budget' is now called 'profile'; the old name works until")


@pytest.mark.parametrize(
    ("text", "overrides", "place"),
    [
        (NEW + "budgets: {cpu: {seeds: 2}}\n", (), r"s.yaml:8:1: 'budgets' is the old name of 'profiles', and both"),
        (NEW + "budget: cpu\nprofile: cpu\n", (), r"s.yaml:8:1: 'budget' is the old name of 'profile', and both"),
        (NEW, ("budget=cpu", "profile=gpu"), r"--set budget=cpu: 'budget' is the old name of 'profile', and both"),
    ],
)
def test_both_names_at_once_are_refused(tmp_path, registry, text, overrides, place):
    with pytest.raises(UserError, match=place):
        suite(tmp_path, registry, text, *overrides)


@pytest.mark.parametrize("text", [NEW + "profile: gpi\n", OLD + "budget: gpi\n"])
def test_a_misspelt_profile_is_refused_with_its_line_and_the_nearest_name(tmp_path, registry, text):
    with pytest.raises(SuiteError, match=r"s.yaml:8:\d+: unknown profile 'gpi'\. Did you mean 'gpu'\? Known: cpu, gpu"):
        suite(tmp_path, registry, text)


def test_a_method_keeps_its_budget(tmp_path, registry):
    text = HEAD.replace("[dense]", "{dense: {budget: {match: longer}}, longer: {use: dense, training: {steps: 30}}}")
    found = suite(tmp_path, registry, text)
    assert [cell.training.steps for cell in found.cells] == [30, 30] and not found.outdated


def test_no_suite_of_ours_has_an_old_name(registry):
    for path in sorted((ROOT / "suites").glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf8"))
        assert not content.keys() & RENAMES.names.keys(), path.name


@pytest.mark.parametrize(
    ("command", "arguments"),
    [(run, ["SUITE", "--dry-run", "--set", "profile=cpu", "--results", "RESULTS"]), (data, ["verify", "SUITE"])],
)
def test_commands_warn_on_stderr_and_go_on(tmp_path, command, arguments):
    path = tmp_path / "s.yaml"
    path.write_text(OLD, encoding="utf8")
    places = {"SUITE": str(path), "RESULTS": str(tmp_path / "results")}
    done = CliRunner().invoke(command, [places.get(word, word) for word in arguments], catch_exceptions=False)
    assert done.exit_code == 0
    assert f"warning: {path}:5:1: the key 'budgets' is now called 'profiles'" in done.stderr
    assert "warning" not in done.stdout


def test_the_old_names_are_gone_when_their_time_is_over():
    def numbers(version: str) -> list[int]:
        return [int(number) for number in version.split(".")]

    assert numbers(__version__) < numbers(RENAMES.until), "delete RENAMES, and what reads it"
