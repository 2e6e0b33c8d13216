"""Reading files that anybody may have put there: regular ones only, of bounded size, and JSON of bounded depth."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from harness.errors import CorruptFile
from harness.formatting import printable

_SPECIAL = re.compile(rb"\\[bfru]|\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]")
"""Without any of these JSON has nothing that :func:`harness.formatting.printable` spells out."""
LARGEST = 2**31
"""Bytes of a file that is read as a whole, where nothing smaller is said."""


def read_bytes(path: Path, limit: int = LARGEST) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: if there is none; for a pipe or a device, which might never answer or never end; if it is larger.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        found = os.fstat(handle)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, no file", str(path))
        if found.st_size > limit:
            raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes, and at most {limit:,} are read", str(path))
        parts = [os.read(handle, found.st_size)]  # the whole of all but huge files; a file object costs as much again
        while len(parts[-1]) > 0 and sum(map(len, parts)) < found.st_size:
            parts.append(os.read(handle, found.st_size))
        return b"".join(parts)
    finally:
        os.close(handle)


def parse_json(content: bytes | str) -> Any:
    """What JSON says; control characters in its text are spelled out, so that no terminal obeys them.

    Raises:
        CorruptFile: if it is none, nests too deeply, or has half a character or a number of thousands of digits;
            the text goes on from a file's name.
    """
    try:
        found = from_json(content)
    except (ValueError, UnicodeError) as error:
        raise CorruptFile(f"is no JSON that can be read ({str(error)[:100]})") from None
    raw = content.encode() if isinstance(content, str) else content
    plain = raw.isascii() and b"\\" not in raw and b"\x7f" not in raw  # as most files are, and much faster to see
    return found if plain or not _SPECIAL.search(raw) else _printable(found)


def read_json(path: Path, limit: int = LARGEST) -> Any:
    """What a file of JSON says.

    Raises:
        OSError: as :func:`read_bytes`.
        CorruptFile: as :func:`parse_json`.
    """
    return parse_json(read_bytes(path, limit))


def read_object(path: Path, limit: int = LARGEST) -> dict[str, Any] | None:
    """The JSON object in a file that may be absent or anything: None where there is none."""
    try:
        found = read_json(path, limit)
    except (OSError, CorruptFile):
        return None
    return found if isinstance(found, dict) else None


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return printable(value) if isinstance(value, str) else value
