"""A failure stays where it is: what plugins raise, what terminals and file systems cannot hold, what is named alike."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import UserError
from harness.formatting import printable
from harness.registry.own_code import FILE
from harness.results.record import describe_failure
from harness.storage.atomic_files import write_json
from harness.storage.data_directory import data_directory
from harness.training.distributed import Substrate

SUITE = """\
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
seeds: 1
training: {steps: 5, batch_size: 16}
evaluation: {checks: 1}
methods: {dense: }
"""
PLUGIN = """\
from pydantic import BaseModel, ConfigDict
from harness import Entry, SparsityMethod, hookimpl
class Base(BaseException): pass
class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
class Faulty(SparsityMethod[Options]):
    Options = Options
    takes_density = "never"
    def program(self, budget):
        raise {what}
@hookimpl
def harness_register_methods():
    return [Entry("faulty", Faulty, "it fails")]
"""


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def in_a_plugin(line: str) -> BaseException:
    """What a line of a single-file plugin raises."""
    try:
        exec(compile(f"\n{line}", "/plugins/score.py", "exec"), {"__name__": f"{FILE}score"})
    except Exception as error:
        return error
    raise AssertionError(line)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("bad \ud800 \x1b[31m \0 text\nsecond"), "bad \\ud800 \\x1b[31m \\x00 text\nsecond"),
        (RuntimeError(), "RuntimeError"),
        (Mute(), "its text cannot be had: RuntimeError"),
        (GeneratorExit("x"), "x"),
        (in_a_plugin("raise NotImplementedError"), "NotImplementedError (/plugins/score.py:2)"),
        (in_a_plugin("{}['loss']"), "KeyError: 'loss' (/plugins/score.py:2)"),
        (in_a_plugin("1 / 0"), "division by zero (/plugins/score.py:2)"),
    ],
)
def test_the_text_of_a_failure_can_be_written_anywhere(tmp_path: Path, error: BaseException, message: str) -> None:
    found = describe_failure(error)
    assert found["message"] == message
    write_json(tmp_path / "a.json", found)
    assert json.loads((tmp_path / "a.json").read_text()) == found


def test_the_text_of_a_failure_is_cut_once() -> None:
    found = describe_failure(RuntimeError("x" * 50_000_000))
    assert len(found["message"]) < 4_100 and len(found["traceback"]) < 50_100
    assert "[49,996,000 characters left out]" in found["message"]


def test_printable_leaves_text_alone() -> None:
    assert printable("a\tb\né 日本 [x] \\") == "a\tb\né 日本 [x] \\"
    assert printable("\x9b\u202e\r") == "\\x9b\\u202e\\r"


@pytest.mark.parametrize("what", ["Base('x')", "GeneratorExit", "SystemExit(0)", "SystemExit('x')", "MemoryError"])
def test_what_a_plugin_raises_is_told_with_its_place(tmp_path, capsys, what) -> None:
    plugin, suite = tmp_path / "faulty_one.py", tmp_path / "s.yaml"
    plugin.write_text(PLUGIN.replace("{what}", what))
    suite.write_text(SUITE.replace("{dense: }", "{faulty: }"))
    code = call("run", str(suite), "--dry-run", "--results", str(tmp_path / "r"), "--plugin", str(plugin))
    said = capsys.readouterr().err
    assert code == 2 and "Traceback" not in said
    assert what == "MemoryError" or ("a plugin fails: " in said and f"({plugin}:10)" in said)


RETURNS = """\
import torch
from harness import Entry, hookimpl
from harness_benchmarks.digits import Digits
from harness_architectures.mlp import Mlp
class A(Mlp):
    {architecture}
class B(Digits):
    {benchmark}
@hookimpl
def harness_register_architectures():
    return [Entry("a", A, "a")]
@hookimpl
def harness_register_benchmarks():
    return [Entry("b", B, "b")]
