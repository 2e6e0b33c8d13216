"""An environment whose processes do not find some of the packages that are installed."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

HIDING = """
import sys
from importlib.machinery import PathFinder

HIDDEN = {hidden}

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
"""


def without(hidden: Collection[str], folder: Path) -> dict[str, str]:
    """Variables for processes, and for those that they start; none of the harness's own are kept.

    Args:
        hidden: names of modules; importing them fails as if they were not there.
        folder: an empty one, where a file is written.
    """
    (folder / "sitecustomize.py").write_text(HIDING.format(hidden=set(hidden)))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HARNESS_")}
    path = [str(folder), environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, path))}
