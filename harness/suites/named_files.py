"""Where the relative paths of a suite lead: to files beside the suite's own, else below the data directory."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from harness.errors import UserError
from harness.storage.data_directory import data_directory

OptionsT = TypeVar("OptionsT", bound=BaseModel)


class NamedFiles:
    """The files that one part of a suite names.

    What lies beside the suite's file gets its full path, here and for all who run the suite: plugins, workers, jobs on
    clusters. Other paths stay as they are, and plugins look for them in the data directory. Hashes and records have all
    of them as the suite has them.

    Args:
        folder: of the suite's file, absolute.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._beside: dict[str, str] = {}
        self._elsewhere: list[str] = []
        self._wanted: dict[str, str] = {}

    def options(self, options: OptionsT) -> OptionsT:
        """Options with full paths of what is beside the suite's file.

        These are values of type Path, and texts of fields with ``json_schema_extra={"file": ENDING}`` that have this
        ending ("" is any); also those within lists and mappings. Defaults are the plugin's own and stay.
        """
        changed = {}
        for name in type(options).model_fields.keys() & options.model_fields_set:
            extra = type(options).model_fields[name].json_schema_extra
            ending = extra.get("file") if isinstance(extra, dict) else None
            value = getattr(options, name)
            if (found := self._found(value, ending if isinstance(ending, str) else None)) != value:
                changed[name] = found
        return options.model_copy(update=changed)

    def place(self, name: str, holds: str = "") -> str:
        """The full path of what a name is beside the suite's file, else the name.

        Args:
            name: a path, which may have ``*`` and ``{word}`` for what is not known yet.
            holds: what a folder must hold to be meant; "" for files and any folder.
        """
        if Path(name).expanduser().is_absolute():
            return name
        if not _there(self._folder, str(Path(name, holds))):
            self._elsewhere.append(name)
            if holds:
                self._wanted[name] = holds
            return name
        place = str(self._folder / name)
        self._beside[place] = name
        return place

    def as_written(self, value: Any) -> Any:
        """A value of JSON in which full paths are as the suite has them, so that it is the same on other machines."""
        if isinstance(value, str):
            for place in sorted(self._beside, key=len, reverse=True):
                value = value.replace(place, self._beside[place])
            return value
        if isinstance(value, Mapping):
            return {key: self.as_written(inner) for key, inner in value.items()}
        return [self.as_written(inner) for inner in value] if isinstance(value, list) else value

    @contextmanager
    def explained(self) -> Iterator[None]:
        """What is raised within also names both places of each file that is at neither."""
        try:
            yield
        except UserError as error:
            data = data_directory().absolute()
            lost = [name for name in dict.fromkeys(self._elsewhere) if not _there(data, name)]
            places = [
                f"\n{self._folder / name} is a folder without {self._wanted[name]}."
                if name in self._wanted and (self._folder / name).is_dir()
                else f"\nNo file: '{name}' is neither {self._folder / name} nor {data / name}."
                for name in lost
            ]
            if not places:
                raise
            raise type(error)(f"{error}{''.join(places)}") from error

    def _found(self, value: Any, ending: str | None) -> Any:
        if isinstance(value, BaseModel):
            return self.options(value)
        if isinstance(value, Path):
            return Path(self.place(str(value)))
        if isinstance(value, str):
            return self.place(value) if ending is not None and value.endswith(ending) else value
        if isinstance(value, dict):
            return {key: self._found(inner, ending) for key, inner in value.items()}
        return type(value)(self._found(inner, ending) for inner in value) if type(value) in (list, tuple) else value


def _there(folder: Path, name: str) -> bool:
    # Not Path.glob, which takes no "..", nor Path.exists, which raises for what no file can be called.
    patterns = (glob.escape(name), re.sub(r"\{\w+\}", "*", name))
    return any(True for pattern in patterns for _ in glob.iglob(pattern, root_dir=folder))  # noqa: PTH207
