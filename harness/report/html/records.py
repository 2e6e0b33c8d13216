"""The records themselves, as they are on disk, for the page to show on demand."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.report.html.packing import packed
from harness.results.store import Record

_TOGETHER = 64  # records in a chunk: they are alike, so that together they take a tenth of the room
_LARGEST = 2_000_000


@dataclass(slots=True)
class Records:
    """Texts of records, packed.

    Attributes:
        names: [suite, file name without ending] of each record.
        chunks: packed lists of 64 texts each; the record n is number n % 64 of chunk n // 64.
        numbers: (suite, cell) -> number of its record; files go by their own name too.
        parts: (suite, cell) -> what other sections of the page need of the record.
        newest: when the last of them was finished, UTC, or "".
    """

    names: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[str] = field(default_factory=list)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    parts: dict[tuple[str, str], Record] = field(default_factory=dict)
    newest: str = ""


def read_records(paths: Iterable[Path], counted: Collection[tuple[str, str]]) -> Records:
    """Read the record files of a page: those of counted cells, and any other JSON object among them.

    What is no JSON object, or larger than 2 MB, is not shown: it may be any file.
    """
    records, texts = Records(), []
    for path in paths:
        suite = path.parent.parent.name
        try:
            text = path.read_bytes().decode("utf8") if path.stat().st_size <= _LARGEST else ""
            record = json.loads(text)
        except (OSError, ValueError, RecursionError):
            continue
        if not isinstance(record, dict):
            continue
        number = len(records.names)
        records.names.append((suite, path.stem))
        records.numbers.setdefault((suite, path.stem), number)
        named = (suite, str(record.get("cell")))
        if named in counted:
            records.numbers[named] = number
            records.parts[named] = {name: record.get(name) for name in ("stages", "program", "density")}
            records.newest = max(records.newest, _date(record.get("finished")))
        texts.append(text)
        if len(texts) == _TOGETHER:
            records.chunks.append(packed(texts))
            texts = []
    if texts:
        records.chunks.append(packed(texts))
    return records


def _date(finished: Any) -> str:
    """The day of a time as records hold it, ``2026-01-31``; "" for anything else."""
    day = str(finished)[:10]
    return day if len(day) == 10 and day.replace("-", "").isdecimal() and day.isascii() else ""