"""


@pytest.mark.parametrize(
    ("of", "line", "message"),
    [
        (
            "architecture",
            "def connections(self): pass",
            ":1:16: architecture 'a': A.connections() is None, must be a list",
        ),
        ("architecture", "def connections(self): return ['x']", "A.connections()[0] is a str, must be a Connection"),
        (
            "architecture",
            "def build(self): return print",
            "A.build() is a builtin_function_or_method, must be a Module",
        ),
        (
            "architecture",
            "def build(self): return torch.nn.Sequential(torch.nn.Flatten(), Mlp.build(self))",
            "architecture 'a': connection 'hidden1' is of 'layers.hidden1.weight', which the module has not",
        ),
        (
            "architecture",
            "def build(self): m = Mlp.build(self); m.forward = lambda x, t=0: x[0, 0] @ torch.ones(9, 3); return m",
            "a plugin fails: RuntimeError: a and b must have same reduction dim",
        ),
        ("architecture", "kinds = 'classification'", "has kinds = 'classification': it must be several"),
        ("architecture", "def units(self): pass", "A.units() is None, must be a list"),
        ("benchmark", "def spec(self): pass", ":2:13: benchmark 'b': B.spec() is None, must be a DataSpec"),
        ("benchmark", "def fingerprint(self): return 5", "B.fingerprint() is an int, must be a str"),
        ("benchmark", "def examples(self, split): return '9'", "B.examples('test') is a str, must be an Integral"),
        ("benchmark", "metrics = ('accuracy',)", "B.metrics[0] is a str, must be a Metric"),
        ("benchmark", "def training_data(self, device): pass", "B.training_data() is None, must have batch(indices)"),
    ],
)
def test_what_a_plugin_returns_is_told_where_it_is_asked(tmp_path, capsys, of, line, message) -> None:
    plugin, suite = tmp_path / "returns.py", tmp_path / "s.yaml"
    plugin.write_text(RETURNS.format(**{"architecture": "pass", "benchmark": "pass", of: line}))
    suite.write_text(SUITE.replace("{mlp: {hidden: [8]}}", "a").replace("digits", "b"))
    code = call("run", str(suite), "--results", str(tmp_path / "r"), "--plugin", str(plugin), "--workers", "1")
    said = " ".join(capsys.readouterr().err.split())
    assert code in (1, 2) and message in said and "bug in the harness" not in said


@pytest.mark.parametrize("name", ["run [v2]", "a[/b]", ":smile: [bold]"])
def test_brackets_in_paths_are_no_markup(tmp_path, capsys, name) -> None:
    (tmp_path / "s.yaml").write_text(SUITE)
    assert call("run", str(tmp_path / "s.yaml"), "--results", str(tmp_path / name)) == 0
    assert f"written: {tmp_path / name}/LEADERBOARD.md" in capsys.readouterr().err


def test_an_output_that_cannot_show_a_character_ends_no_command(monkeypatch, tmp_path) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    (tmp_path / "s.yaml").write_text(f"{SUITE}description: é日本\n")
    assert call("plugins", "dense") == 0
    assert out.errors == "replace"


def test_a_full_device_is_one_message(monkeypatch, capsys) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert call("plugins") in (1, 2)
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert "internal error" not in capsys.readouterr().err


def test_two_suites_of_one_name(tmp_path, capsys) -> None:
    for folder, steps in (("a", 5), ("b", 6)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "exp.yaml").write_text(SUITE.replace("steps: 5", f"steps: {steps}"))
        assert call("run", str(tmp_path / folder / "exp.yaml"), "--results", str(tmp_path / "r")) == 0
    warning = f"holds results of {tmp_path}/a/exp.yaml, a suite of the same name: they stay there"
    assert warning in capsys.readouterr().err
    assert len(list((tmp_path / "r/exp/cells").glob("*.json"))) == 2


def test_labels_of_sixty_characters_in_four_places(tmp_path) -> None:
    long = "x" * 60
    suite = tmp_path / "s.yaml"
    suite.write_text(
        f"training: {{steps: 5, batch_size: 16}}\nevaluation: {{checks: 1}}\nexperiments:\n  {long}:\n"
        f"    architectures: {{{long}: {{use: mlp, hidden: [8]}}}}\n    benchmarks: {{{long}: {{use: digits}}}}\n"
        f"    methods: {{{long}: {{use: dense}}}}\n    seeds: [9223372036854775807]\n"
    )
    assert call("run", str(suite), "--results", str(tmp_path / "r")) == 0
    (record,) = (tmp_path / "r/s/cells").glob("*.json")
    assert len(record.name) < 210 and json.loads(record.read_text())["architecture"]["label"] == long


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"HARNESS_DEVICE": "x"}, "HARNESS_DEVICE is 'x', which is no device"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK is 'x' and must be a whole number"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "this is process 2 of 2"),
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "x"}, "SLURM_NTASKS is 'x'"),
    ],
)
def test_variables_that_make_no_sense(given: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Substrate.detect(given)


def test_the_folder_of_data(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    assert data_directory() == Path.home() / ".cache/harness/data"
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "file"))
    with pytest.raises(UserError, match="which is a file: give the folder"):
        data_directory()
