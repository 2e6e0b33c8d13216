"""What the result files say about a claim: one number a seed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.claims.schema import Cells, Claim, Count
from harness.errors import UserError, unknown_name
from harness.results.store import LeftOut, Record, ResultStore, load_record

if TYPE_CHECKING:
    from harness.registry.plugins import Registry

STEP_TOLERANCE = 0.05  # relative; how near a row of the curves must be to the step asked for
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found for a claim.

    Attributes:
        values: seed -> number; for an order the difference, positive where the first cells are better. For a
            count made by building the network there is one, of seed -1.
        cells: (suite, seed, cell) of the numbers' records; of an order, of both sides.
        missing: what keeps the selection from being complete: ``seed 3 diverged``.
        unit: of the metric; empty for other numbers.
        differs: in what this is not the paper's protocol.
    """

    values: Mapping[int, float]
    cells: tuple[tuple[str, int, str], ...] = ()
    missing: tuple[str, ...] = ()
    unit: str = ""
    differs: tuple[str, ...] = ()


@dataclass(slots=True)
class _Side:
    values: dict[int, float] = field(default_factory=dict)
    cells: dict[int, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unit: str = ""
    direction: str = "none"


class Measuring:
    """Looks up claims in a results folder, each suite's files read once; builds networks where counts ask for it.

    Numbers that cannot be read (a half-written file, a missing field, NaN) count as missing seeds.
    """

    def __init__(self, store: ResultStore) -> None:
        self._store = store
        self._suites: dict[str, list[Record]] = {}
        self._unread: dict[str, dict[str, str]] = {}

    @cached_property
    def _registry(self) -> Registry:
        from harness.registry.plugins import load

        return load()

    def find(self, claim: Claim) -> Measured | None:
        """The first of a claim's measurements that there is; None if there is none.

        Raises:
            UserError: for a metric or a connection that the records do not have; for a count that cannot be built.
        """
        for measurement in claim.measure:
            found = self._count(measurement) if isinstance(measurement, Count) else self._cells(measurement)
            if found is not None:
                return found
        return None

    def _count(self, count: Count) -> Measured:
        from harness.claims.counting import counted

        return Measured({-1: float(counted(count, self._registry))}, differs=tuple(count.differs))

    def _cells(self, cells: Cells) -> Measured | None:
        first = self._side(cells)
        if cells.against is None:
            named = tuple((cells.suite, seed, cell) for seed, cell in sorted(first.cells.items()))
            if not first.values:
                return None
            return Measured(first.values, named, tuple(first.missing), first.unit, tuple(cells.differs))
        other = self._side(cells.other())
        if not first.values or not other.values:
            return None
        if first.direction == "none":
            raise UserError(f"{cells.suite}: {cells.metric} is neither better when higher nor when lower: no order")
        sign = 1 if first.direction == "max" else -1
        both = sorted(first.values.keys() & other.values.keys())
        missing = [*first.missing, *(f"{cells.other().method}: {text}" for text in other.missing)]
        missing += [f"seed {seed} has no partner" for seed in sorted(first.values.keys() ^ other.values.keys())]
        if not both:
            return None
        named = tuple((cells.suite, seed, side.cells[seed]) for seed in both for side in (first, other))
        values = {seed: sign * (first.values[seed] - other.values[seed]) for seed in both}
        return Measured(values, named, tuple(missing), first.unit, tuple(cells.differs))

    def _side(self, cells: Cells) -> _Side:
        side = _Side()
        self._read(cells.suite)
        for record in self._suites[cells.suite]:
            if not _matches(record, cells):
                continue
            seed = record["seed"]
            if record["status"] != "done":
                side.missing.append(f"seed {seed} {record['status']}")
                continue
            try:
                value = self._value(record, cells, side)
            except _MALFORMED as error:
                side.missing.append(f"seed {seed} cannot be read ({type(error).__name__}: {error})")
                continue
            if value is None:
                side.missing.append(f"seed {seed} has no curve at step {cells.step}")
            elif seed in side.values:
                raise UserError(f"{cells.suite}: several cells of '{cells.method}' have seed {seed}: give density")
            else:
                side.values[seed], side.cells[seed] = value, record["cell"]
        for name, reason in self._unread[cells.suite].items():
            if (seed_text := _seed_of(name, cells)) is not None:
                side.missing.append(f"seed {seed_text} {reason}")
        return side

    def _read(self, suite: str) -> None:
        """Read a suite's records: those planned now, and what is planned and not there."""
        if suite in self._suites:
            return
        plan = self._store.plan(suite) or {}
        listed = plan.get("cells")
        planned = {str(name) for name in listed} if isinstance(listed, list) else None
        found: list[Record] = []
        unread = dict.fromkeys(sorted(planned or ()), "not finished")
        for path in sorted((self._store.root / suite / "cells").glob("*.json")):
            if planned is not None and path.stem not in planned:
                continue
            record = load_record(path)
            if isinstance(record, LeftOut):
                unread[path.stem] = record.reason
            elif _labelled(record):
                unread.pop(path.stem, None)
                found.append(record)
            else:
                unread[path.stem] = "is no complete record"
        self._suites[suite], self._unread[suite] = found, unread

    def _value(self, record: Record, cells: Cells, side: _Side) -> float | None:
        if cells.metric is not None:
            metrics = record["metrics"]
            if cells.metric not in metrics:
                raise UserError(f"{cells.suite}: " + unknown_name("metric", cells.metric, metrics))
            metric = metrics[cells.metric]
            side.unit = "" if cells.exponential else str(metric.get("unit") or "")
            side.direction = str(metric["direction"])
            value: float | None = math.exp(float(metric["value"])) if cells.exponential else float(metric["value"])
        elif cells.step is not None:
            value = self._at_step(record, cells)
        else:
            value = _recorded(record, cells)
        if value is not None and not math.isfinite(value):
            raise ValueError(f"the number is {value}")
        return value

    def _at_step(self, record: Record, cells: Cells) -> float | None:
        """From the curves, at the nearest row within 5 % of the step; None if there is none."""
        try:
            series = json.loads(self._store.series_path(cells.suite, record["cell"]).read_bytes())
        except OSError:
            return None
        assert cells.step is not None
        rows = series["loss"] if cells.record == "training_loss" else series["densities"]
        near = min((row for row in rows if row[0] == 0), key=lambda row: abs(row[1] - cells.step), default=None)
        if near is None or abs(near[1] - cells.step) > STEP_TOLERANCE * cells.step:
            return None
        if cells.record == "training_loss":
            return float(near[2])
        sizes = record["density"]["connections"]
        index = 0 if cells.record == "hard_density" else 1
        chosen = _chosen(near[2], cells)
        return _mean({name: float(near[2][name][index]) for name in chosen}, sizes)


def _labelled(record: Record) -> bool:
    """Whether a record says what it is of."""
    parts = [record.get(key) for key in ("architecture", "benchmark", "method")]
    return (
        all(isinstance(part, dict) and isinstance(part.get("label"), str) for part in parts)
        and isinstance(record.get("seed"), int)
        and isinstance(record.get("density"), dict | None)
    )


def _matches(record: Record, cells: Cells) -> bool:
    if record.get("experiment") != cells.experiment:
        return False
    if any(record[key]["label"] != getattr(cells, key) for key in ("architecture", "benchmark", "method")):
        return False
    requested = (record["density"] or {}).get("requested")
    return cells.density is None or (isinstance(requested, int | float) and math.isclose(requested, cells.density))


def _seed_of(cell: str, cells: Cells) -> str | None:
    """The seed in the name of a cell, if it is one of these."""
    head = ".".join((cells.experiment, cells.architecture, cells.benchmark, cells.method))
    density = rf"\.d{re.escape(f'{cells.density:g}')}" if cells.density is not None else r"(?:\.d[^s]+)?"
    found = re.match(rf"{re.escape(head)}{density}\.s(\d+)\.", f"{cell}.")
    return found[1] if found else None


def _recorded(record: Record, cells: Cells) -> float:
    """A number of the record that is no metric."""
    density, spent = record["density"], record.get("spent") or {}
    parameters = float(record["architecture"]["parameters"])
    match cells.record:
        case "parameters":
            return parameters
        case "parameters_left":
            return float(density["total"]) * parameters
        case "connections":
            return float(density["size"])
        case "tokens_per_second":
            return float(spent["tokens"]) / float(spent["seconds"])
    of = density["connections"]
    chosen = _chosen(of, cells)
    if cells.record == "hard_density":
        return sum(int(of[name]["kept"]) for name in chosen) / sum(int(of[name]["size"]) for name in chosen)
    return _mean({name: float(of[name]["soft"]) for name in chosen}, of)


def _chosen(connections: Mapping[str, Any], cells: Cells) -> list[str]:
    """Names of the connections that are meant."""
    chosen = [name for name in connections if re.search(cells.connections or "", name)]
    if not chosen:
        names = ", ".join(list(connections)[:8])
        raise UserError(f"{cells.suite}: no connection of '{cells.method}' matches '{cells.connections}': {names}, ...")
    return chosen


def _mean(densities: Mapping[str, float], sizes: Mapping[str, Any]) -> float:
    """Mean density over weights."""
    weights = {name: int(sizes[name]["size"]) for name in densities}
    return sum(densities[name] * weights[name] for name in densities) / sum(weights.values())
