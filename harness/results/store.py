"""Result files: one JSON per finished cell, readable without this code.

Layout of a results folder::

    LEADERBOARD.md                    every suite's headline tables
    <suite>/suite.json                the latest plan: which cells belong to the suite now
    <suite>/leaderboard.md
    <suite>/cells/<cell>.json         one record per cell, see RECORD
    <suite>/series/<cell>.json        its curves over training, see SERIES
    <suite>/masks/<stage>.safetensors what a cell's last stage kept, see mask_pictures; one file for equal networks
    <suite>/samples/<cell>.jsonl.gz   what an evaluation found on each example, or the texts it generated
    .work/                            stages, checkpoints, locks: may be deleted when nothing runs

RECORD (schema 1), all densities in [0, 1]:
    schema          1
    status          "done" | "failed" | "diverged"
    cell, suite, experiment     names; ``cell`` is the file's stem and ends in a hash of all that determines it
    architecture    {label, plugin, version, options, parameters: total number in the network}
    method          {label, plugin, version, options, final_differs: why the network that was tested hard is another
                    function than the trained one, or null}
    benchmark       {label, plugin, version, options, protocol: one line, how scores are taken, fingerprint: of the
                    data, source: where the data came from, if the benchmark says so: for files {path, files, bytes,
                    sha256}}
    trained_on      label of the benchmark whose training data was used
    training_data   {label, plugin, version, options, fingerprint, source} of that benchmark (absent in old records)
    seed            integer
    density         {requested: number or null, match: {cell, by} or null, scope: "maskable" or
                    "maskable[role,...]", mask: kept / size, true_zeros: zero entries / size recounted from
                    the weights that were scored, total: non-zero / all parameters, soft: number or null,
                    kept, size: counts, other_count: the method's reason for keeping another number than
                    requested, or null, connections: {name: {size, kept, zeros, soft}}}
    training        as resolved, see suite.Training
    evaluation      as resolved, see suite.Evaluation
    program         phases as data, in order
    stages          stage hashes, in order
    metrics         {name: {value, n, stderr or null, unit, direction: "max" | "min" | "none" (it does not judge),
                    split: "test", primary: bool}}
    validation      the same on validation data (may be empty)
    not_finite      {name: "inf" | "-inf" | "nan"} of test scores that no number here can hold
    samples         null, or {file: name in samples/, rows, sha256: of the rows, unpacked}
    published       number a paper reports for the primary metric, or null
    spent           {steps, examples, tokens, seconds, peak_memory_bytes (of the GPU in these stages, else of the
                    worker process, with torch itself and what it ran before),
                    calibration: {batches, examples} looked at without training on them, in none of the other numbers
                    (absent in old records),
                    flops: {convention, training: dense-equivalent, whole program, inference: of one example,
                    sparse_convention, training_sparse, inference_sparse: in sparse kernels, null where not known
                    (absent in old records)}}
    trained_by      [environment, ...] in which the weights came about, in order; what they started from included
    environment     in which they were tested: versions, device, threads, git revision, determinism, processes,
                    plugins: {distribution or single file: version or SHA-256}
    finished        UTC time, ISO 8601
    failure         null, or {type, message, traceback, step or null}; metrics is then empty

SERIES, rows in order of training; ``phase`` is an index into the program:
    cell            the cell's name
    loss            [[phase, step, mean training loss of the last steps, learning rate], ...]
    evaluations     [[phase, step, "validation" | "test" | "chosen", {metric: value}], ...]; "chosen" names the step
                    whose weights were kept, where the suite selects
    densities       [[phase, step, {connection: [hard density, soft density or null]}], ...], for methods whose
                    hooks run while training
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

from harness.storage.atomic_files import write_atomic, write_json, write_text

SCHEMA = 1
Record = dict[str, Any]


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

    def write(self, record: Record) -> None:
        """Write one cell's record atomically; the last writer wins, equal cells have equal records."""
        write_json(self.cell_path(record["suite"], record["cell"]), record)

    def write_series(self, suite: str, cell: str, series: Record) -> None:
        """Write one cell's curves atomically, compactly."""
        write_text(self.series_path(suite, cell), json.dumps(series, separators=(",", ":"), allow_nan=False) + "\n")

    def write_samples(self, suite: str, cell: str, samples: Sequence[Mapping[str, Any]]) -> Record | None:
        """Write what was found on each example, if anything; the record's entry about it."""
        if not samples:
            return None
        rows = (json.dumps(_finite(row), ensure_ascii=False, allow_nan=False) + "\n" for row in samples)
        text = "".join(rows).encode()
        path = self.root / suite / "samples" / f"{cell}.jsonl.gz"
        packed = gzip.compress(text, mtime=0)
        write_atomic(path, lambda temporary: temporary.write_bytes(packed))
        return {"file": path.name, "rows": len(samples), "sha256": hashlib.sha256(text).hexdigest()}

    def read(self, suite: str, cell: str) -> Record | None:
        """One cell's record, or None if there is none that can be read."""
        loaded = load_record(self.cell_path(suite, cell))
        return loaded if isinstance(loaded, dict) else None

    def write_plan(self, suite: str, plan: Record) -> None:
        """Write which cells belong to the suite now.

        {"suite", "description", "path", "options": [of ``harness run``, those that change cells], "cells": [names],
        "baselines": {experiment: method}}.
        """
        write_json(self.root / suite / "suite.json", plan)

    def plan(self, suite: str) -> Record | None:
        """The suite's latest plan, or None."""
        try:
            loaded = json.loads((self.root / suite / "suite.json").read_text(encoding="utf8"))
        except (OSError, ValueError):
            return None
        return loaded if isinstance(loaded, dict) else None

    def records(self, suite: str) -> Iterator[Record | LeftOut]:
        """Every record of a suite in order of file name; what cannot be counted comes as ``LeftOut``."""
        plan = self.plan(suite)
        current = set(plan["cells"]) if plan and isinstance(plan.get("cells"), list) else None
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


def load_record(path: Path) -> Record | LeftOut:
    """One record, or why it cannot be counted."""
    try:
        text = path.read_bytes()
        record = json.loads(text)
        if rb"\ud" in text.lower():  # half a character could be read, but not written again
            json.dumps(record, ensure_ascii=False).encode()
    except OSError as error:
        return LeftOut(path, f"cannot be read: {error.strerror}")
    except (ValueError, RecursionError):
        return LeftOut(path, "is not complete JSON: delete it and run the suite again")
    if not isinstance(record, dict) or "schema" not in record:
        return LeftOut(path, "is not a result record")
    if record["schema"] != SCHEMA:
        return LeftOut(path, f"has schema {record['schema']!r}, this version reads {SCHEMA}")
    missing = {"cell", "suite", "status", "method", "architecture", "benchmark", "metrics", "density", "seed"} - set(
        record
    )
    if missing:
        return LeftOut(path, f"lacks {', '.join(sorted(missing))}")
    if record["cell"] != path.stem:  # else one cell could be counted twice
        return LeftOut(path, f"holds another cell's record: {record['cell']!r:.100}")
    return record
