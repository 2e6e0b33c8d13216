"""The records themselves, as they are on disk, for the page to show on demand."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from pydantic_core import from_json

from harness.errors import CorruptFile
from harness.report.html.packing import packed
from harness.results.cell_record import CellRecord
from harness.results.parsing import parse_record
from harness.results.result_file import ResultFile

_TOGETHER = 64  # records in a chunk: they are alike, so that together they take a tenth of the room
_LARGEST = 2_000_000


@dataclass(slots=True)
class Records:
    """Texts of records, packed.

    Attributes:
        names: [suite, file name without ending] of each record.
        chunks: packed lists of 64 texts each; the record n is number n % 64 of chunk n // 64.
        numbers: (suite, file name without ending) -> number of the record.
        counted: (suite, cell) -> record of the cells that are counted, for other sections of the page.
        newest: when the last of them was finished, UTC, or "".
    """

    names: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[str] = field(default_factory=list)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    counted: dict[tuple[str, str], CellRecord] = field(default_factory=dict)
    newest: str = ""


def read_records(files: Iterable[ResultFile], counted: Collection[tuple[str, str]]) -> Records:
    """Read the record files of a page: those of counted cells, and any other JSON object among them.

    What is no JSON object, or larger than 2 MB, is not shown: it may be any file.
    """
    records, texts = Records(), []
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
        records.names.append(key)
        if key in counted:
            with suppress(CorruptFile):  # it may have been written again since it was counted
                record = records.counted[key] = parse_record(content, file.name)
                records.newest = max(records.newest, _date(record.finished))
        texts.append(content.decode("utf8"))
        if len(texts) == _TOGETHER:
            records.chunks.append(packed(texts))
            texts = []
    if texts:
        records.chunks.append(packed(texts))
    return records


def _date(finished: str | None) -> str:
    """The day of a time as records hold it, ``2026-01-31``; "" for anything else."""
    day = (finished or "")[:10]
    return day if len(day) == 10 and day.replace("-", "").isdecimal() and day.isascii() else ""
