"""The records themselves, readable and as they are on disk, for the page to show on demand."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from harness.errors import CorruptFile
from harness.report.html.packing import packed
from harness.report.record_view import record_view
from harness.results.cell_record import CellRecord
from harness.results.parsing import parse_record
from harness.results.result_file import ResultFile

_TOGETHER = 64  # records in a chunk: they are alike, so that together they take a tenth of the room
_LARGEST = 2_000_000


@dataclass(slots=True)
class Records:
    """Texts of records and their readable views, packed.

    Attributes:
        names: [suite, file name without ending, the file or archive that holds it, within the folder of results].
        chunks: packed lists of 64 pairs: the text, and as :func:`harness.report.record_view.record_view` has it
            [[title, facts, columns, rows]], or null where it is no record; record n is number n % 64 of chunk n // 64.
        numbers: (suite, file name without ending) -> number of the record.
        counted: (suite, cell) -> record of the cells that are counted, for other sections of the page.
        newest: when the last of them was finished, UTC, or "".
    """

    names: list[tuple[str, str, str]] = field(default_factory=list)
    chunks: list[str] = field(default_factory=list)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    counted: dict[tuple[str, str], CellRecord] = field(default_factory=dict)
    newest: str = ""


def read_records(files: Iterable[ResultFile], counted: Collection[tuple[str, str]]) -> Records:
    """Read the record files of a page: those of counted cells, and any other JSON object among them.

    What is no JSON object, or larger than 2 MB, is not shown: it may be any file.
    """
    records = Records()
    pairs: list[tuple[str, list[Any] | None]] = []
    for file in files:
        suite = file.path.parent.parent.name
        try:
            content = file.read()
            if len(content) > _LARGEST or not isinstance(from_json(content), dict):
                continue
        except (OSError, ValueError, CorruptFile):
            continue
        key = (suite, file.name)
        records.numbers[key] = len(records.names)
        records.names.append((*key, inside(file.where, suite)))
        view = None
        with suppress(CorruptFile):  # a counted one may have been written again since
            record = parse_record(content, file.name)
            view = [[part.title, part.facts, part.columns, part.rows] for part in record_view(record)]
            if key in counted:
                records.counted[key] = record
                records.newest = max(records.newest, _date(record.finished))
        pairs.append((content.decode("utf8"), view))
        if len(pairs) == _TOGETHER:
            records.chunks.append(packed(pairs))
            pairs = []
    if pairs:
        records.chunks.append(packed(pairs))
    return records


def inside(path: Path, suite: str) -> str:
    """A suite's file within the folder of results, wherever that is: ``quickstart/archive/records.jsonl.gz``."""
    return "/".join([suite, path.parent.name, path.name])


def _date(finished: str | None) -> str:
    """The day of a time as records hold it, ``2026-01-31``; "" for anything else."""
    day = (finished or "")[:10]
    return day if len(day) == 10 and day.replace("-", "").isdecimal() and day.isascii() else ""
