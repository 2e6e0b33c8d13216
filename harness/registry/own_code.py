"""The code that a single-file plugin is made of: its file, and what it imports that is not installed."""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

from harness.registry.hookspecs import GROUP

FILE = "harness_file_"
"""How the names of the modules of single-file plugins begin."""


def own_code(path: Path, content: bytes) -> str:
    """SHA-256 of a file's content, and of the modules that it imports, directly or not, now or later.

    What is installed, the standard library, the harness and its installed plugins have versions instead.

    Args:
        path: the file; modules are looked for beside it, where they are not loaded already.
        content: what was read from it.
    """
    versioned = {"harness", *(point.module.partition(".")[0] for point in entry_points(group=GROUP))}
    found: dict[Path, bytes] = {}
    left = [content]
    while left:
        for name in _imported(left.pop()):
            file = None if name.partition(".")[0] in versioned else _file(name, path.parent)
            if file is not None and file != path and file not in found:
                found[file] = file.read_bytes()
                left.append(found[file])
    digests = [hashlib.sha256(text).hexdigest() for text in (content, *(found[file] for file in sorted(found)))]
    return digests[0] if not found else hashlib.sha256("".join(digests).encode()).hexdigest()


def _imported(content: bytes) -> Iterator[str]:
    """Names of the modules that a file may import, and of the packages around them; none of what is no Python."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):  # a module that is never imported, or whose failure is caught
        return
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{name}" for name in names)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: end + 1]) for end in range(len(parts)) if parts[0])


def _file(name: str, folder: Path) -> Path | None:
    """The source of a module that is not installed; None where there is none."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    beside = folder.joinpath(*name.split("."))
    for file in (Path(loaded) if isinstance(loaded, str) else None, beside.with_suffix(".py"), beside / "__init__.py"):
        if file is not None and file.suffix == ".py" and file.is_file():
            return None if any(file.is_relative_to(place) for place in _installed()) else file
    return None


def _installed() -> set[str]:
    return {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
