"""What networks count when they are built, and what they counted where torch is not installed."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from harness.claims.schema import Count
from harness.errors import StorageError
from harness.extras import installed, require
from harness.storage.atomic_files import write_json
from harness.storage.reading import read_object

if TYPE_CHECKING:
    from harness.registry.plugins import Registry

_NUMBERS = TypeAdapter(dict[str, float])


class Counts:
    """The numbers of :class:`~harness.claims.schema.Count`, which follow from plugins alone.

    They are built wherever torch is, and kept beside the claims for whoever has none.

    Args:
        folder: of the claims; None keeps nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._path = None if folder is None else folder / "counts.json"
        self._built: dict[str, float] = {}

    def value(self, count: Count) -> float:
        """The number.

        Raises:
            NotInstalled: without torch, if it is not in the file.
            UserError: if it cannot be built, see :func:`harness.claims.counting.counted`.
        """
        key = json.dumps(count.model_dump(mode="json", exclude={"differs"}, exclude_none=True), sort_keys=True)
        if not installed("torch") and key in self._kept:
            return self._kept[key]
        if key not in self._built:
            require("torch", what=f"to count {count.count} of '{count.architecture.use}'")
            from harness.claims.counting import counted

            self._built[key] = float(counted(count, self._registry))
        return self._built[key]

    def keep(self) -> None:
        """Write what was built, if it is not what stands in the file; nothing in a folder that may not be written."""
        if self._path is not None and self._built and self._built != self._kept:
            with suppress(StorageError):
                write_json(self._path, dict(sorted(self._built.items())))

    @cached_property
    def _kept(self) -> dict[str, float]:
        content = None if self._path is None else read_object(self._path)
        try:
            return _NUMBERS.validate_python(content or {})
        except ValidationError:
            return {}

    @cached_property
    def _registry(self) -> Registry:
        from harness.registry.plugins import load

        return load()
