"""The documents tell the truth: their commands run, their links lead somewhere, and they leave nothing out."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

import harness
import harness.testing
from harness.cli import cli
from harness.core import phases
from harness.core.architecture import Architecture
from harness.core.benchmark import Benchmark
from harness.core.method import SparsityMethod
from harness.core.method_context import MethodContext
from harness.registry import hookspecs
from harness.registry.plugins import KINDS, RESERVED, load
from harness.suites.suite import load_suite

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf8")
CATALOGUE = (ROOT / "docs/catalogue.md").read_text(encoding="utf8")
PLUGINS = (ROOT / "docs/plugins.md").read_text(encoding="utf8")
PYTHON = (ROOT / "docs/python.md").read_text(encoding="utf8")
SUITES = (ROOT / "docs/suites.md").read_text(encoding="utf8")
COMMANDS = (ROOT / "docs/commands.md").read_text(encoding="utf8")
DESIGN = (ROOT / "docs/design.md").read_text(encoding="utf8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
PHASES = [
    kind for kind in vars(phases).values() if isinstance(kind, type) and kind.__base__ in (phases.Phase, phases.Train)
]
DOCUMENTS = [
    *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SKILL")),
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if not {"_build", "options.md"} & set(path.parts)),
]

TARGETS = dict(re.findall(r"^([a-z]+):(.*)$", (ROOT / "Makefile").read_text(encoding="utf8"), re.MULTILINE))
"""Of the Makefile, with what each needs first."""

specification = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
generate = importlib.util.module_from_spec(specification)
specification.loader.exec_module(generate)


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def block_with(text, language, part):
    (found,) = [block for block in blocks(text, language) if part in block]
    return found


def shrunk(node):
    """The same suite with hardly any training: every number of steps is 2."""
    if not isinstance(node, dict):
        return node
    small = {key: 2 if key.endswith("steps") else shrunk(value) for key, value in node.items() if key != "epochs"}
    if "epochs" in node:
        small["steps"] = 2
    if "seeds" in small:
        small["seeds"] = 1
    return small


def run(command, folder):
    """A command as printed, in ``folder``; its stdout."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HARNESS_DEVICE": "cpu", "HARNESS_DATA": str(folder / "data")}
    done = subprocess.run(
        shlex.split(command), cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder like a clone after ``make quickstart``, with the README's files; its suites are shrunk."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("claims", "suites"):
        shutil.copytree(ROOT / name, folder / name)
    quickstart = yaml.safe_load((ROOT / "suites/quickstart.yaml").read_text(encoding="utf8"))
    first = next(iter(quickstart["experiments"]))
    quickstart["experiments"] = {first: quickstart["experiments"][first]}
    suite = block_with(README, "yaml", "# my_suite.yaml")
    for name, content in {"suites/quickstart.yaml": quickstart, "my_suite.yaml": yaml.safe_load(suite)}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(shrunk(content)), encoding="utf8")
    plugin = block_with(README, "python", "harness_register_methods")
    (folder / "lottery_ticket.py").write_text(plugin, encoding="utf8")
    run("harness run suites/quickstart.yaml", folder)
    return folder


@pytest.mark.slow
def test_the_commands_of_the_readme_run(workshop):
    used = COMMANDS.partition("<!-- commands -->")[0]
    commands = [line for text in (README, used) for block in blocks(text, "sh") for line in block.splitlines()]
    for command in commands:
        if command.startswith("make "):
            assert command.removeprefix("make ") in TARGETS
        else:
            run(command, workshop)
    lottery_ticket_kept_its_promises(workshop / "results/my_suite/cells")


def lottery_ticket_kept_its_promises(cells):
    (path,), (dense,) = list(cells.glob("*.lottery_ticket.d0.1.s0.*.json")), list(cells.glob("*.dense.s0.*.json"))
    record, baseline = json.loads(path.read_bytes()), json.loads(dense.read_bytes())
    assert record["status"] == "done"
    assert record["density"]["kept"] == round(0.1 * record["density"]["size"])
    assert ["steps" in phase for phase in record["program"]] == [True, False, False] * 3 + [True]
    assert record["stages"][0] == baseline["stages"][0], "the first training should be shared with dense"


