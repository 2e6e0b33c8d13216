"""A section of the report that shows one run at a time, from data unpacked when it is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from harness.errors import CorruptFile
from harness.formatting import count
from harness.report.html.cells import CountedCell
from harness.report.html.packing import packed
from harness.results.result_file import ResultFile
from harness.results.store import LeftOut


@dataclass(slots=True)
class RunSection:
    """Runs to choose from, and their data.

    Attributes:
        groups: {"title", "suite", "architecture", "members"}, of these {"method", "row", "density", "seed", "cell": its
            record, "chunk"}.
        chunks: packed data; a member's is at its number.
        notes: sentences about what is not shown.
        left: files that could not be used.
        overview: small data about all runs.
    """

    groups: list[dict[str, Any]] = field(default_factory=list)
    chunks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left: list[LeftOut] = field(default_factory=list)
    overview: Any = None


def fill(
    groups: Mapping[str, Sequence[CountedCell]],
    where: Callable[[CountedCell], ResultFile],
    make: Callable[[ResultFile, CountedCell], Any],
    limit: int,
) -> RunSection:
    """Pack what ``make`` finds in each cell's file, until ``limit`` bytes are used; groups go by their titles.

    First every group's first cell, then every second, so that what a full page lacks is seeds and not runs.
    ``make`` returns None where a cell has nothing to show, and raises what :data:`DAMAGED` lists where its file
    cannot be used.
    """
    section, used, unread = RunSection(), 0, 0
    members: list[list[dict[str, Any]]] = [[] for _ in groups]
    for turn in zip_longest(*groups.values()):
        for at, cell in enumerate(turn):
            if cell is None or not (file := where(cell)).exists:
                continue
            if unread:  # full: what would not be shown is not read either
                unread += 1
                continue
            try:
                content = make(file, cell)
            except DAMAGED as error:
                left = LeftOut(file.where, reason(error, file.where))
                if left not in section.left:  # a damaged archive is said once
                    section.left.append(left)
                continue
            if content is None:
                continue
            chunk = packed(content)
            if used + len(chunk) > limit:
                unread = 1
                continue
            used += len(chunk)
            member = {"method": cell.method, "row": cell.row, "density": cell.density, "seed": cell.seed}
            members[at].append({**member, "cell": cell.number, "chunk": len(section.chunks)})
            section.chunks.append(chunk)
    for (title, group), shown in zip(groups.items(), members, strict=True):
        if shown:
            about = {"title": title, "suite": group[0].suite, "architecture": group[0].run[2]}
            section.groups.append({**about, "members": shown})
    if unread:
        section.notes.append(
            f"Not everything is shown here, to keep the page small (at most {limit / 1e6:g} MB for this section): "
            f"{count(unread, 'further file')} not read. A report of fewer suites shows more of each."
        )
    return section


DAMAGED = (CorruptFile, OSError, EOFError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError)
"""What reading a file of unknown content may raise; ValueError includes broken JSON and UTF-8."""


def reason(error: BaseException, path: Path) -> str:
    """Why a file is left out; without its folder, which says nothing on another machine."""
    if isinstance(error, CorruptFile):
        return f"is damaged: {str(error).replace(str(path), path.name)}"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return f"is not as the harness writes it ({type(error).__name__}: {error})"
