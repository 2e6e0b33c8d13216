"""The command line: help, errors, exit codes, and the commands about plugins, data and the machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module

import pytest
from pydantic import BaseModel

from harness.cli import COMMANDS, _guarded, main
from harness.cli.describe import describe_options
from harness.errors import StorageError
from harness.version import __version__

PLUGIN = '''
from pathlib import Path
from typing import Literal
from pydantic import BaseModel, ConfigDict, Field
from harness import Architecture, Benchmark, Entry, Metric, SparsityMethod, data_directory, hookimpl


class MethodOptions(BaseModel):
    """Options.

    Attributes:
        rate: how fast,
            in steps.
        shape, size: shared text.
    """

    model_config = ConfigDict(extra="forbid")
    rate: float = Field(0.5, gt=0, le=1)
    shape: Literal["erk", "uniform"] = "erk"
    size: int | None = None
    must: list[int]
    told: bool = Field(True, description="by pydantic")


class Method(SparsityMethod):
    """First paragraph,
    over two lines.

    Second paragraph.
    """

    Options = MethodOptions
    version = "3"
    takes_source = "optional"


class Easy(SparsityMethod):
    def unsupported(self, architecture, connections):
        return "needs more connections" if len(connections) < 1 else None


class Net(Architecture):
    kinds = ("classification", "language")

    def build(self): ...
    def connections(self):
        return [] if self.data.kind == "language" else [type("C", (), {"default": True, "kind": "weight"})()]


class Data(Benchmark):
    metrics = (Metric("accuracy", "fraction", "max"),)
    protocol = "of a test"

    def files(self):
        return [data_directory() / "mine" / "a.bin"]

    def disk_bytes(self):
        return 1500

    def prepare(self, download=True):
        assert download
        self.files()[0].parent.mkdir(parents=True, exist_ok=True)
        self.files()[0].write_text("right")

    def verify(self):
        return [] if self.files()[0].read_text() == "right" else [f"{self.files()[0]}: wrong content"]


@hookimpl
def harness_register_methods():
    return [Entry("thing", Method, "a method"), Entry("easy", Easy)]


@hookimpl
def harness_register_architectures():
    return [Entry("net", Net, "a network")]


@hookimpl
def harness_register_benchmarks():
    return [Entry("thing", Data, "some data")]
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_PLUGINS", "")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("HARNESS_DEBUG", raising=False)
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    return str(path)


@pytest.fixture
def harness(capsys):
    """Run a command in this process; returns (exit code, stdout, stderr)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        return (exit_.value.code, *capsys.readouterr())

    return call


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


# --- help and errors -----------------------------------------------------------------------------


def test_help_lists_every_command_and_imports_none():
    done = python(
        "import sys\nfrom harness.cli import main\ntry: main(['--help'])\n"
        "finally: print(sorted(m for m in sys.modules if m.startswith('harness.cli.') or m in ('torch', 'pydantic')))"
    )
    assert done.stdout.splitlines()[-1] == "[]"
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", done.stdout, flags=re.MULTILINE)
    assert "Examples:\n" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_in_the_table_is_the_commands_own(name):
    module, text = COMMANDS[name]
    assert import_module(module).command.get_short_help_str(limit=300) == text


@pytest.mark.parametrize("name", ["plugins", "data", "new", "doctor"])
def test_help_of_a_command_has_examples(harness, name):
    code, out, _ = harness(name, "--help")
    assert code == 0
    assert f"\n    harness {name}" in out


def test_the_version(harness):
    assert harness("--version") == (0, f"harness, version {__version__}\n", "")


def test_an_unknown_command_shows_the_nearest(harness):
    code, out, err = harness("plugin")
    assert (code, out) == (2, "")
    assert "unknown command 'plugin'. Did you mean 'plugins'?" in err


def test_a_users_error_has_no_traceback_unless_asked_for(harness, plugin, monkeypatch):
    code, out, err = harness("plugins", "--plugin", "missing.py")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "missing.py: cannot be read" in err
    assert "Traceback" not in err
    monkeypatch.setenv("HARNESS_DEBUG", "1")
    code, _, err = harness("plugins", "--plugin", "missing.py")
    assert code == 2
    assert "Traceback" in err


def test_an_interrupt_says_how_to_go_on(harness, plugin, tmp_path):
    stop = tmp_path / "stop.py"
    stop.write_text("raise KeyboardInterrupt\n")
    code, _, err = harness("plugins", "--plugin", str(stop))
    assert code == 130
    assert "run the same command again" in err
    assert "Traceback" not in err


def test_exit_codes(capsys):
    def storage():
        raise StorageError("disk full")

    def bug():
        raise AssertionError("broken invariant")

    assert _guarded(lambda: None) == 0
    assert _guarded(lambda: 1) == 1
    assert _guarded(storage) == 2
    assert capsys.readouterr().err == "error: disk full\n"
    assert _guarded(bug) == 70
    err = capsys.readouterr().err
    assert "AssertionError: broken invariant" in err
    assert "HARNESS_DEBUG=1" in err


