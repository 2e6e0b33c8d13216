"""Whose code an exception began in: a plugin's, or the harness's."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

from harness.registry.hookspecs import GROUP
from harness.registry.own_code import FILE


class Blame(NamedTuple):
    """The place in a plugin that raised, or called what raised.

    Attributes:
        plugin: the file of a single-file plugin, else the name of its entry point.
        place: ``file:line``.
    """

    plugin: str
    place: str

    @property
    def text(self) -> str:
        """For messages."""
        return self.place if self.place.startswith(f"{self.plugin}:") else f"plugin '{self.plugin}', {self.place}"


def blamed(error: BaseException) -> Blame | None:
    """The innermost place in a plugin; None where the innermost code that is not a library's is the harness's.

    A file that is not there is the plugin's too where it asked the harness to read it.
    """
    for whose in _owners(error):
        if isinstance(whose, Blame):
            return whose
        if not isinstance(error, FileNotFoundError):
            return None
    return None


def caller(error: BaseException) -> Blame | None:
    """The innermost place in a plugin, whatever it called; None where no plugin took part."""
    return next((whose for whose in _owners(error) if isinstance(whose, Blame)), None)


def explained(whose: Blame, error: BaseException) -> str:
    """What a plugin's exception comes to, and what to do."""
    if isinstance(error, FileNotFoundError):
        missing = error.filename or str(error).removeprefix("No such file or directory: ")
        text = "Put it there, or repair the path where the plugin, or the suite for it, names it."
        return f"a file that a plugin reads is not here: {missing} ({whose.text}). {text}"
    return f"a plugin fails: {type(error).__name__}: {error} ({whose.text})"


def _owners(error: BaseException) -> Iterator[Blame | None]:
    """From the innermost frame outwards, of code that is no library's: a plugin's place, or None for the harness."""
    packages = {point.module.partition(".")[0]: point.name for point in entry_points(group=GROUP)}
    files = [Path(m.__file__) for name, m in list(sys.modules.items()) if name.startswith(FILE) and m.__file__]
    frames = list(reversed(list(traceback.walk_tb(error.__traceback__))))
    for frame, line in frames:
        if frame.f_code.co_name == "__torch_dispatch__" and frame is not frames[0][0]:
            continue  # torch calls it within whatever a network does
        module, file = str(frame.f_globals.get("__name__", "")), frame.f_code.co_filename
        package = module.partition(".")[0]
        if package == "harness":
            yield None
        elif package in packages:
            yield Blame(packages[package], f"{file}:{line}")
        elif package.startswith(FILE):
            yield Blame(file, f"{file}:{line}")
        elif beside := [path for path in files if file in _files(module, path.parent)]:
            yield Blame(str(beside[0]), f"{file}:{line}")


def _files(module: str, folder: Path) -> tuple[str, str]:
    """Where a module is that is imported from beside a single-file plugin."""
    beside = folder.joinpath(*module.split("."))
    return str(beside.with_suffix(".py")), str(beside / "__init__.py")
