"""What the result files say about a claim: one number a seed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from harness.analysis.scales import scale_of, unit_of
from harness.analysis.settling import settling
from harness.claims.counts import Counts
from harness.claims.formulas import evaluate
from harness.claims.schema import Arithmetic, Cells, Count, Measure
from harness.errors import CorruptFile, UserError, unknown_name
from harness.formatting import unit_text
from harness.results.cell_record import CellRecord
from harness.results.record_parts import ConnectionCounts, TrainingCost
from harness.results.store import ResultStore
from harness.stages.series import DensityRow, EvaluationRow

STEP_TOLERANCE = 0.05  # relative; how near a row of the curves must be to the step asked for
_UNKNOWN = (ValueError, ArithmeticError, CorruptFile)

CurveRow = TypeVar("CurveRow", EvaluationRow, DensityRow)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found for a claim.

    Attributes:
        values: seed -> number; for an order the difference, positive where the first cells are better. Without
            runs there is one, of seed -1.
        cells: (suite, seed, cell) of the numbers' records; of an order, of both sides.
        missing: what keeps the selection from being complete: ``seed 3 diverged``.
        unit: of the metric; empty for other numbers.
        differs: in what this is not the paper's protocol.
        by: what gave the numbers: trained networks, a network that was built, or other published numbers.
        lowest, highest: what such a number can be; of differences nothing is said.
    """

    values: Mapping[int, float]
    cells: tuple[tuple[str, int, str], ...] = ()
    missing: tuple[str, ...] = ()
    unit: str = ""
    differs: tuple[str, ...] = ()
    by: Literal["runs", "building", "arithmetic"] = "runs"
    lowest: float = -math.inf
    highest: float = math.inf


