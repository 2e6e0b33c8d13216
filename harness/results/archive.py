"""The packed results of a suite: thousands of finished cells in four files, read as the files that they were."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Literal
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from harness.errors import CorruptFile
from harness.storage.atomic_files import write_bytes
from harness.storage.reading import read_bytes

FileKind = Literal["cells", "series", "masks", "samples", "examples"]
SUFFIX: Mapping[FileKind, str] = {
    "cells": ".json",
    "series": ".json",
    "masks": ".safetensors",
    "samples": ".jsonl.gz",
    "examples": ".safetensors.gz",
}
"""Folder of a suite -> how names of the files in it end; a name without its ending is a cell's, of masks a stage's."""

LINES: Mapping[FileKind, str] = {"cells": "records.jsonl.gz", "series": "series.jsonl.gz"}
"""What is packed as one line of JSON a cell; the rest is in :data:`ZIPS`."""
ZIPS: Mapping[FileKind, str] = {
    "masks": "masks_and_samples.zip",
    "samples": "masks_and_samples.zip",
    "examples": "examples.zip",
}
PACKED = frozenset((*LINES.values(), *ZIPS.values()))
"""The files of an archive."""
NAME = re.compile(r"[\w.+-]+", re.ASCII)
"""What names of packed files are made of: nothing that leads out of a folder."""
_CELL = re.compile(rb'"cell": ?"([\w.+-]+)"')


class Archive:
    """Reads what is packed, a whole file at a time, and again when it has changed.

    Args:
        folder: ``archive`` in the suite's folder; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[Path, tuple[tuple[int, int], dict[str, bytes]]] = {}
        self._zips: dict[Path, tuple[tuple[int, int], ZipFile]] = {}

    def path(self, kind: FileKind) -> Path:
        """The file that holds this kind."""
        return self.folder / (LINES.get(kind) or ZIPS[kind])

    def names(self, kind: FileKind) -> Iterable[str]:
        """What is packed of a kind.

        Raises:
            CorruptFile: if the file is damaged; so do the others.
        """
        if kind in LINES:
            return self.lines(kind).keys()
        opened, folder = self._opened(kind), f"{kind}/"
        every = opened.namelist() if opened else []
        return [name.removeprefix(folder).removesuffix(SUFFIX[kind]) for name in every if name.startswith(folder)]

    def has(self, kind: FileKind, name: str) -> bool:
        """Whether a file is packed here."""
        if kind in LINES:
            return name in self.lines(kind)
        opened = self._opened(kind)
        return opened is not None and _member(kind, name) in opened.NameToInfo

    def read(self, kind: FileKind, name: str) -> bytes | None:
        """A file's content, byte for byte as it was packed; None if it is not here."""
        if kind in LINES:
            line = self.lines(kind).get(name)
            return None if line is None else unfolded(kind, line)
        opened = self._opened(kind)
        if opened is None or _member(kind, name) not in opened.NameToInfo:
            return None
        try:
            return opened.read(_member(kind, name))
        except (OSError, BadZipFile, zlib.error, NotImplementedError) as error:
            raise _damaged(self.path(kind), error) from error

    def lines(self, kind: FileKind) -> Mapping[str, bytes]:
        """Name -> line of JSON."""
        path = self.path(kind)
        signature = _signature(path)
        if signature is None:
            return {}
        known = self._seen.get(path)
        if known is None or known[0] != signature:
            try:
                content = gzip.decompress(read_bytes(path))
                found = {line_name(line): line for line in content.splitlines()}
            except (OSError, EOFError, zlib.error, ValueError) as error:
                raise _damaged(path, error) from error
            known = self._seen[path] = signature, found
        return known[1]

    def _opened(self, kind: FileKind) -> ZipFile | None:
        path = self.path(kind)
        signature = _signature(path)
        if signature is None:
            return None
        known = self._zips.get(path)
        if known is None or known[0] != signature:
            try:
                known = self._zips[path] = signature, ZipFile(path)
            except (OSError, BadZipFile, NotImplementedError) as error:
                raise _damaged(path, error) from error
        return known[1]


def write_archive(folder: Path, content: Mapping[FileKind, Mapping[str, bytes]]) -> None:
    """Write an archive of files, kind -> name -> bytes: each file of it atomically, equal content as equal bytes.

    A file that would be empty is removed.

    Raises:
        StorageError: if the disk is full or the folder cannot be written.
    """
    for file in dict.fromkeys(ZIPS.values()):
        inside = [kind for kind in ZIPS if ZIPS[kind] == file]
        members = {_member(kind, name): data for kind in inside for name, data in content.get(kind, {}).items()}
        _write(folder / file, _zipped(members) if members else b"")
    kinds: tuple[FileKind, ...] = ("series", "cells")
    for kind in kinds:  # records last: they are what counts
        lines = b"".join(folded(kind, content[kind][name]) + b"\n" for name in sorted(content[kind]))
        _write(folder / LINES[kind], gzip.compress(lines, compresslevel=9, mtime=0) if lines else b"")


def folded(kind: FileKind, content: bytes) -> bytes:
    """A file's JSON as one line, of which :func:`unfolded` makes the same bytes again.

    Raises:
        ValueError: if that cannot be done.
    """
    line = json.dumps(json.loads(content), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    if unfolded(kind, line) != content:
        raise ValueError("it is not as the harness writes it")
    return line


def unfolded(kind: FileKind, line: bytes) -> bytes:
    """The file that a line was; records are written with indents, curves are not."""
    if kind == "series":
        return line + b"\n"
    return (json.dumps(json.loads(line), ensure_ascii=False, allow_nan=False, indent=2) + "\n").encode()


def line_name(line: bytes) -> str:
    """The cell that a line is about.

    Raises:
        ValueError: if it names none.
    """
    found = _CELL.search(line)
    if found is None:
        raise ValueError(f"a line names no cell: {line[:40]!r}")
    return found[1].decode()


def _write(path: Path, content: bytes) -> None:
    if content:
        write_bytes(path, content)
    else:
        path.unlink(missing_ok=True)


def _zipped(content: Mapping[str, bytes]) -> bytes:
    whole = BytesIO()
    with ZipFile(whole, "w", ZIP_DEFLATED, compresslevel=9) as packed:
        for name in sorted(content):
            about = ZipInfo(name)  # of 1980, with no machine's marks
            about.create_system, about.external_attr = 3, 0o644 << 16
            packed.writestr(about, content[name], ZIP_DEFLATED, 9)
    return whole.getvalue()


def _member(kind: FileKind, name: str) -> str:
    return f"{kind}/{name}{SUFFIX[kind]}"


def _signature(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_mtime_ns, found.st_size


def _damaged(path: Path, error: Exception) -> CorruptFile:
    return CorruptFile(
        f"{path} is damaged ({error}): take it from version control or another copy, or delete it and run the suite "
        "again; until then what is packed in it is left out"
    )
