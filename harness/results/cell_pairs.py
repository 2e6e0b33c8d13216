"""The cells of two results folders beside each other: what is equal, what has changed, what only one of them has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.results.agreement import Agreement, agreements, environments, failing
from harness.results.cell_record import CellRecord
from harness.results.names import hash_of, without_seed

_DIGITS = 10
"""Of a digest, as in the names of cells."""


class Fate(StrEnum):
    """What two folders A and B say of one cell; the value is the word for programs."""

    EQUAL = "equal"
    CLOSE = "close"
    CHANGED = "changed"
    RECONFIGURED = "reconfigured"
    ONLY_A = "only_in_a"
    ONLY_B = "only_in_b"
    FINISHED = "finished_in_b"
    FAILED = "failed_in_b"
    NO_RESULT = "no_result"


@dataclass(frozen=True, slots=True)
class CellPair:
    """One cell in A and in B; at least one of the two has a record.

    Attributes:
        fate: *equal* to the bit as far as both know it; *close*, as near as a repetition elsewhere has to come, by the
            rules of ``harness reproduce``; *changed* where it would not pass for one; *reconfigured* where labels and
            seed are the same and what determines the cell is not.
        changed: what changed, of a changed cell.
        keys: what determines a reconfigured cell and differs, as texts (in A, in B).
    """

    suite: str
    a: CellRecord | None
    b: CellRecord | None
    fate: Fate
    changed: tuple[Agreement, ...] = ()
    keys: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def record(self) -> CellRecord:
        """B's, else A's."""
        found = self.b or self.a
        assert found is not None
        return found

    @property
    def retimed(self) -> bool:
        """Whether a clock was read in both, and gave another number."""
        was, now = ({} if one is None else one.metrics for one in (self.a, self.b))
        return any(name in was and score.timed and score.value != was[name].value for name, score in now.items())


def cell_pairs(suite: str, first: Iterable[CellRecord], second: Iterable[CellRecord]) -> Iterator[CellPair]:
    """Every cell of one suite's records in A and in B, in order of B's names, then of A's that B lacks.

    Cells are the same by their names, which end in a hash of all that determines them; else by labels and seed.
    """
    a = {record.cell: record for record in first}
    b = {record.cell: record for record in second}
    lone: dict[tuple[Any, ...], list[CellRecord]] = defaultdict(list)
    for cell in sorted(a.keys() - b.keys(), reverse=True):
        lone[labels(a[cell])].append(a[cell])
    for cell, record in sorted(b.items()):
        alike = lone[labels(record)] if cell not in a else []
        yield _pair(suite, a.get(cell) or (alike.pop() if alike else None), record)
    rest = {record.cell: record for records in lone.values() for record in records}
    for _, record in sorted(rest.items()):
        yield _pair(suite, record, None)


def labels(record: CellRecord) -> tuple[Any, ...]:
    """What a suite's author calls a cell; of a matched one not the density, which follows from the match."""
    match = record.density.match
    parts = (part.label for part in (record.architecture, record.benchmark, record.method))
    density = record.density.requested if match is None else (match.cell.rpartition(".")[0], match.by)
    return record.experiment, *parts, record.trained_on or record.benchmark.label, density, record.seed


def configuration(record: CellRecord) -> dict[str, Any]:
    """What determines a cell, as far as its record knows it: dotted key -> value."""
    parts = ["architecture", "method", "benchmark"]
    if record.training_data is not None and record.training_data.label != record.benchmark.label:
        parts.append("training_data")
    found: dict[str, Any] = {}
    for part in parts:
        told = getattr(record, part).model_dump(mode="json")
        names = ("plugin", "version", "content", "weights", "inverted", "fingerprint", "protocol", "options")
        found |= {f"{part}.{name}": told[name] for name in names if told.get(name) is not None}
    found |= {"training": record.training or {}, "evaluation": record.evaluation or {}}
    density = record.density.model_dump(mode="json", include={"requested", "match", "source", "scope"})
    if density["match"]:
        del density["requested"]
        density["match"]["cell"] = without_seed(density["match"]["cell"])
    return dict(_flat("", found | {"density": density}))


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, inner)
    else:
        yield prefix, value


def _pair(suite: str, a: CellRecord | None, b: CellRecord | None) -> CellPair:
    done_a, done_b = (one is not None and one.status == "done" for one in (a, b))
    keys = _other_keys(a, b) if a and b and a.cell != b.cell else {}
    if not (done_a or done_b):
        return CellPair(suite, a, b, Fate.NO_RESULT, keys=keys)
    if a is None or b is None:
        return CellPair(suite, a, b, Fate.ONLY_B if a is None else Fate.ONLY_A)
    if not (done_a and done_b):
        return CellPair(suite, a, b, Fate.FINISHED if done_b else Fate.FAILED, keys=keys)
    if a.cell != b.cell:
        return CellPair(suite, a, b, Fate.RECONFIGURED, keys=keys)
    found = list(agreements(a, b))
    if wrong := failing(found, a, b, environments(a, b)):
        return CellPair(suite, a, b, Fate.CHANGED, tuple(wrong))
    bits = all(one.equal or None in (one.was, one.now) for one in found if one.weight == "result")
    return CellPair(suite, a, b, Fate.EQUAL if bits else Fate.CLOSE)


def _other_keys(a: CellRecord, b: CellRecord) -> dict[str, tuple[str, str]]:
    """Where two cells' configurations differ; the hashes where records do not say."""
    was, now = configuration(a), configuration(b)
    names = [*was, *(name for name in now if name not in was)]
    found = {name: (_told(was, name), _told(now, name)) for name in names if was.get(name) != now.get(name)}
    if not found and a.density.match and b.density.match and a.density.match.cell != b.density.match.cell:
        return {"density.match": ("A's run", "B's run")}
    return found or dict(_other_code(a, b)) or {"hash": (hash_of(a.cell), hash_of(b.cell))}


def _other_code(a: CellRecord, b: CellRecord) -> Iterator[tuple[str, tuple[str, str]]]:
    """Plugins of single files whose code is another: it is in a cell's hash, and in no option."""
    was, now = ((one.environment.plugins if one.environment else None) or {} for one in (a, b))
    for name in sorted(was.keys() & now.keys()):
        old, new = was[name], now[name]
        if old and new and old != new:
            yield f"code of plugin '{name}'", (old[:_DIGITS], new[:_DIGITS])


def _told(values: Mapping[str, Any], name: str) -> str:
    return str(values[name]) if name in values else "not there"
