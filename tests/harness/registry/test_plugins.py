"""Loading plugins: what works, what fails, and that a failure stays where it is."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent
from uuid import uuid4

import pytest

from harness.errors import PluginError, UserError
from harness.registry.plugins import RESERVED, load

HEAD = "from harness import Entry, hookimpl\n"


def register(kind: str, *entries: str) -> str:
    """Source of a hook that returns these entries."""
    return f"\n@hookimpl\ndef harness_register_{kind}s():\n    return [{', '.join(entries)}]\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution with entry points on the path, as pip would; only such plugins are loaded."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names: list[str] = []

    def put(plugin: str, source: str, distribution: str = "fake-dist", version: str = "1.2") -> Path:
        module = f"fake_{plugin}_{uuid4().hex[:8]}"
        path = tmp_path / f"{module}.py"
        path.write_text(HEAD + dedent(source))
        info = tmp_path / f"{distribution.replace('-', '_')}_{plugin}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}-{plugin}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[harness]\n{plugin} = {module}\n")
        names.append(plugin)
        monkeypatch.setenv("HARNESS_PLUGINS", ",".join(names))
        return path

    return put


def names(registry, kind):
    return [registered.entry.name for registered in registry.entries(kind)]


def test_an_import_error_is_recorded_and_the_others_work(install):
    broken = install("broken", "x = 1\nraise RuntimeError('no such thing')\n", version="3.4")
    install("sound", register("method", "Entry('b_method', 'x:Y')", "Entry('a_method', 'x:Y', 'text')"))
    registry = load()
    assert names(registry, "method") == ["a_method", "b_method"]
    (failure,) = registry.failures
    assert (failure.origin.plugin, failure.origin.distribution, failure.origin.version) == (
        "broken",
        "fake-dist-broken",
        "3.4",
    )
    assert "RuntimeError: no such thing" in failure.message
    assert failure.location == f"{broken}:3"
    origin = registry.find("method", "a_method").origin
    assert str(origin) == "plugin 'sound' of fake-dist-sound 1.2"


def test_a_plugin_that_exits_on_import_is_a_failure(install):
    install("leaves", "import sys\nsys.exit(3)\n")
    assert "SystemExit: 3" in load().failures[0].message


def test_a_misspelt_hook_is_an_error_with_the_nearest_name(install):
    install(
        "typo",
        "@hookimpl\ndef harness_register_method():\n    return []\n" + register("benchmark", "Entry('b', 'x:Y')"),
    )
    registry = load()
    (failure,) = registry.failures
    assert "unknown hook 'harness_register_method'. Did you mean 'harness_register_methods'?" in failure.message
    assert names(registry, "benchmark") == ["b"]


def test_a_hook_without_its_marker_is_an_error(install):
    install("unmarked", "def harness_register_methods():\n    return []\n")
    assert "put @hookimpl above it" in load().failures[0].message


def test_a_plugin_without_hooks_is_an_error(install):
    install("empty", "x = 1\n")
    assert "registers nothing" in load().failures[0].message


def test_a_hook_with_other_arguments_is_an_error(install):
    install("arguments", "@hookimpl\ndef harness_register_methods(config):\n    return []\n")
    assert "config" in load().failures[0].message


def test_a_hook_that_raises_is_recorded_with_its_line(install):
    path = install("raises", "@hookimpl\ndef harness_register_methods():\n    return 1 / 0\n")
    (failure,) = load().failures
    assert "harness_register_methods() raised ZeroDivisionError" in failure.message
    assert failure.location == f"{path}:4"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("Entry('Bad-Name', 'x:Y')", "'Bad-Name' must be lower-case"),
        ("Entry(3, 'x:Y')", "name 3 must be lower-case"),
        ("Entry('no_colon', 'x.Y')", "'x.Y' of 'no_colon' must be"),
        ("Entry('number', 7)", "target 7 of 'number' must be"),
        ("'just_text'", "must return a list of harness.Entry"),
    ],
)
def test_a_malformed_entry_is_an_error_and_the_next_one_works(install, entry, message):
    install("malformed", register("method", entry, "Entry('good', 'x:Y')"))
    registry = load()
    (failure,) = registry.failures
    assert message in failure.message
    assert failure.origin.plugin == "malformed"
    assert names(registry, "method") == ["good"]


def test_a_name_registered_twice_is_ambiguous_and_names_both(install):
    install("first", register("method", "Entry('same', 'x:Y')", "Entry('own', 'x:Y')"))
    install("second", register("method", "Entry('same', 'x:Y')") + register("benchmark", "Entry('own', 'x:Y')"))
    registry = load()
    assert names(registry, "method") == ["own"]
    assert names(registry, "benchmark") == ["own"]
    assert len(registry.failures) == 1
    for text in (registry.failures[0].message, _raised(PluginError, lambda: registry.get("method", "same"))):
        assert "plugin 'first' of fake-dist-first 1.2" in text
        assert "plugin 'second' of fake-dist-second 1.2" in text
    assert registry.kinds_of("own") == ["method", "benchmark"]


def test_the_variable_limits_plugins(install, monkeypatch):
    install("first", register("method", "Entry('one', 'x:Y')"))
    install("second", register("method", "Entry('two', 'x:Y')"))
    monkeypatch.setenv("HARNESS_PLUGINS", " second ,")
    assert names(load(), "method") == ["two"]
    assert "HARNESS_PLUGINS limits plugins to: second" in _raised(UserError, lambda: load().get("method", "one"))
    monkeypatch.setenv("HARNESS_PLUGINS", "")
    assert names(load(), "method") == []
    monkeypatch.setenv("HARNESS_PLUGINS", "secnd")
    assert "HARNESS_PLUGINS: unknown plugin 'secnd'. Did you mean 'second'?" in _raised(UserError, load)


def test_a_checkout_that_is_not_installed_names_its_plugins_itself(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("HARNESS_PLUGINS", raising=False)
    (tmp_path / "bare_plugin.py").write_text(HEAD + register("method", "Entry('bare', 'x:Y')"))
    registry = load(installed=[EntryPoint("bare", "bare_plugin", "harness")])
    assert names(registry, "method") == ["bare"]
    assert not registry.failures


def test_an_unknown_name_shows_the_nearest_and_plugins_that_failed(install):
    install("sound", register("method", "Entry('magnitude', 'x:Y')"))
    install("broken", "import module_that_does_not_exist\n")
    text = _raised(UserError, lambda: load().get("method", "magnitud"))
    assert "unknown method 'magnitud'. Did you mean 'magnitude'?" in text
    assert "If a file of your own has it: --plugin FILE." in text
    assert "plugin 'broken' of fake-dist-broken 1.2" in text
    assert "module_that_does_not_exist" in text


def test_a_target_that_cannot_be_imported_names_plugin_and_cause(install):
    install("lazy", register("method", "Entry('gone', 'module_that_does_not_exist:X')", "Entry('no', 'json:Missing')"))
    registry = load()
    assert registry.failures == []
    text = _raised(PluginError, lambda: registry.get("method", "gone"))
    assert "plugin 'lazy' of fake-dist-lazy 1.2" in text
    assert "No module named 'module_that_does_not_exist'" in text
    assert "Missing" in _raised(PluginError, lambda: registry.get("method", "no"))


OPTIONS = "class O(BaseModel):\n    model_config = ConfigDict(extra='forbid')\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("class X: pass", "must be a subclass of harness.Architecture"),
        ("X = 3", "must be a subclass of harness.Architecture"),
        ("class X(Architecture): pass", "lacks build(), connections()"),
        ("class X(Whole): version = 2", "version 2: it must be a string"),
        ("class X(Whole): Options = dict", "must be a pydantic model"),
        ("class O(BaseModel): a: int = 1\nclass X(Whole): Options = O", "accept unknown keys"),
        (OPTIONS + "    density: float = 0.1\n    note: str = ''\nclass X(Whole): Options = O", "density, note"),
        (OPTIONS + "    mine: str = Field('', alias='use')\nclass X(Whole): Options = O", "named use"),
        (
            "class X(Whole):\n    def build(self, device): ...",
            "has build(self, device) in line 7, which is called as build(self)",
        ),
        (
            "class X(Whole):\n    def unsupported(): ...",
            "has unsupported() in line 7, which is called as unsupported(self)",
        ),
        ("class X(Whole): build = 3", "has build = 3: it must be a function"),
    ],
)
def test_a_class_that_breaks_its_contract_is_refused(tmp_path, monkeypatch, source, message):
    monkeypatch.setenv("HARNESS_PLUGINS", "")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = f"contract_{uuid4().hex[:8]}"
    head = "from pydantic import BaseModel, ConfigDict, Field\nfrom harness import Architecture, Entry, hookimpl\n"
    whole = "class Whole(Architecture):\n    def build(self): ...\n    def connections(self): ...\n"
    (tmp_path / f"{module}.py").write_text(f"{head}{whole}{source}\n")
    plugin = tmp_path / "brings.py"
    plugin.write_text(HEAD + register("architecture", f"Entry('x', '{module}:X')"))
    text = _raised(PluginError, lambda: load([plugin]).get("architecture", "x"))
    assert message in text
    assert str(plugin) in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mode = 'soft'", "has mode = 'soft': it must be one of projected, composed"),
        ("takes_density = 'sometimes'", "has takes_density = 'sometimes': it must be one of required, optional, never"),
        ("kinds = 'weight'", "has kinds = 'weight': it must be a set of weight, attention"),
        ("def scores(self): ...", r"has scores\(self\) in line \d+, which is called as scores\(self, context\)"),
    ],
)
def test_a_method_that_breaks_its_contract_is_refused(tmp_path, monkeypatch, line, message):
    monkeypatch.setenv("HARNESS_PLUGINS", "")
    plugin = tmp_path / "brings.py"
    method = f"from harness import SparsityMethod\n\nclass X(SparsityMethod):\n    {line}\n\n"
    plugin.write_text(HEAD + method + register("method", "Entry('x', X)"))
    with pytest.raises(PluginError, match=message):
        load([plugin]).get("method", "x")


def test_a_method_with_the_old_name_of_the_gradients_share_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_PLUGINS", "")
    plugin = tmp_path / "brings.py"
    method = "from harness import SparsityMethod\n\nclass Old(SparsityMethod):\n    dense_gradients = 0.5\n\n"
    plugin.write_text(HEAD + method + register("method", "Entry('x', Old)"))
    with pytest.raises(PluginError, match="the fraction is called dense_gradient_share"):
        load([plugin]).get("method", "x")


def test_the_reserved_option_names_are_those_that_a_suite_takes():
    from harness.suites.schema import ArchitectureEntry, MethodEntry

    assert {*MethodEntry.model_fields, *ArchitectureEntry.model_fields} == RESERVED


METHOD = """
from harness import Entry, SparsityMethod, hookimpl

