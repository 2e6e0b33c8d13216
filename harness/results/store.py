"""Result files: one JSON per finished cell, readable without this code.

Layout of a results folder::

    LEADERBOARD.md                    every suite's headline tables
    <suite>/suite.json                the latest plan: which cells belong to the suite now, see suite_plan
    <suite>/leaderboard.md
    <suite>/cells/<cell>.json         one record per cell, see cell_record and docs/records.md
    <suite>/series/<cell>.json        its curves over training, see series
    <suite>/masks/<stage>.safetensors what a cell's last stage kept, see mask_pictures; one file for equal networks
    <suite>/samples/<cell>.jsonl.gz   what an evaluation found on each example, or the texts it generated
    .work/                            stages, checkpoints, locks: may be deleted when nothing runs
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import CorruptFile
from harness.results.cell_record import CellRecord
from harness.results.parsing import parse_plan, parse_record, parse_series
from harness.results.record_parts import SampleFile
from harness.results.series import Series
from harness.results.suite_plan import SuitePlan
from harness.storage.atomic_files import write_atomic, write_json, write_text


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not counted, and why.

    Attributes:
        of: (suite, experiment, architecture, benchmark, method, density asked for) of a cell that has failed; or ().
        seed: that cell's seed.
    """

    path: Path
    reason: str
    of: tuple[str, ...] = ()
    seed: int | None = None


class ResultStore:
    """Reads and writes the records under one results folder; safe for many writers at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def work(self) -> Path:
        """Folder of stages, checkpoints and locks."""
        return self.root / ".work"

    def cell_path(self, suite: str, cell: str) -> Path:
        """Where a cell's record is."""
        return self.root / suite / "cells" / f"{cell}.json"

    def series_path(self, suite: str, cell: str) -> Path:
        """Where a cell's curves are."""
        return self.root / suite / "series" / f"{cell}.json"

    def masks_path(self, suite: str, stage: str) -> Path:
        """Where the masks of a cell are whose last stage this is; there are none if nothing is masked."""
        return self.root / suite / "masks" / f"{stage}.safetensors"

    def suites(self) -> list[str]:
        """Names of the suites that have results, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(p.name for p in self.root.iterdir() if (p / "suite.json").is_file() or (p / "cells").is_dir())

    def write(self, record: CellRecord) -> None:
        """Write one cell's record atomically; the last writer wins, equal cells have equal records."""
        write_json(self.cell_path(record.suite, record.cell), record.content())

    def write_series(self, suite: str, cell: str, series: Series) -> None:
        """Write one cell's curves atomically, compactly."""
        content = series.model_dump(mode="json")
        write_text(self.series_path(suite, cell), json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n")

    def series(self, suite: str, cell: str) -> Series | None:
        """One cell's curves, or None if there are none.

        Raises:
            CorruptFile: if the file is not as the harness writes it.
        """
        path = self.series_path(suite, cell)
        try:
            return parse_series(path.read_bytes())
        except OSError:
            return None
        except CorruptFile as error:
            raise CorruptFile(f"{path}: {error}") from None

    def write_samples(self, suite: str, cell: str, samples: Sequence[Mapping[str, Any]]) -> SampleFile | None:
        """Write what was found on each example, if anything; the record's entry about it."""
        if not samples:
            return None
        rows = (json.dumps(_finite(row), ensure_ascii=False, allow_nan=False) + "\n" for row in samples)
        text = "".join(rows).encode()
        path = self.root / suite / "samples" / f"{cell}.jsonl.gz"
        packed = gzip.compress(text, mtime=0)
        write_atomic(path, lambda temporary: temporary.write_bytes(packed))
        return SampleFile(file=path.name, rows=len(samples), sha256=hashlib.sha256(text).hexdigest())

    def read(self, suite: str, cell: str) -> CellRecord | None:
        """One cell's record, or None if there is none that can be read."""
        loaded = load_record(self.cell_path(suite, cell))
        return loaded if isinstance(loaded, CellRecord) else None

    def write_plan(self, suite: str, plan: SuitePlan) -> None:
        """Write which cells belong to the suite now."""
        write_json(self.root / suite / "suite.json", plan.model_dump(mode="json"))

    def plan(self, suite: str) -> SuitePlan | None:
        """The suite's latest plan, or None if there is none that can be read."""
        try:
            return parse_plan((self.root / suite / "suite.json").read_bytes())
        except (OSError, CorruptFile):
            return None

    def records(self, suite: str) -> Iterator[CellRecord | LeftOut]:
        """Every record of a suite in order of file name; what cannot be counted comes as ``LeftOut``."""
        plan = self.plan(suite)
        current = None if plan is None else set(plan.cells)
        for path in sorted((self.root / suite / "cells").glob("*.json")):
            if current is not None and path.stem not in current:
                yield LeftOut(path, "not part of the suite as last planned (its configuration has changed)")
            else:
                yield load_record(path)


def _finite(value: Any) -> Any:
    """The same with ``"inf"``, ``"-inf"`` and ``"nan"`` in place of numbers that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def load_record(path: Path) -> CellRecord | LeftOut:
    """One record, or why it cannot be counted."""
    try:
        return parse_record(path.read_bytes(), path.stem)
    except OSError as error:
        return LeftOut(path, f"cannot be read: {error.strerror}")
    except CorruptFile as error:
        return LeftOut(path, str(error))
