"""Who may import whom, and who may know whose name: read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from harness.plugins import KINDS, load

ROOT = Path(__file__).parents[2]
ABOVE = {
    "core": {"executors.base"},  # of the executors only what a job is
    "executors": {"core"},
    "analysis": {"core"},
    "published": {"core", "analysis"},
    "report": {"core", "analysis", "published"},
    "testing": {"core"},
    "cli": {"core", "executors", "analysis", "published", "report"},
}
"""Part of the core -> what it may import besides itself."""
ENTRY = "harness.__main__"
WORDS = {"dense", "random", "text", "lm_eval"}
"""Names that mean something else too: the default baseline, a generator's state, an SVG element, a distribution."""


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
    """Modules of ``known`` that a file imports at run time, early or late."""

    def walk(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.ImportFrom) and child.module:
                for alias in child.names:
                    longer = f"{child.module}.{alias.name}"
                    yield longer if longer in known else child.module
            elif isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            yield from walk(child)

    return (name for name in walk(ast.parse(path.read_text())) if name in known)


def part(module: str) -> str:
    names = module.split(".")
    return names[1] if len(names) > 1 and (ROOT / "harness" / names[1]).is_dir() else "core"


def test_no_module_needs_itself() -> None:
    graph = {name: set(imports(path, HARNESS)) - {name} for name, path in HARNESS.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(HARNESS)  # raises CycleError


@pytest.mark.parametrize("name", sorted(ABOVE))
def test_parts_import_from_lower_ones(name: str) -> None:
    for module, path in HARNESS.items():
        if part(module) == name and module != ENTRY:
            for other in imports(path, HARNESS):
                allowed = {name, *ABOVE[name]}
                assert part(other) in allowed or other.removeprefix("harness.") in allowed, f"{module} imports {other}"


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