class Mine(SparsityMethod):
    version = "7"

@hookimpl
def harness_register_methods():
    return [Entry("mine", Mine, "of a file")]
"""


@pytest.fixture
def alone(monkeypatch):
    monkeypatch.setenv("HARNESS_PLUGINS", "")


def test_a_single_file_is_identified_by_its_content(tmp_path, alone):
    path = tmp_path / "my_method.py"
    path.write_text(METHOD)
    first = load([path, path])
    assert first.identity("method", "mine") == {
        "plugin": "mine",
        "version": "7",
        "code": hashlib.sha256(METHOD.encode()).hexdigest(),
    }
    assert load([path]).get("method", "mine") is first.get("method", "mine")
    cls = first.get("method", "mine")
    assert getattr(sys.modules[cls.__module__], cls.__name__) is cls
    # Same size and, on a coarse clock, same time: a bytecode cache would miss this edit.
    path.write_text(METHOD.replace('"7"', '"8"'))
    second = load([path])
    assert second.identity("method", "mine")["version"] == "8"
    assert second.identity("method", "mine")["code"] != first.identity("method", "mine")["code"]


def test_an_installed_class_has_no_source_in_its_identity(install):
    install("dist", METHOD)
    assert load().identity("method", "mine") == {"plugin": "mine", "version": "7"}


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("x = 1\n\nraise KeyError('boom')\n", "KeyError: 'boom'", 3),
        ("import json\n\n\njson.loads('{')\n", "JSONDecodeError", 4),
        ("x = 1\ndef f(:\n", "SyntaxError", 2),
    ],
)
def test_a_file_that_fails_names_its_line(tmp_path, alone, source, message, line):
    path = tmp_path / "bad.py"
    path.write_text(source)
    text = _raised(PluginError, lambda: load([path]))
    assert message in text
    assert f"{path}:{line}" in text
    assert not any(name.startswith("harness_file_bad_") for name in sys.modules)


def test_what_is_wrong_with_a_file_is_an_error_at_once(tmp_path, alone):
    assert "cannot be read" in _raised(PluginError, lambda: load([tmp_path / "missing.py"]))
    assert "(.py)" in _raised(PluginError, lambda: load([tmp_path / "suite.yaml"]))
    typo = tmp_path / "typo.py"
    typo.write_text(METHOD.replace("register_methods", "register_metods"))
    assert "Did you mean 'harness_register_methods'?" in _raised(PluginError, lambda: load([typo]))
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    for path in (one, two):
        path.write_text(METHOD)
    text = _raised(PluginError, lambda: load([one, two]))
    assert str(one) in text
    assert str(two) in text


def test_listing_imports_no_torch(install, tmp_path):
    install("light", register("method", "Entry('a', 'torch:nn')"))
    code = (
        "from harness.registry.plugins import load; assert load().entries('method'); assert 'torch' not in sys.modules"
    )
    path = f"import sys; sys.path[:0] = {[str(tmp_path), *sys.path]!r}; "
    subprocess.run([sys.executable, "-c", path + code], check=True, timeout=60)


def _raised(kind: type[Exception], call) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)
