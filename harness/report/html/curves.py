"""Curves over training for the page to draw: the training loss, and every score on validation data beside it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from harness.analysis.comparison_row import ComparisonRow
from harness.errors import CorruptFile
from harness.report.figures.series import LOSS, RowCurves, named, training_series
from harness.report.figures.training_curves import averaged, envelope, thinned
from harness.results.archive import Archive
from harness.results.store import ResultStore
from harness.stages.series import Series


def curves(store: ResultStore, table: Sequence[ComparisonRow]) -> list[dict[str, Any]]:
    """A panel for the training loss and for each score on validation data, the metric of the table first.

    [{"what", "lines": [{"row", "method", "density", "seeds": how many, "parts": [[points, band]]}]}]: points are
    [step, mean over seeds], the band [step, lowest, highest seed], thinned; a part is a phase, whose steps go on from
    the last one's.
    """
    kept = _Read(store)
    rows = named(table)
    scores = {score for row in table for cell in row.cells for score in kept.scores(row.suite, cell)}
    names = sorted(scores, key=lambda name: (name != table[0].metric, name))
    panels = []
    for what in (LOSS, *names):
        series = training_series(kept, table, what)
        lines = [
            {
                "row": name,
                "method": one.method,
                "density": rows[name].density_mask,
                "seeds": len(one.seeds),
                "parts": parts,
            }
            for name, one in series.items()
            if (parts := list(_parts(one)))
        ]
        if lines:
            panels.append({"what": what if what == LOSS else f"{what} on validation data", "lines": lines})
    return panels


def _parts(one: RowCurves) -> Iterator[list[list[list[float]]]]:
    for _, group in groupby(averaged(one.seeds), key=lambda step: bisect_left(one.starts, step[0])):
        steps = list(group)
        band = [list(map(_brief, point)) for point in envelope(steps)] if len(one.seeds) > 1 else []
        yield [[[_brief(step), _brief(mean)] for step, mean, _, _ in thinned(steps)], band]


def _brief(value: float) -> float:
    return float(f"{value:.5g}")


class _Read(ResultStore):
    """Reads each curve once, however often it is asked for; only validation data is told."""

    def __init__(self, store: ResultStore) -> None:
        super().__init__(store.root)
        self._store = store
        self._read: dict[tuple[str, str], Series | None] = {}

    def archive(self, suite: str) -> Archive:
        return self._store.archive(suite)  # opened already

    def series(self, suite: str, cell: str) -> Series | None:
        key = (suite, cell)
        if key not in self._read:
            try:
                found = super().series(suite, cell)
            except CorruptFile:
                found = None
            if found:
                # Other rows stay without their scores: they say how long a phase is.
                own = [row if row.split == "validation" else row._replace(scores={}) for row in found.evaluations]
                found = found.model_copy(update={"evaluations": own, "densities": [], "settling": []})
            self._read[key] = found
        return self._read[key]

    def scores(self, suite: str, cell: str) -> set[str]:
        """The names of a cell's scores on validation data."""
        found = self.series(suite, cell)
        return {name for row in found.evaluations for name in row.scores} if found else set()