def test_a_reader_that_has_gone_is_no_error(plugin):
    command = [sys.executable, "-u", "-m", "harness", "plugins", "--plugin", plugin, "--format", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 1


# --- plugins -------------------------------------------------------------------------------------


def test_plugins_lists_what_there_is(harness, plugin):
    code, out, err = harness("plugins", "--plugin", plugin)
    assert (code, err) == (0, "")
    rows = [re.split(r"  +", line) for line in out.splitlines()[2:]]
    assert rows == [
        ["architecture", "net", "a network", plugin],
        ["method", "easy", plugin],
        ["method", "thing", "a method", plugin],
        ["benchmark", "thing", "some data", plugin],
    ]


def test_plugins_fit_into_the_terminal(harness, plugin, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    code, out, _ = harness("plugins", "--plugin", plugin)
    assert code == 0 and {"architectures", "methods", "benchmarks"} <= set(out.splitlines())
    assert re.search(r"^  thing +some data", out, re.MULTILINE)
    monkeypatch.delenv("HARNESS_PLUGINS", raising=False)
    for name in ("genome", "gpt2", None):
        if name:
            (found,) = json.loads(harness("plugins", name, "--format", "json")[1])[:1]
            answers = found.get("architectures") or found["benchmarks"]
            assert "yes" in answers.values() and all(
                re.fullmatch(r"yes|needs .+|no \(.+\)", a) for a in answers.values()
            )
    for name in ("genome", "gpt2", "lm_eval", None):
        _, out, _ = harness("plugins", *([name] if name else []))
        assert max(map(len, out.splitlines())) <= 60, name
    _, out, _ = harness("plugins", "thing", "--plugin", plugin)
    assert "  rate: float, > 0, <= 1, default 0.5\n      how fast, in steps." in out


def test_inherited_options_have_their_texts():
    class Shared(BaseModel):
        """Of both.

        Attributes:
            steps: how many.
            rate: how fast.
        """

        steps: int = 1
        rate: float = 1.0

    class Own(Shared):
        """Of one.

        Attributes:
            rate: how fast here.
            last: which one ends it.
        """

        last: int = 2

    texts = {option["name"]: option["description"] for option in describe_options(Own)}
    assert texts == {"steps": "how many.", "rate": "how fast here.", "last": "which one ends it."}


def test_plugins_as_json_and_with_a_failure(harness, plugin, tmp_path, monkeypatch):
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[harness]\nbroken_plugin = module_that_does_not_exist\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("HARNESS_PLUGINS", "broken_plugin")
    code, _, err = harness("plugins", "--plugin", plugin)
    assert code == 0
    assert "failed: plugin 'broken_plugin' of broken 1.0: import failed: ModuleNotFoundError" in err
    listed = json.loads(harness("plugins", "--plugin", plugin, "--format", "json")[1])
    assert {(p["kind"], p["name"]) for p in listed["plugins"]} >= {("method", "thing"), ("benchmark", "thing")}
    assert listed["failures"][0]["origin"] == "plugin 'broken_plugin' of broken 1.0"


def test_plugins_explains_every_kind_of_a_name(harness, plugin):
    method, benchmark = json.loads(harness("plugins", "thing", "--plugin", plugin, "--format", "json")[1])
    assert (method["kind"], method["version"], method["doc"]) == ("method", "3", "First paragraph,\nover two lines.")
    assert (method["mode"], method["takes_density"], method["takes_source"]) == ("projected", "required", "optional")
    assert [(o["name"], o["type"], o["default"], o["description"]) for o in method["options"]] == [
        ("rate", "float, > 0, <= 1", 0.5, "how fast, in steps."),
        ("shape", "erk | uniform", "erk", "shared text."),
        ("size", "int | null", None, "shared text."),
        ("must", "list[int]", None, ""),
        ("told", "bool", True, "by pydantic"),
    ]
    assert [o["name"] for o in method["options"] if o["required"]] == ["must"]
    assert method["architectures"] == {
        "net (classification)": "needs an option: must",
        "net (language)": "needs an option: must",
    }
    assert benchmark["metrics"] == [{"name": "accuracy", "unit": "fraction", "direction": "max"}]


def test_plugins_lists_and_explains_tools(harness, monkeypatch):
    monkeypatch.delenv("HARNESS_PLUGINS", raising=False)
    listed = [line.split()[:2] for line in harness("plugins")[1].splitlines()]
    assert ["exporter", "hf"] in listed and ["logger", "tensorboard"] in listed and ["importer", "biogpt"] in listed
    assert "event file" in harness("plugins", "tensorboard")[1]
    both = harness("plugins", "hf")[1]
    assert both.startswith("architecture hf") and "\nexporter hf (" in both
    kinds = [row["kind"] for row in json.loads(harness("plugins", "hf", "--format", "json")[1])]
    assert kinds == ["architecture", "exporter"]


def test_plugins_says_what_goes_together(harness, plugin):
    code, out, _ = harness("plugins", "easy", "--plugin", plugin)
    assert code == 0
    assert re.search(r"net \(classification\) +yes", out)
    assert re.search(r"net \(language\) +no \(needs more connections\)", out)
    assert "options: none" in out
    _, out, _ = harness("plugins", "net", "--plugin", plugin)
    assert re.search(r"thing +no \(offers no training data\)", out)


def test_plugins_says_what_needs_options(harness, monkeypatch):
    monkeypatch.delenv("HARNESS_PLUGINS", raising=False)
    (dense,) = json.loads(harness("plugins", "dense", "--format", "json")[1])
    assert dense["architectures"]["mlp (regression)"] == "yes"
    assert dense["architectures"]["timm"] == "needs an option: model"
    assert dense["architectures"]["hf"].startswith("needs options (give model, a hub name or a folder, or config")
    (mlp,) = json.loads(harness("plugins", "mlp", "--format", "json")[1])
    assert mlp["benchmarks"]["text"] == "needs an option: path"
    assert mlp["benchmarks"]["diabetes"] == mlp["benchmarks"]["digits"] == "yes"
    assert "  mse (squared points), lower is better\n" in harness("plugins", "diabetes")[1]
    assert mlp["benchmarks"]["moving_mnist"] == "no (takes classification or regression data, not video)"


def test_plugins_with_an_unknown_name(harness, plugin):
    code, _, err = harness("plugins", "thong", "--plugin", plugin)
    assert code == 2
    assert "Did you mean 'thing'?" in err


# --- data ----------------------------------------------------------------------------------------


def test_data_is_listed_fetched_and_checked(harness, plugin, tmp_path):
    file = tmp_path / "data" / "mine" / "a.bin"
    with_plugin = ("--plugin", plugin)
    assert re.search(r"thing +missing +~1\.46 KiB +mine\n", harness("data", "list", *with_plugin)[1])
    assert harness("data", "verify", *with_plugin) == (0, "thing: not here, nothing to check\n", "")
    assert harness("data", "verify", "thing", *with_plugin)[0] == 1
    assert harness("data", "prepare", "thing", *with_plugin) == (0, "thing: ready\n", "")
    assert file.read_text() == "right"
    assert re.search(r"thing +ready +5 B +mine\n", harness("data", "list", *with_plugin)[1])
    assert harness("data", "verify", *with_plugin) == (0, "thing: ok\n", "")
    file.write_text("wrong")
    assert harness("data", "verify", *with_plugin) == (1, f"thing: {file}: wrong content\n", "")


def test_data_goes_where_it_is_told(harness, plugin, tmp_path):
    elsewhere = tmp_path / "else where"
    assert harness("data", "prepare", "thing", "--plugin", plugin, "--data", str(elsewhere))[0] == 0
    assert (elsewhere / "mine" / "a.bin").is_file()
    assert not (tmp_path / "data").exists()
    assert os.environ["HARNESS_DATA"] == str(elsewhere)


def test_data_of_a_suite_is_fetched_before_its_size_is_known(harness, plugin, tmp_path):
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "benchmarks: {first: {use: thing}}\narchitectures: [net]\n"
        "methods: {easy: {density: 0.5}}\ntraining: {epochs: 1}\n"
    )
    assert harness("data", "prepare", str(suite), "--plugin", plugin) == (0, "first: ready\n", "")


def test_data_of_an_unknown_benchmark(harness, plugin):
    code, _, err = harness("data", "prepare", "thang", "--plugin", plugin)
    assert code == 2
    assert "unknown benchmark 'thang'. Did you mean 'thing'?" in err


# --- doctor --------------------------------------------------------------------------------------


def test_doctor_reports_and_finds_what_is_broken(harness, plugin, tmp_path):
    code, out, _ = harness("doctor", "--plugin", plugin, "--results", str(tmp_path / "results"))
    assert code == 0
    for what in ("python", "torch", "threads", "bf16", "determinism", "slurm", "results folder", "data: missing"):
        assert f"  {what} " in out
    assert not (tmp_path / "results").exists()
    code, out, _ = harness("doctor", "--results", str(tmp_path / "results"))
    assert code == 1
    assert re.search(r"BROKEN +methods +none", out)
    (tmp_path / "file").write_text("")
    code, out, _ = harness("doctor", "--plugin", plugin, "--results", str(tmp_path / "file" / "results"))
    assert code == 1
    assert re.search(r"BROKEN +results folder .*cannot write", out)


def test_the_size_of_a_folder_is_that_of_all_files_in_it(tmp_path):
    from harness.cli.data import _stored

    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"1234")
    (tmp_path / "a" / "b" / "two").write_bytes(b"123")
    assert _stored(tmp_path) == 7 and _stored(tmp_path / "a" / "one") == 4
