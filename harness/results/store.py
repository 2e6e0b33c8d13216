"""Result files: one JSON per finished cell, readable without this code.

Layout of a results folder::

    LEADERBOARD.md                    every suite's headline tables
    <suite>/suite.json                the latest plan: which cells belong to the suite now, see suite_plan
    <suite>/leaderboard.md
    <suite>/cells/<cell>.json         one record per cell, see cell_record and docs/records.md
    <suite>/series/<cell>.json        its curves over training, see series
    <suite>/masks/<stage>.safetensors what a cell's last stage kept, see mask_pictures; one file for equal networks
    <suite>/samples/<cell>.jsonl.gz   what an evaluation found on each example, or the texts it generated
    <suite>/examples/<cell>.safetensors.gz  what its metrics are made of, see example_file
    <suite>/archive/                  all of these of many cells in four files, see archive
    .work/                            stages, checkpoints, locks: may be deleted when nothing runs
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import CorruptFile
from harness.results.archive import SUFFIX, Archive, FileKind
from harness.results.cell_record import CellRecord
from harness.results.names import hash_of
from harness.results.parsing import parse_plan, parse_record, parse_series
from harness.results.record_parts import ExampleFile, SampleFile
from harness.results.result_file import ResultFile
from harness.results.suite_plan import SuitePlan
from harness.stages.series import Series
from harness.storage.atomic_files import write_bytes, write_json, write_text
from harness.storage.reading import read_bytes

if TYPE_CHECKING:
    from harness.core.examples import Examples

MARKS = ("suite.json", "cells", "archive")
"""What a suite's folder has, one of them at least."""
OBSOLETE = "not part of the suite"
"""How the reason for leaving out a superseded cell begins."""
_REPLAN = "run the suite again, which repeats nothing, or take that file from version control"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not counted, and why.

    Attributes:
        of: (suite, experiment, architecture, benchmark, method, density asked for) of a cell that has failed; or ().
        seed: that cell's seed.
        in_part: whether the rest of the cell is counted.
    """

    path: Path
    reason: str
    of: tuple[str, ...] = ()
    seed: int | None = None
    in_part: bool = False

    @property
    def cell(self) -> str | None:
        """The cell whose record it is; None for other files."""
        return self.path.stem if self.path.parent.name == "cells" else None

    @property
    def unscored(self) -> bool:
        """Whether it is a finished run whose primary score is no number."""
        return self.in_part and bool(self.of)


class ResultStore:
    """Reads and writes the records under one results folder; safe for many writers at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._archives: dict[str, Archive] = {}

    @property
    def work(self) -> Path:
        """Folder of stages, checkpoints and locks."""
        return self.root / ".work"

    def keep_work_out_of_git(self) -> None:
        """What ``git add`` of a results folder takes are results: ``work`` says of itself that it is none.

        Raises:
            StorageError: if it cannot be written.
        """
        if not (path := self.work / ".gitignore").is_file():
            write_text(path, "*\n")

    def archive(self, suite: str) -> Archive:
        """What is packed of a suite."""
        if suite not in self._archives:
            self._archives[suite] = Archive(self.root / suite / "archive")
        return self._archives[suite]

    def file(self, suite: str, kind: FileKind, name: str) -> ResultFile:
        """One file, loose or packed; ``name`` is a cell's, of masks the cell's last stage."""
        path = self.root.joinpath(suite, kind, f"{name}{SUFFIX[kind]}")
        return ResultFile(path, self.archive(suite), kind, name)

    def loose(self, suite: str) -> dict[str, int]:
        """Cells whose records are files of their own, sorted, and when each was changed, in nanoseconds."""
        try:
            entries = list(os.scandir(self.root / suite / "cells"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        found = {}
        for entry in entries:
            cell, dot, kind = entry.name.rpartition(".")
            if kind == "json" and dot and not cell.startswith("."):
                with suppress(FileNotFoundError):
                    found[cell] = entry.stat().st_mtime_ns
        return dict(sorted(found.items()))

    def packed(self, suite: str) -> frozenset[str]:
        """Cells whose records are in the archive: finished ones.

        Raises:
            CorruptFile: if it is damaged.
        """
        return frozenset(self.archive(suite).names("cells"))

    def has_any(self, suite: str, kind: FileKind) -> bool:
        """Whether there are files of a kind, loose or packed."""
        if any((self.root / suite / kind).glob(f"*{SUFFIX[kind]}")):
            return True
        with suppress(CorruptFile):
            return bool(list(self.archive(suite).names(kind)))
        return False

    def names(self, suite: str) -> list[str]:
        """Cells that have a record, sorted; without those in an archive that is damaged."""
        packed: frozenset[str] = frozenset()
        with suppress(CorruptFile):
            packed = self.packed(suite)
        return sorted(packed | self.loose(suite).keys())

    def suites(self) -> list[str]:
        """Names of the suites that have results, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(p.name for p in self.root.iterdir() if any((p / mark).exists() for mark in MARKS))

    def write(self, record: CellRecord) -> None:
        """Write one cell's record atomically; the last writer wins, equal cells have equal records."""
        write_json(self.file(record.suite, "cells", record.cell).path, record.content())

    def write_series(self, suite: str, cell: str, series: Series) -> None:
        """Write one cell's curves atomically, compactly."""
        content = series.model_dump(mode="json")
        path = self.file(suite, "series", cell).path
        write_text(path, json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n")

    def series(self, suite: str, cell: str) -> Series | None:
        """One cell's curves, or None if there are none.

        Raises:
            CorruptFile: if the file is not as the harness writes it.
        """
        file = self.file(suite, "series", cell)
        try:
            content = file.read()
        except OSError:
            return None
        try:
            return parse_series(content)
        except CorruptFile as error:
            raise CorruptFile(f"{file.where}: {error}") from None

    def write_masks(self, suite: str, stage: str, content: bytes) -> str | None:
        """Write the masks of a stage's network; the file's name where it is not the stage's, which others go by.

        A stage whose weights are gone is trained again for a cell that is new; elsewhere its bits are others.
        """
        file, name = self.file(suite, "masks", stage), None
        before = None
        with suppress(FileNotFoundError, CorruptFile):
            before = file.read()
        if before not in (None, content):
            name = f"{stage}-{hashlib.sha256(content).hexdigest()[:10]}"
            file = self.file(suite, "masks", name)
        write_bytes(file.path, content)
        return name

    def write_samples(self, suite: str, cell: str, samples: Sequence[Mapping[str, Any]]) -> SampleFile | None:
        """Write what was found on each example, if anything; the record's entry about it."""
        if not samples:
            return None
        rows = (json.dumps(_finite(row), ensure_ascii=False, allow_nan=False) + "\n" for row in samples)
        text = "".join(rows).encode()
        path = self.file(suite, "samples", cell).path
        packed = gzip.compress(text, mtime=0)
        write_bytes(path, packed)
        return SampleFile(file=path.name, rows=len(samples), sha256=hashlib.sha256(text).hexdigest())

    def write_examples(self, suite: str, cell: str, examples: Mapping[str, Examples]) -> ExampleFile | None:
        """Write what the metrics are made of, the primary one first, if anything; the record's entry about it."""
        from harness.results import example_file  # late: reading records takes no numpy

        kept = {metric: found for metric, found in examples.items() if example_file.keepable(found)}
        if not kept:
            return None
        content, first = example_file.packed(kept), next(iter(kept.values()))
        path = self.file(suite, "examples", cell).path
        write_bytes(path, example_file.compressed(content))
        digest = hashlib.sha256(content).hexdigest()
        return ExampleFile(file=path.name, rows=len(first), unit_of_examples=first.unit, sha256=digest)

    def examples(self, suite: str, cell: str, named: ExampleFile | None) -> Mapping[str, Examples] | LeftOut:
        """Metric of the test split -> what it is made of, from the file that a record has ``named``, or why not.

        Whoever gets the latter still has the record: only intervals over test examples cannot be had.
        """
        if named is None:
            return {}
        from harness.results import example_file  # late: reading records takes no numpy

        content = self._example_bytes(suite, cell, named)
        if isinstance(content, LeftOut):
            return content
        try:
            return example_file.read(content)
        except CorruptFile as error:
            return _without_examples(self.file(suite, "examples", cell).where, str(error))

    def lost_examples(self, suite: str, cell: str, named: ExampleFile | None) -> LeftOut | None:
        """Why :meth:`examples` has none of a file that a record has ``named``, by its checksum; None if it has."""
        content = None if named is None else self._example_bytes(suite, cell, named)
        return content if isinstance(content, LeftOut) else None

    def _example_bytes(self, suite: str, cell: str, named: ExampleFile) -> bytes | LeftOut:
        from harness.results import example_file  # late: reading records takes no numpy

        file = self.file(suite, "examples", cell)
        try:
            content = example_file.unpacked(file.read())
            if hashlib.sha256(content).hexdigest() != named.sha256:
                raise CorruptFile("its content is not the one of the record")
            return content
        except OSError as error:
            return _without_examples(file.path, error.strerror or str(error))
        except CorruptFile as error:
            return _without_examples(file.where, str(error))

    def renamed(self, suite: str, cell: str) -> str:
        """The name that a cell has now: another one with its hash where a label was changed, else its own."""
        if self.file(suite, "cells", cell).exists:
            return cell
        return next((name for name in self.names(suite) if hash_of(name) == hash_of(cell)), cell)

    def read(self, suite: str, cell: str) -> CellRecord | None:
        """One cell's record, or None if there is none that can be read."""
        loaded = self.record(suite, cell)
        return loaded if isinstance(loaded, CellRecord) else None

    def record(self, suite: str, cell: str, content: bytes | None = None) -> CellRecord | LeftOut:
        """One cell's record, or why it cannot be counted; ``content`` if it has been read already."""
        file = self.file(suite, "cells", cell)
        try:
            return parse_record(file.read() if content is None else content, cell)
        except OSError as error:
            return LeftOut(file.path, f"cannot be read: {error.strerror}")
        except CorruptFile as error:
            return LeftOut(file.where, str(error))

    def write_plan(self, suite: str, plan: SuitePlan) -> None:
        """Write which cells belong to the suite now."""
        write_json(self.root / suite / "suite.json", plan.model_dump(mode="json"))

    def plan(self, suite: str) -> SuitePlan | None:
        """The suite's latest plan, or None if there is none that can be read."""
        found = self.plan_or_why(suite)
        return found if isinstance(found, SuitePlan) else None

    def plan_or_why(self, suite: str) -> SuitePlan | LeftOut:
        """The suite's latest plan, or why it is not known which cells belong to the suite."""
        path = self.root / suite / "suite.json"
        try:
            return parse_plan(read_bytes(path))
        except FileNotFoundError:
            why = "is missing"
        except OSError as error:
            why = f"cannot be read: {error.strerror}"
        except CorruptFile as error:
            why = str(error)
        return LeftOut(path, f"{why}: {_REPLAN}")

    def records(self, suite: str) -> Iterator[CellRecord | LeftOut]:
        """Every record of a suite in order of file name; what cannot be counted comes as ``LeftOut``.

        A plan that cannot be read is the only one: nobody knows which records are superseded or trials, what is the
        baseline, and what is asked. Without a plan every record comes.
        """
        plan = self.plan_or_why(suite)
        current = set(plan.cells) if isinstance(plan, SuitePlan) else None
        if isinstance(plan, LeftOut) and plan.path.exists():
            yield replace(plan, reason=f"{plan.reason}; until then no result of the suite is counted")
            return
        loose, packed = self.loose(suite), dict[str, bytes]()
        try:
            packed = dict(self.archive(suite).lines("cells"))
        except CorruptFile as error:
            path = self.archive(suite).path("cells")
            yield LeftOut(path, str(error).removeprefix(f"{path} "))
        for cell in sorted(loose.keys() | packed.keys()):
            if current is not None and cell not in current:
                path = self.file(suite, "cells", cell).path
                yield LeftOut(path, f"{OBSOLETE} as last planned (its configuration has changed)")
            else:
                yield self.record(suite, cell, packed.get(cell) if cell not in loose else None)


def _without_examples(path: Path, why: str) -> LeftOut:
    why = why.removeprefix(f"{path} ").partition(": take it")[0]  # an archive says for itself what to do
    return LeftOut(
        path,
        f"results by example cannot be read, so that intervals are over seeds alone ({why}): take the file from "
        "version control or another copy, or make the result again",
        in_part=True,
    )


def _finite(value: Any) -> Any:
    """The same with ``"inf"``, ``"-inf"`` and ``"nan"`` in place of numbers that JSON cannot hold, and whole text."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf8", "replace").decode()  # half characters
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