def test_the_readme_is_read_in_a_minute():
    assert len(README.splitlines()) <= 150
    text = generate.links(ROOT)
    assert "results/quickstart/leaderboard.md" in text
    filled = generate.filled(README, "leaderboards", text)
    assert filled == README, "python docs/generate.py"


def test_make_quickstart_runs_what_the_readme_says():
    makefile = (ROOT / "Makefile").read_text(encoding="utf8")
    assert "harness run suites/quickstart.yaml" in makefile.partition("\nquickstart:")[2].partition("\n\n")[0]
    assert "RESULTS" in makefile


def test_the_plugin_of_the_readme_is_as_short_as_it_says():
    lines = block_with(README, "python", "harness_register_methods").splitlines()
    assert len(lines) <= 25
    assert "about 25 lines" in README


@pytest.mark.parametrize("text", [README, SUITES], ids=["README", "suites"])
def test_suites_in_the_documents_are_right(text, tmp_path):
    for block in blocks(text, "yaml"):
        (tmp_path / "suite.yaml").write_text(block, encoding="utf8")
        assert load_suite(tmp_path / "suite.yaml", load()).cells


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_code_in_the_documents_is_python(path):
    for block in blocks(path.read_text(encoding="utf8"), "python"):
        ast.parse(block)


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("TwoLayers", harness.testing.check_architecture),
        ("Convolutional", harness.testing.check_architecture),
        ("Attending", harness.testing.check_architecture),
        ("WholeNeurons", harness.testing.check_method),
        ("Thresholds", harness.testing.check_method),
        ("Powers", harness.testing.check_method),
    ],
)
def test_the_plugins_of_the_documents_keep_their_contract(name, check):
    scope = {}
    exec(block_with(PLUGINS, "python", f"class {name}("), scope)
    check(scope[name])


def anchors(path):
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", path.read_text("utf8"), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_paths_lead_somewhere(path):
    text = path.read_text(encoding="utf8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file) if file else path
        assert linked.exists(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{path.name}: no heading for {target}"
    for named in re.findall(r"`((?:harness|plugins|suites|docs|tests)/[\w./-]+\.\w+)`", text):
        # The design names the harness's files from its folder on.
        assert (ROOT / named).exists() or (ROOT / "harness" / named).exists(), f"{path.name} names {named}"


def test_the_design_names_files_that_exist():
    named = re.findall(r"`([\w./-]+(?:\.(?:py|toml|md|yaml)|/))`", DESIGN)
    assert len(named) > 30
    assert [name for name in named if not ((ROOT / name).exists() or (ROOT / "harness" / name).exists())] == []


def test_the_commands_for_contributors_name_what_there_is():
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    assert len(lines) > 10
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert set(words[1:]) <= TARGETS.keys(), line
        for word in words:
            if re.match(r"(tests|suites|docs|results)\b", word):
                assert (ROOT / word).exists(), line


def test_hooks_before_a_commit_are_the_gates_first_steps():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf8"))["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    entries = [hook["entry"] for hook in hooks[0]["hooks"]]
    assert entries == [f"make {target}" for target in TARGETS["test"].split()]


def test_hosted_ci_runs_the_gate_and_nothing_else():
    (job,) = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf8"))["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci/run", os.X_OK)
    lowest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf8"))
    assert f"python:{lowest[1]}-" in job["container"]


def test_the_picture_names_files_that_exist():
    picture = ElementTree.parse(ROOT / "docs/cell-flow.svg")
    named = {
        name
        for element in picture.iter("{http://www.w3.org/2000/svg}text")
        for name in re.findall(r"[a-z_/]+(?:\.py|/)", "".join(element.itertext()))
    }
    assert named
    assert [name for name in named if not (ROOT / "harness" / name).exists()] == []


# --- nothing is left out -------------------------------------------------------------------------


def test_generated_parts_are_up_to_date():
    for path, text in generate.documents().items():
        current = path.read_text(encoding="utf8")
        assert current == text, f"{path.name} is out of date: python docs/generate.py"


def test_every_plugin_is_in_the_catalogue():
    registry = load()
    for kind in KINDS:
        ours = [r.entry.name for r in registry.entries(kind) if r.origin.distribution == "sparsity-harness"]
        assert ours
        for name in ours:
            assert re.search(rf"^\| `{name}` \|", CATALOGUE, re.MULTILINE), f"docs/catalogue.md lacks {kind} {name}"


def public(cls):
    return [name for name in vars(cls) if not name.startswith("_")]


def names() -> Iterator[str]:
    """Everything that a plugin's author may meet."""
    yield from (name for name in vars(hookspecs) if name.startswith("harness_"))
    for interface in (SparsityMethod, Architecture, Benchmark):
        yield from public(interface)
    yield from (field.name for field in dataclasses.fields(MethodContext))
    yield from public(MethodContext)
    yield from (phase.__name__ for phase in PHASES)
    yield from harness.__all__
    yield from RESERVED


@pytest.mark.parametrize("name", sorted(set(names())))
def test_everything_of_the_interfaces_is_documented(name):
    assert re.search(rf"`{name}\b", PLUGINS + PYTHON), f"neither docs/plugins.md nor docs/python.md has `{name}`"


@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase is not phases.Finetune])
def test_phases_are_documented_with_their_fields(phase):
    (arguments,) = re.findall(rf"^\| `{phase.__name__}\(([^)]*)\)`", PLUGINS, re.MULTILINE)
    fields = {field.name for field in dataclasses.fields(phase)}
    assert set(filter(None, arguments.split(", "))) | {"hooks"} == fields


