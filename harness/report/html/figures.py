"""Figures of a page: drawn by harness.report.figures, shown when their table or network is opened."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from harness.analysis.attention_distance import by_distance
from harness.analysis.comparison_row import ComparisonRow
from harness.errors import CorruptFile
from harness.report.costs import TIME
from harness.report.figures import (
    attention_curves,
    frontier,
    layer_densities,
    settling_curves,
)
from harness.report.figures.layer_densities import connection_densities
from harness.report.figures.series import RowCurves
from harness.report.html.cells import CountedCell
from harness.report.palette import palette_of
from harness.report.settling import Settled
from harness.report.svg import MARKERS
from harness.results.cell_record import CellRecord
from harness.results.mask_pictures import read
from harness.results.store import ResultStore

_ROWS = 24  # of one figure of connections; more would be taller than any screen
_SHEET = re.compile(r"<style>(.*?)</style>", re.DOTALL)


class Figures:
    """Draws and collects figures.

    Attributes:
        svgs: the pictures; one is known by its number here, and carries an id with that number.
    """

    def __init__(self, frame: pd.DataFrame, store: ResultStore) -> None:
        # As in the markdown leaderboards, so that a method has one colour everywhere.
        self.palette = palette_of(frame)
        self.svgs: list[str] = []
        self._store = store

    def looks(self) -> dict[str, list[str]]:
        """Method -> its colour on a light and on a dark page, and the path of its shape."""
        return {name: [style.light, style.dark, MARKERS[style.marker]] for name, style in self.palette.items()}

    def sheets(self) -> list[str]:
        """The style sheets inside the pictures, which the page has to allow."""
        return [sheet for svg in self.svgs for sheet in _SHEET.findall(svg)]

    def of_table(self, table: Sequence[ComparisonRow]) -> list[dict[str, Any]]:
        """A leaderboard table's frontiers, as far as there is something to draw."""
        drawn = [
            self._add(lambda prefix: frontier(table, self.palette, prefix), "Efficiency frontier"),
            self._add(lambda prefix: frontier(table, self.palette, prefix, cost=TIME), "Measured speed"),
        ]
        return [one for one in drawn if one]

    def of_settling(self, found: Settled) -> list[dict[str, Any]]:
        """Masks, weights and score against the training."""
        metric = f"{found.rows[0].metric} while training"
        drawn = self._add(lambda prefix: settling_curves(found.noted, self.palette, prefix, metric), found.table.title)
        return [drawn] if drawn else []

    def of_networks(
        self, cells: Sequence[CountedCell], records: Mapping[tuple[str, str], CellRecord]
    ) -> list[dict[str, Any]]:
        """Densities of connections of an experiment's networks, and how masks on attention fall with distance."""
        return [one for one in (self._connections(cells, records), *self._attention(cells, records)) if one]

    def _connections(
        self, cells: Sequence[CountedCell], records: Mapping[tuple[str, str], CellRecord]
    ) -> dict[str, Any] | None:
        """By row, because the densities of a pruning curve are no seeds of one method."""
        styles = {cell.row: self.palette[cell.method] for cell in cells}
        keys = {(cell.suite, cell.name): cell.row for cell in cells}
        densities = connection_densities((row, records[key]) for key, row in keys.items() if key in records)
        masked = [row for row, by in densities.items() if any(d < 1 for each in by.values() for d in each)]
        caption = "Density of each connection at the end of training"
        if len(masked) > _ROWS:
            caption += f" (the first {_ROWS} of {len(masked)} rows)"
        chosen = {row: densities[row] for row in masked[:_ROWS]}
        return self._add(lambda prefix: layer_densities(chosen, styles, prefix), caption)

    def _attention(
        self, cells: Sequence[CountedCell], records: Mapping[tuple[str, str], CellRecord]
    ) -> Iterator[dict[str, Any] | None]:
        """Of each mask on attention, how it falls with distance; rows that mask none are left out."""
        found: dict[str, dict[str, RowCurves]] = {}
        for cell in cells:
            record = records.get((cell.suite, cell.name))
            if record is None or record.density.attention is None or cell.stage is None:
                continue
            try:
                masks = read(self._store.file(cell.suite, "masks", cell.stage).read())
            except (OSError, CorruptFile):
                continue  # told with the pictures
            for name, mask in masks.items():
                if mask.attention is not None and mask.grid and mask.shape[0] == mask.shape[1]:
                    points = [(float(at), mean) for at, mean in by_distance(mask.attention, mask.grid)]
                    earlier = found.setdefault(name, {}).get(cell.row)
                    seeds = [*(earlier.seeds if earlier else ()), points]
                    found[name][cell.row] = RowCurves(cell.method, seeds)
        for name, rows in found.items():
            what = f"{name} mask"
            yield self._add(
                partial(attention_curves, rows, self.palette, what=what), f"Attention against distance: {name}"
            )

    def _add(self, draw: Callable[[str], str | None], caption: str) -> dict[str, Any] | None:
        number = len(self.svgs)
        svg = draw(f"f{number}")
        if svg is None:
            return None
        self.svgs.append(svg)
        return {"number": number, "caption": caption}
