"""The rows of two results folders beside each other: by how much they differ, and whether beyond noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import isfinite
from typing import Any, Literal

import numpy as np
import pandas as pd

from harness.analysis.averages import averaged, number
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.estimates import PairedDifference, differences
from harness.analysis.frame import ROW, TABLE
from harness.analysis.power import ALPHA
from harness.analysis.statistics import holm

ROUNDING = 1e-6
"""Relative: scores that are no further apart differ by how machines round, which is no change to be tested."""
Untested = Literal["", "equal", "rounding", "a clock", "no common seed", "one seed", "no spread"]
"""Why a difference has no test: there is none, or nothing to say what noise would be."""


@dataclass(slots=True, kw_only=True)
class RowChange:
    """One row in A and in B, paired by seed.

    Attributes:
        a, b: the row there and here, of the seeds that both have, if there are any.
        found: B minus A over the seeds that both have.
        untested: see :data:`Untested`.
        p_adjusted: Holm's, over all rows that are tested.
    """

    a: ComparisonRow
    b: ComparisonRow
    found: PairedDifference
    untested: Untested
    p_adjusted: float | None = None

    @property
    def beyond(self) -> bool | None:
        """Whether the rows differ by more than noise; None where nobody can tell.

        Not where the sign of the difference depends on the scale: nothing is then claimed, as elsewhere.
        """
        if self.untested in ("equal", "rounding"):
            return False
        if self.p_adjusted is None:
            return None
        return self.p_adjusted < ALPHA and not self.found.disputed

    @property
    def better(self) -> bool | None:
        """Whether B's score is the better one; None if neither is."""
        if self.b.direction == "none" or not self.found.difference:
            return None
        return (self.found.difference > 0) == (self.b.direction == "max")

    def told(self) -> dict[str, Any]:
        """As plain values, with exactly ``KEYS``."""
        row, found = self.b, self.found
        here: Mapping[str, Any] = {
            "a": None if self.a.mixed else number(self.a.mean),
            "b": None if row.mixed else number(row.mean),
            "density_a": self.a.density_mask,
            "density_b": row.density_mask,
            "n": found.n,
            "difference": number(found.difference),
            "ci_low": found.low,
            "ci_high": found.high,
            "p_value": None if self.untested else found.p,
            "p_adjusted": self.p_adjusted,
            "untested": self.untested,
            "beyond_noise": self.beyond,
            "better": self.better,
            "over": found.over,
        }
        return {key: here[key] if key in here else getattr(row, key) for key in KEYS}


KEYS = (
    *("suite", "experiment", "architecture", "benchmark", "method", "match", "density_requested"),
    *("density_a", "density_b", "density_scope", "metric", "unit", "direction", "protocol", "timed"),
    *("n", "a", "b", "difference", "ci_low", "ci_high", "over"),
    *("p_value", "p_adjusted", "untested", "beyond_noise", "better"),
)
"""What a change says of itself, for programs."""


def row_changes(first: pd.DataFrame, second: pd.DataFrame) -> list[RowChange]:
    """Rows that both frames have, B minus A, sorted by table; see :func:`harness.analysis.frame.load`.

    Seeds are paired, and test examples where both kept them. Holm's correction is over all rows that are tested: the
    question is whether anything changed at all.
    """
    if first.empty or second.empty:
        return []
    pairs = _pairs(first, second)
    if any(set(a.seeds) != set(b.seeds) for a, b in pairs):  # means are to be of what the difference is of
        pairs = _pairs(*_common(first, second, pairs))
    pairs.sort(key=lambda pair: (pair[1].take(*TABLE), -pair[1].density_mask, pair[1].method))
    found: list[RowChange] = []
    for _, table in groupby(pairs, key=lambda pair: pair[1].take(*TABLE)):
        members = list(table)
        seeds = sorted({seed for pair in members for row in pair for seed in row.seeds})
        aligned = [(_aligned(b, seeds), _aligned(a, seeds)) for a, b in members]
        for (b, a), difference in zip(aligned, differences(aligned), strict=True):
            found.append(RowChange(a=a, b=b, found=difference, untested=_untested(a, b, difference)))
    raw = np.array([np.nan if change.untested else change.found.p for change in found], np.float64)
    for change, p in zip(found, holm(raw).tolist(), strict=True):
        change.p_adjusted = number(p)
    return found


def _pairs(first: pd.DataFrame, second: pd.DataFrame) -> list[tuple[ComparisonRow, ComparisonRow]]:
    """Rows that both frames have."""
    others = {_key(row): row for row in averaged(first)}
    return [(others[_key(row)], row) for row in averaged(second) if _key(row) in others]


def _common(
    first: pd.DataFrame, second: pd.DataFrame, pairs: Sequence[tuple[ComparisonRow, ComparisonRow]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both frames, of each row the seeds that the other one has too; all where they have none in common."""
    wanted: tuple[set[tuple[str, str]], ...] = (set(), set())
    for pair in pairs:
        both = set(pair[0].seeds) & set(pair[1].seeds)
        for row, cells in zip(pair, wanted, strict=True):
            seeds = zip(row.seeds, row.cells, strict=True)
            cells |= {(row.suite, cell) for seed, cell in seeds if seed in both or not both}
    a, b = (
        frame[[cell in cells for cell in zip(frame["suite"], frame["cell"], strict=True)]]
        for frame, cells in zip((first, second), wanted, strict=True)
    )
    return a, b


def _key(row: ComparisonRow) -> tuple[Any, ...]:
    return row.take(*ROW, "unit")


def _aligned(row: ComparisonRow, seeds: Sequence[int]) -> ComparisonRow:
    """The same row with a place for each of these seeds."""
    own = np.flatnonzero(np.isfinite(row.values))
    at = dict(zip(row.seeds, own.tolist(), strict=True))
    values = np.array([row.values[at[seed]] if seed in at else np.nan for seed in seeds], np.float64)
    return replace(row, values=values, sample=[row.sample[at[seed]] if seed in at else None for seed in seeds])


def _untested(a: ComparisonRow, b: ComparisonRow, found: PairedDifference) -> Untested:
    if found.n == 0:
        return "no common seed"
    both = np.isfinite(a.values) & np.isfinite(b.values)
    apart, size = np.abs(a.values - b.values)[both], np.maximum(np.abs(a.values), np.abs(b.values))[both]
    if not apart.any():
        return "equal"
    if b.timed:
        return "a clock"
    if (apart <= ROUNDING * size).all():
        return "rounding"
    if found.n == 1:
        return "one seed"
    return "" if found.p is not None and isfinite(found.p) else "no spread"
