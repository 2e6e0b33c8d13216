"""Whose fault an exception is: wherever a plugin fails, it is the plugin's, and the harness's is the harness's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.registry.blame import blamed, caller, explained
from harness.registry.plugins import load

PLUGIN = """
from pathlib import Path
from harness import Entry, SparsityMethod, hookimpl, Train
from harness.storage.digests import digest
import beside_it
from harness_benchmarks.digits import Digits

WHERE, TABLE = {where!r}, Path("/nowhere/table.csv")


def fail(where):
    if where == WHERE:
        {how}


class Own(SparsityMethod):
    takes_density = "never"

    def unsupported(self, architecture, connections):
        fail("planning")

    def attach(self, context):
        fail("training")


class Scored(Digits):
    def evaluate(self, model, split, device):
        if split == "test":
            fail("evaluation")
        return super().evaluate(model, split, device)


@hookimpl
def harness_register_benchmarks():
    return [Entry("scored", Scored, "digits")]


@hookimpl
def harness_register_methods():
    fail("listing")
    return [Entry("own", Own, "one's own")]
"""
SUITE = """\
architectures: {mlp: {hidden: [4]}}
benchmarks: scored
methods: [own]
seeds: 1
training: {steps: 2, batch_size: 8}
"""
WAYS = {
    "itself": "TABLE.read_text()",
    "through the harness": "digest(TABLE)",
    "through a library": "__import__('safetensors.torch').torch.load_file(str(TABLE))",
    "in a module beside it": "beside_it.read(TABLE)",
}


def own(folder: Path, where: str, how: str) -> Path:
    (folder / "beside_it.py").write_text("def read(path):\n    return path.read_text()\n")
    (folder / "own.py").write_text(PLUGIN.format(where=where, how=how))
    (folder / "s.yaml").write_text(SUITE)
    return folder / "own.py"


def run(folder: Path, plugin: Path, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        main(["run", str(folder / "s.yaml"), "--plugin", str(plugin), "--results", str(folder / "r"), "--workers", "1"])
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize("how", list(WAYS))
@pytest.mark.parametrize("where", ["listing", "planning"])
def test_a_plugins_missing_file_is_the_plugins(tmp_path, capsys, monkeypatch, where: str, how: str) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "beside_it", raising=False)
    code, said = run(tmp_path, plugin := own(tmp_path, where, WAYS[how]), capsys)
    assert code == 2 and "/nowhere/table.csv" in said and "bug in the harness" not in said
    place = tmp_path / "beside_it.py" if how == "in a module beside it" else plugin
    assert f"{place}:" in said
    if where == "planning":
        assert "a file that a plugin reads is not here" in said and "Put it there" in said


@pytest.mark.parametrize("where", ["training", "evaluation"])
def test_a_failed_cell_names_the_plugin_too(tmp_path, capsys, monkeypatch, where: str) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    code, said = run(tmp_path, plugin := own(tmp_path, where, WAYS["through the harness"]), capsys)
    assert code == 1, said
    (path,) = (tmp_path / "r" / "s" / "cells").glob("*.json")
    failure = json.loads(path.read_bytes())["failure"]
    assert failure["type"] == "FileNotFoundError" and "Traceback" in failure["traceback"]
    assert "a file that a plugin reads is not here: /nowhere/table.csv" in failure["message"]
    assert f"({plugin}:" in failure["message"]


def caught(call) -> BaseException:
    with pytest.raises(Exception) as found:
        call()
    return found.value


def test_what_the_harness_raises_in_a_plugin_names_both(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin = own(tmp_path, "planning", "__import__('harness').top_k(None, 'a')")
    code, said = run(tmp_path, plugin, capsys)
    assert code == 70 and "internal error: " in said and f"or in what called it: {plugin}:" in said


def test_an_error_of_the_harness_alone_is_nobody_elses(tmp_path) -> None:
    from harness.storage.digests import digest

    error = caught(lambda: digest(tmp_path / "gone"))
    assert blamed(error) is None and caller(error) is None


def test_an_installed_plugin_is_called_by_its_name(tmp_path) -> None:
    error = caught(lambda: load().get("benchmark", "digits")(None).fingerprint() + load().get("method", "l0")(None).x)
    assert blamed(error) is None  # raised here, in no plugin
    from harness_genome.published import load_genome

    found = caught(lambda: load_genome(None))
    whose = blamed(found)
    assert whose is not None and whose.plugin == "genome" and "published.py" in whose.place
    assert explained(whose, found).startswith("a plugin fails: AttributeError: ")
