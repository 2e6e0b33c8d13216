"""Whether the files of a suite agree with each other: nothing is damaged, and what records say of files is so."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isclose

from harness.errors import CorruptFile
from harness.results import mask_pictures
from harness.results.archive import SUFFIX
from harness.results.cell_record import CellRecord
from harness.results.record_parts import ConnectionCounts
from harness.results.store import OBSOLETE, LeftOut, ResultStore


@dataclass(slots=True)
class Integrity:
    """What was looked at.

    Attributes:
        records, curves, masks, samples, examples: files that were read, loose and packed.
        missing: planned cells that have no record.
        absent: records whose samples are not here; nothing is wrong with them.
        problems: what is damaged or does not agree, a sentence each.
    """

    records: int = 0
    curves: int = 0
    masks: int = 0
    samples: int = 0
    examples: int = 0
    missing: int = 0
    absent: int = 0
    problems: list[str] = field(default_factory=list)


def integrity(store: ResultStore, suite: str) -> Integrity:
    """Read every file of a suite: checksums of the archive, records, and the files that records are about."""
    found = Integrity()
    found.problems += _damaged(store, suite)
    seen: set[str] = set()
    for record in store.records(suite):
        if isinstance(record, CellRecord):
            found.records += 1
            seen.add(record.cell)
            for problem in (
                _curves(store, record, found),
                _samples(store, record, found),
                _masks(store, record, found),
                _examples(store, record, found),
            ):
                if problem:
                    found.problems.append(f"{record.cell}: {problem}")
        elif not record.reason.startswith(OBSOLETE):
            found.problems.append(f"{record.path} {record.reason}")
    plan = store.plan_or_why(suite)
    if not isinstance(plan, LeftOut):
        found.missing = len(set(plan.cells) - seen)
    elif not plan.path.exists():  # else it is among the records
        found.problems.append(f"{plan.path} {plan.reason}")
    return found


def _damaged(store: ResultStore, suite: str) -> Iterator[str]:
    """Files of the archive that are not what was packed, by the checksums of gzip and zip."""
    archive = store.archive(suite)
    told: set[str] = set()
    for kind in SUFFIX:
        try:
            for name in archive.names(kind):
                archive.read(kind, name)
        except CorruptFile as error:
            if str(error) not in told and kind != "cells":  # the records' own file is named with them
                yield str(error)
            told.add(str(error))


def _curves(store: ResultStore, record: CellRecord, found: Integrity) -> str | None:
    try:
        found.curves += store.series(record.suite, record.cell) is not None
    except CorruptFile as error:
        return f"its curves: {error}"
    return None


def _samples(store: ResultStore, record: CellRecord, found: Integrity) -> str | None:
    """What does not agree with what the record says of its samples."""
    if record.samples is None:
        return None
    file = store.file(record.suite, "samples", record.cell)
    try:
        rows = gzip.decompress(file.read())
    except FileNotFoundError:
        found.absent += 1
        return None
    except (OSError, EOFError, zlib.error, CorruptFile) as error:
        return f"its samples cannot be read ({error})"
    found.samples += 1
    if hashlib.sha256(rows).hexdigest() != record.samples.sha256:
        return f"samples in {file.where} have another SHA-256 than its record says"
    if (count := rows.count(b"\n")) != record.samples.rows:
        return f"{count} samples in {file.where}, and its record says {record.samples.rows}"
    return None


def _examples(store: ResultStore, record: CellRecord, found: Integrity) -> str | None:
    """What does not agree with the scores; numbers are rounded, see :mod:`harness.results.example_file`."""
    examples = store.examples(record.suite, record.cell, record.examples)
    if isinstance(examples, LeftOut):
        return f"{examples.reason} ({examples.path})"
    found.examples += bool(examples)
    for metric, made in examples.items():
        value = record.metrics[metric].value if metric in record.metrics else None
        weight = len(made) if made.sizes is None else made.sizes.sum()
        if value is None or not isclose(
            made.value, value, rel_tol=2e-3, abs_tol=1e-3 * abs(made.values).sum() / weight
        ):
            return f"its {metric} is {value}, and {made.value:.6g} by its examples"
    return None


def _masks(store: ResultStore, record: CellRecord, found: Integrity) -> str | None:
    """What does not agree with the counts of the record; nothing where no masks are kept."""
    if record.network is None:
        return None
    file = store.file(record.suite, "masks", record.network)
    try:
        content = file.read()
        masks = mask_pictures.read(content)
        mask_pictures.read_history(content)
    except FileNotFoundError:
        return None
    except (OSError, CorruptFile) as error:
        return f"its masks cannot be read ({error})"
    found.masks += 1
    density = record.density
    counts = dict(density.connections) | dict(density.attention.connections if density.attention else {})
    if counts.keys() != masks.keys():
        return f"masks in {file.where} are of other connections than its record has"
    for name, mask in masks.items():
        if problem := _count(mask, counts[name]):
            return f"{name} {problem} in {file.where}"
    return None


def _count(mask: mask_pictures.MaskPicture, counts: ConnectionCounts) -> str | None:
    if (mask.kept, mask.size) != (counts.kept, counts.size):
        return f"keeps {counts.kept:,} of {counts.size:,} weights in its record, and {mask.kept:,} of {mask.size:,}"
    if mask.bits.size == mask.size and int(mask.bits.sum()) != mask.kept:
        return f"is said to keep {mask.kept:,} weights, and {int(mask.bits.sum()):,} bits are set"
    return None
