"""What a table's cells have noted while masks and weights settled, and the clock by which it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.settling import CellSettling, settling
from harness.errors import CorruptFile
from harness.report.figures.series import named
from harness.results.store import ResultStore


@dataclass(frozen=True, slots=True)
class RowSettling:
    """What the cells of a row have noted."""

    method: str
    cells: Sequence[CellSettling]

    @property
    def fixed(self) -> bool:
        """Whether no mask ever changed, or there is none."""
        return all(curve.fixed for cell in self.cells for curve in cell.masks.values())


def row_settling(store: ResultStore, rows: Sequence[ComparisonRow]) -> dict[str, RowSettling]:
    """Name of a row -> what its cells have noted, of those that have; what cannot be read is left out."""
    found: dict[str, RowSettling] = {}
    if not _wanted(store, rows[0]):
        return found
    for name, row in named(rows).items():
        cells = [noted for cell in row.cells if (noted := _noted(store, row.suite, cell)) is not None]
        if cells:
            found[name] = RowSettling(row.method, cells)
    return found


@dataclass(frozen=True, slots=True)
class TrainingClock:
    """How times are told: in epochs where all trainings have as many, else as shares of the last training."""

    epochs: float | None

    @classmethod
    def of(cls, noted: Mapping[str, RowSettling]) -> TrainingClock:
        """The one for these rows."""
        lengths = {round(cell.epochs, 1) for one in noted.values() for cell in one.cells}
        return cls(next(iter(lengths)) if len(lengths) == 1 and max(lengths) >= 1 else None)

    @property
    def unit(self) -> str:
        """What the numbers are."""
        return "share of the training" if self.epochs is None else f"epoch of {self.epochs:g}"

    def number(self, done: float) -> str:
        """A time after a share of the training."""
        return f"{done:.2f}" if self.epochs is None else f"{round(done * self.epochs, 1):g}"

    def at(self, times: Sequence[float], whole: bool = False) -> str:
        """A time in a sentence: the mean over seeds, and of how much if wanted."""
        mean = sum(times) / len(times)
        if self.epochs is None:
            return f"after {100 * mean:.0f} %" + " of the training" * whole
        return f"at epoch {self.number(mean)}" + f" of {self.epochs:g}" * whole


def _wanted(store: ResultStore, row: ComparisonRow) -> bool:
    """Whether a row's experiment notes it, which its first record says: most do not, and curves are many files."""
    try:
        record = store.read(row.suite, row.cells[0]) if row.cells else None
    except CorruptFile:
        return True
    return record is not None and bool((record.evaluation or {}).get("settling"))


def _noted(store: ResultStore, suite: str, cell: str) -> CellSettling | None:
    try:
        series, record = store.series(suite, cell), store.read(suite, cell)
        return settling(series, record) if series is not None and record is not None else None
    except (CorruptFile, KeyError):
        return None
