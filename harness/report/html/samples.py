"""Texts that networks wrote: sample files whose rows hold a prompt and a text."""

from __future__ import annotations

import json
import zlib
from typing import Any

from harness.report.html.cells import CountedCell
from harness.results.result_file import ResultFile

LIMIT = 4_000_000
"""Bytes of packed texts in a page."""
_LARGEST = 5_000_000
_PROMPTS = 30
_CHARACTERS = 2_000


def texts(file: ResultFile, cell: CountedCell) -> list[dict[str, str]] | None:
    """The first 30 prompts with their texts; None if the rows are of another kind.

    Each text is cut after 2,000 characters. A file of texts is small: only its first 5 MB, unpacked, are read.

    Raises:
        ValueError, EOFError: if the file is not what the harness writes.
    """
    lines = _head(file.read()).decode("utf8").splitlines()
    first = json.loads(lines[0]) if lines else None
    if not _is_text(first):
        return None
    found = []
    for line in lines[:_PROMPTS]:
        row = json.loads(line)
        if not _is_text(row):
            raise ValueError("a row lacks prompt or text")
        found.append({name: _cut(row[name]) for name in ("prompt", "text")})
    return found


def _head(packed: bytes) -> bytes:
    """The file's first bytes, unpacked: as many as are wanted, however much it would unpack to."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(packed, _LARGEST)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if unpacker.eof:
        return content
    if not unpacker.unconsumed_tail:
        raise EOFError("the file ends too early")
    return content[: content.rfind(b"\n") + 1]


def _is_text(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("prompt"), str) and isinstance(row.get("text"), str)


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else text[:_CHARACTERS] + " [cut]"