@dataclass(slots=True)
class _Side:
    values: dict[int, float] = field(default_factory=dict)
    cells: dict[int, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unit: str = ""
    direction: str = "none"
    lowest: float = -math.inf
    highest: float = math.inf


class Measuring:
    """Looks up claims in a results folder, each suite's files read once.

    Numbers that cannot be read (a half-written file, a missing field, NaN) count as missing seeds.

    Args:
        published: id of a claim -> its published number, for formulas.
        counts: what gives the numbers that follow from building networks.
    """

    def __init__(
        self, store: ResultStore, published: Mapping[str, float] | None = None, counts: Counts | None = None
    ) -> None:
        self._store = store
        self._published = published or {}
        self._counts = counts or Counts()
        self._suites: dict[str, list[CellRecord]] = {}
        self._unread: dict[str, dict[str, str]] = {}

    def find(self, measurements: Iterable[Measure]) -> tuple[Measure, Measured] | None:
        """The first of the measurements that there is, and what it gives; None if there is none.

        Raises:
            UserError: for a metric or a connection that the records do not have; for a count that cannot be built;
                for a formula without a finite number.
        """
        for measurement in measurements:
            found = self._measure(measurement)
            if found is not None:
                return measurement, found
        return None

    def _measure(self, measurement: Measure) -> Measured | None:
        match measurement:
            case Cells():
                return self._cells(measurement)
            case Count():
                value = self._counts.value(measurement)
                return Measured({-1: value}, differs=tuple(measurement.differs), by="building")
            case Arithmetic():
                try:
                    value = evaluate(measurement.formula, self._published)
                except ValueError as error:
                    raise UserError(f"claims: {error}") from error
                return Measured({-1: value}, differs=tuple(measurement.differs), by="arithmetic")

    def _cells(self, cells: Cells) -> Measured | None:
        first = self._side(cells)
        if cells.against is None:
            named = tuple((cells.suite, seed, cell) for seed, cell in sorted(first.cells.items()))
            if not first.values:
                return None
            lacking, differs = tuple(first.missing), tuple(cells.differs)
            return Measured(first.values, named, lacking, first.unit, differs, "runs", first.lowest, first.highest)
        other = self._side(cells.other())
        if not first.values or not other.values:
            return None
        direction = first.direction if first.direction != "none" else cells.direction
        if direction is None:
            raise UserError(
                f"{cells.suite}: {cells.metric} is neither better when higher nor when lower: no order. If the paper "
                "says which is better, so must the claim: `direction: max` or `direction: min`."
            )
        sign = 1 if direction == "max" else -1
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
            seed = record.seed
            if record.status != "done":
                side.missing.append(f"seed {seed} {record.status}")
                continue
            try:
                value = self._value(record, cells, side)
            except _UNKNOWN as error:
                side.missing.append(f"seed {seed} cannot be read ({error})")
                continue
            if value is None:
                side.missing.append(f"seed {seed} has no {_lacking(cells)}")
            elif seed in side.values:
                raise UserError(f"{cells.suite}: several runs of '{cells.method}' have seed {seed}: give density")
            else:
                side.values[seed], side.cells[seed] = value, record.cell
        for name, reason in self._unread[cells.suite].items():
            if (seed_text := _seed_of(name, cells)) is not None:
                side.missing.append(f"seed {seed_text} {reason}")
        return side

    def _read(self, suite: str) -> None:
        """Read a suite's records: those planned now, and what is planned and not there."""
        if suite in self._suites:
            return
        plan = self._store.plan(suite)
        found: list[CellRecord] = []
        unread = dict.fromkeys(sorted(plan.cells if plan else ()), "not finished")
        for record in self._store.records(suite):
            if isinstance(record, CellRecord):
                unread.pop(record.cell, None)
                found.append(record)
            elif plan is None or record.path.stem in unread:
                unread[record.path.stem] = record.reason
        self._suites[suite], self._unread[suite] = found, unread

    def _value(self, record: CellRecord, cells: Cells, side: _Side) -> float | None:
        """A finite number, or None without a curve at the step.

        Raises:
            ValueError, ArithmeticError, CorruptFile: if it cannot be had.
        """
        if cells.metric is not None:
            if cells.metric not in record.metrics:
                raise UserError(f"{cells.suite}: " + unknown_name("metric", cells.metric, record.metrics))
            metric = record.metrics[cells.metric]
            side.unit = "" if cells.exponential else unit_text(metric.unit)
            side.direction = metric.direction
            scale = scale_of(unit_of(cells.metric, metric.unit), metric.direction)
            side.lowest, side.highest = (1.0, math.inf) if cells.exponential else (scale.low, scale.high)
            return math.exp(metric.value) if cells.exponential else metric.value
        if cells.record is not None and cells.record.endswith("density"):
            side.lowest, side.highest = 0.0, 1.0
        if cells.record == "mask_settles_ahead":
            return self._ahead(record, side)
        return _recorded(record, cells) if cells.step is None else self._at_step(record, cells)

    def _ahead(self, record: CellRecord, side: _Side) -> float | None:
        """How much earlier the mask has settled than the weights, as a share of the training; None if not noted."""
        side.lowest, side.highest = -1.0, 1.0
        series = self._store.series(record.suite, record.cell)
        found = settling(series, record) if series is not None else None
        return None if found is None else found.mask_ahead()

    def _at_step(self, record: CellRecord, cells: Cells) -> float | None:
        """From the curves, at the nearest row within 5 % of the step; None if there is none."""
        series = self._store.series(cells.suite, record.cell)
        if series is None:
            return None
        assert cells.step is not None
        if cells.record == "validation_loss":
            checks = [row for row in series.evaluations if row.split == "validation" and "loss" in row.scores]
            check = _nearest(checks, cells.step)
            return None if check is None else check.scores["loss"]
        row = _nearest(series.densities, cells.step)
        if row is None:
            return None
        chosen = _chosen(row.connections, cells)
        found = {name: row.connections[name][0 if cells.record == "hard_density" else 1] for name in chosen}
        return _mean(found, record.density.connections)


def _lacking(cells: Cells) -> str:
    return "notes of when masks settle" if cells.step is None else f"curve at step {cells.step}"


def _nearest(rows: Sequence[CurveRow], step: int) -> CurveRow | None:
    """The row of the first phase that is nearest to the step, and near enough."""
    near = min((row for row in rows if row.phase == 0), key=lambda row: abs(row.step - step), default=None)
    return None if near is None or abs(near.step - step) > STEP_TOLERANCE * step else near


def _matches(record: CellRecord, cells: Cells) -> bool:
    named = (record.experiment, record.architecture.label, record.benchmark.label, record.method.label)
    if named != (cells.experiment, cells.architecture, cells.benchmark, cells.method):
        return False
    requested = record.density.requested
    return cells.density is None or (requested is not None and math.isclose(requested, cells.density))


def _seed_of(cell: str, cells: Cells) -> str | None:
    """The seed in the name of a cell, if it is one of these."""
    head = ".".join((cells.experiment, cells.architecture, cells.benchmark, cells.method))
    density = rf"\.d{re.escape(f'{cells.density:g}')}" if cells.density is not None else r"(?:\.d[^s]+)?"
    found = re.match(rf"{re.escape(head)}{density}\.s(\d+)\.", f"{cell}.")
    return found[1] if found else None


def _recorded(record: CellRecord, cells: Cells) -> float:
    """A number of the record that is no metric."""
    density, spent = record.density, record.spent or TrainingCost()
    match cells.record:
        case "parameters":
            return _known(record.architecture.parameters, "architecture.parameters")
        case "parameters_left":
            total = _known(density.total, "density.total")
            return total * _known(record.architecture.parameters, "architecture.parameters")
        case "connections":
            return _known(density.size, "density.size")
        case "hard_pair_density" | "soft_pair_density":
            if density.pairs is None:
                raise ValueError("the record counts no pairs")
            if cells.record == "soft_pair_density":
                return _known(density.pairs.soft, "density.pairs.soft")
            return density.pairs.kept / density.pairs.size
        case "tokens_per_second":
            return _known(spent.tokens, "spent.tokens") / _known(spent.seconds, "spent.seconds")
    of = density.connections
    chosen = _chosen(of, cells)
    if cells.record == "hard_density":
        return sum(of[name].kept for name in chosen) / sum(of[name].size for name in chosen)
    return _mean({name: of[name].soft for name in chosen}, of)


def _known(value: float | None, name: str) -> float:
    if value is None:
        raise ValueError(f"the record has no {name}")
    return float(value)


def _chosen(connections: Iterable[str], cells: Cells) -> list[str]:
    """Names of the connections that are meant."""
    chosen = [name for name in connections if re.search(cells.connections or "", name)]
    if not chosen:
        names = ", ".join(list(connections)[:8])
        raise UserError(f"{cells.suite}: no connection of '{cells.method}' matches '{cells.connections}': {names}, ...")
    return chosen


def _mean(densities: Mapping[str, float | None], sizes: Mapping[str, ConnectionCounts]) -> float:
    """Mean density over weights."""
    if unknown := [name for name in densities if name not in sizes]:
        raise ValueError(f"the record has no connection {unknown[0]}")
    weights = {name: sizes[name].size for name in densities}
    total = sum(_known(density, f"density of {name}") * weights[name] for name, density in densities.items())
    return total / sum(weights.values())
