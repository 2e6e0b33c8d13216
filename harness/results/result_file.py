"""One file of a results folder, loose or packed."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from harness.errors import CorruptFile
from harness.results.archive import Archive, FileKind
from harness.storage.reading import read_bytes


@dataclass(frozen=True, slots=True)
class ResultFile:
    """Where a file is, or would be; a loose one goes before the packed one of its name.

    Attributes:
        path: of the loose file.
        archive: where it may be packed.
        kind, name: what it is there.
    """

    path: Path
    archive: Archive
    kind: FileKind
    name: str

    @property
    def exists(self) -> bool:
        """Whether there is such a file, or an archive that cannot tell, which reading it says."""
        try:
            return self.path.is_file() or self.archive.has(self.kind, self.name)
        except CorruptFile:
            return True

    @property
    def where(self) -> Path:
        """The file to name in messages: the loose one, or the archive that holds it."""
        return self.path if self.path.is_file() or not self.exists else self.archive.path(self.kind)

    def read(self) -> bytes:
        """Its content.

        Raises:
            FileNotFoundError: if there is none.
            CorruptFile: if the archive is damaged.
        """
        try:
            return read_bytes(self.path)
        except FileNotFoundError:
            packed = self.archive.read(self.kind, self.name)
            if packed is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path)) from None
            return packed