def test_the_checks_are_documented():
    for name in (name for name in vars(harness.testing) if name.startswith("check_")):
        assert f"{name}(" in PLUGINS


def commands(path, command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands(f"{path} {name}", command.get_command(context, name))


def test_the_commands_that_need_a_network_are_accepted(monkeypatch):
    """What ``$`` stands before is not run, but its words are those of the command line."""
    monkeypatch.chdir(ROOT)
    lines = [
        line for block in blocks(CATALOGUE, "console") for line in block.splitlines() if line.startswith("$ harness")
    ]
    assert len(lines) > 5
    for line in lines:
        command, words = cli, shlex.split(line, comments=True)[2:]
        while isinstance(command, click.Group):
            name, *words = words
            command = command.get_command(click.Context(command), name)
            assert command is not None, line
        command.make_context(name, list(words))
        for word in words:
            assert not word.startswith("suites/") or (ROOT / word).is_file(), line


@pytest.mark.parametrize(("path", "command"), [pytest.param(*pair, id=pair[0]) for pair in commands("harness", cli)])
def test_every_option_is_documented(path, command):
    section = re.search(rf"^## `{path}(?: [^a-z`][^`]*)?`\n(.*?)(?=^## |\Z)", COMMANDS, re.MULTILINE | re.DOTALL)
    assert section or path == "harness new", f"docs/commands.md lacks {path}"
    text = section[1] if section else COMMANDS
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert all(f"`{name}" in text for name in parameter.opts), f"docs/commands.md lacks {path} {parameter.opts}"


def test_every_key_of_a_suite_has_a_meaning():
    for model in generate.TABLES:
        table = generate.inside(SUITES, model)
        meanings = generate.meanings(table)
        assert meanings
        assert [key for key, text in meanings.items() if not text] == [], f"say what they mean, in the table of {model}"


# --- how to cite ---------------------------------------------------------------------------------


def test_the_citation_is_complete():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf8"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= citation.keys()
    assert str(citation["version"]) == harness.__version__
    cited = {author["family-names"] for work in citation["references"] for author in work["authors"]}
    assert cited == {"Sudarshan", "Kotar", "Tuckute", "Hamond"}
    assert all({"type", "title", "authors"} <= work.keys() for work in citation["references"])
    assert all(name in README for name in cited)


def test_the_changelog_has_this_version_on_top_with_notes_for_people():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf8")
    _, unreleased, newest, *_ = re.split(r"^## ", changelog, flags=re.MULTILINE)
    assert unreleased.startswith("[Unreleased]\n")
    assert re.match(rf"\[{re.escape(harness.__version__)}\] - \d{{4}}-\d\d-\d\d\n", newest)
    notes = newest.partition("\n")[2].partition("\n### ")[0].strip()
    new, breaks, upgrade = notes.split("\n\n")
    assert new.startswith("New: ") and breaks.startswith("Breaks: ") and upgrade.startswith("Upgrade: ")
    assert re.findall(r"sparsity-harness\[all\]==([\d.]+)'", upgrade) == [harness.__version__]
    assert len(notes.splitlines()) <= 12
