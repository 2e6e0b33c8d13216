"""Who may import whom, and who may know whose name: read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from harness.registry.plugins import KINDS, load

ROOT = Path(__file__).parents[2]
LAYERS = (
    "root",
    "core",
    "storage",
    "interchange",
    "compaction",
    "registry",
    "suites",
    "training",
    "stages",
    "results",
    "executors",
    "analysis",
    "claims",
    "report",
    "testing",
    "cli",
)
"""Folders of the core, from the ground up: each may import from itself and from those before it."""
ROOTS = {
    "harness",
    "harness.__main__",
    "harness.errors",
    "harness.extras",
    "harness.formatting",
    "harness.machine",
    "harness.seeds",
    "harness.version",
}
"""The modules that lie in no folder."""
FACADE = "harness"
"""For plugins and users: it knows everything below it, and nothing below it may know it."""
ENTRY = "harness.__main__"
WORDS = {"dense", "random", "text", "lm_eval", "timm", "units"}
"""Names that mean more: the baseline, a generator's state, an SVG element, distributions, what a network has."""


def modules(folder: Path) -> dict[str, Path]:
    found = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


HARNESS = modules(ROOT / "harness")
PLUGINS = {
    name: path for folder in sorted((ROOT / "plugins").glob("harness_*")) for name, path in modules(folder).items()
}


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules of ``known`` that a file imports: early, late, or only for its types."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                longer = f"{node.module}.{alias.name}"
                name = longer if longer in known else node.module
                if name in known:
                    yield name
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


def layer(module: str) -> str:
    return "root" if module in ROOTS else module.split(".")[1]


def upward(files: dict[str, Path]) -> list[str]:
    """What imports from a folder above its own, or the facade."""
    return [
        f"{module} imports {other}"
        for module, path in files.items()
        if module not in {FACADE, ENTRY}
        for other in imports(path, files)
        if other == FACADE or LAYERS.index(layer(other)) > LAYERS.index(layer(module))
    ]


def circle(files: dict[str, Path]) -> list[str]:
    """Modules that need each other, if there are any."""
    graph = {name: set(imports(path, files)) - {name} for name, path in files.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_module_lies_in_a_layer() -> None:
    assert {layer(module) for module in HARNESS} == set(LAYERS)
    flat = {
        "harness" if path.stem == "__init__" else f"harness.{path.stem}" for path in (ROOT / "harness").glob("*.py")
    }
    assert flat == ROOTS


def test_the_design_has_these_layers_in_this_order() -> None:
    table = (ROOT / "docs/design.md").read_text(encoding="utf8").partition("\n## Layers\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"][2:]
    assert [folder.strip("`") for folder, _, _ in rows] == list(LAYERS)
    below = ["nothing of the harness", "up to root", *(f"up to `{name}`" for name in LAYERS[1:-1])]
    assert [imported for _, _, imported in rows] == below


def test_nothing_imports_upward() -> None:
    assert upward(HARNESS) == []


def test_no_module_needs_itself() -> None:
    assert circle(HARNESS) == []


@pytest.mark.parametrize(
    "line",
    [
        "from harness.cli import cli",
        "def late():\n    from harness.stages.graph import Stage",
        "if TYPE_CHECKING:\n    from harness.stages.graph import Stage",
        "import harness.stages.runner",
        "from harness.stages import runner",
        "from harness import Masks",
    ],
)
def test_an_upward_import_is_found(tmp_path: Path, line: str) -> None:
    planted = tmp_path / "optimizers.py"
    planted.write_text(f"{HARNESS['harness.training.optimizers'].read_text()}\n{line}\n")
    found = upward({**HARNESS, "harness.training.optimizers": planted})
    assert [text.partition(" imports ")[0] for text in found] == ["harness.training.optimizers"]


def test_a_circle_of_types_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "connections.py"
    code = HARNESS["harness.core.connections"].read_text()
    planted.write_text(f"{code}\nif TYPE_CHECKING:\n    from harness.core.method import SparsityMethod\n")
    assert "harness.core.connections" in circle({**HARNESS, "harness.core.connections": planted})


def test_the_harness_imports_no_plugin() -> None:
    assert PLUGINS
    assert {m: found for m, path in HARNESS.items() if (found := list(imports(path, PLUGINS)))} == {}


def test_a_plugin_that_builds_on_another_says_so() -> None:
    for module, path in PLUGINS.items():
        own = module.partition(".")[0]
        for other in {name.partition(".")[0] for name in imports(path, PLUGINS)} - {own}:
            docstring = ast.get_docstring(ast.parse(PLUGINS[own].read_text())) or ""
            assert other in docstring, f"{module} imports {other}, and {own} does not say so"


def test_the_harness_knows_no_plugins_name() -> None:
    registry = load([])
    names = {found.entry.name for kind in KINDS for found in registry.entries(kind)} - WORDS
    assert "genome" in names
    for module, path in HARNESS.items():
        strings = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        assert not names & {value for value in strings if isinstance(value, str)}, module


def public_classes(files: dict[str, Path]) -> dict[str, list[str]]:
    """Class name -> modules that define a class of that name."""
    found: dict[str, list[str]] = {}
    for module, path in files.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(module)
    return found


@pytest.mark.parametrize("files", [HARNESS, PLUGINS], ids=["harness", "plugins"])
def test_a_class_has_a_name_of_its_own(files: dict[str, Path]) -> None:
    """A name that means two things has to be looked up each time that it is read."""
    assert not {name: homes for name, homes in public_classes(files).items() if len(homes) > 1}
