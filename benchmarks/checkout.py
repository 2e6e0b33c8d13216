"""The harness and plugins of this checkout, whether or not they are installed: to be imported before them."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

if TYPE_CHECKING:
    from harness.registry.plugins import Registry


def registry(files: Sequence[Path] = ()) -> Registry:
    """The plugins that pyproject.toml names, then single-file plugins."""
    from harness.registry.hookspecs import GROUP
    from harness.registry.plugins import load

    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
    return load(files, [EntryPoint(name, value, GROUP) for name, value in points.items()])
