"""What ``harness compare A B`` says: two results folders beside each other, in words and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from harness.analysis.changes import RowChange
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.frame import TABLE
from harness.formatting import count, listed
from harness.report.answers import density, few
from harness.report.cell_names import cell_names
from harness.report.cell_texts import meaning, titled
from harness.report.places import label
from harness.report.tables import NONE, Column, Table, decimals, difference, probability, rounded
from harness.results.agreement import ERRORS
from harness.results.cell_pairs import CellPair, Fate

WORDS: Mapping[Fate, tuple[str, str]] = {
    Fate.EQUAL: ("is equal", "are equal"),
    Fate.CHANGED: ("has changed", "have changed"),
    Fate.RECONFIGURED: ("is of another configuration", "are of another configuration"),
    Fate.ONLY_A: ("is only in A", "are only in A"),
    Fate.ONLY_B: ("is only in B", "are only in B"),
    Fate.FINISHED: ("failed in A and is finished in B", "failed in A and are finished in B"),
    Fate.FAILED: ("is finished in A and failed in B", "are finished in A and failed in B"),
}
"""How one cell's fate is told, and several cells'."""
_SHOWN = 20
"""Rows of a list of cells, or of changed keys, before the rest is only counted."""
_VALUE = 24
"""Characters of a key's value that a table shows."""


@dataclass(slots=True)
class Changes:
    """Two results folders, compared.

    Attributes:
        a, b: what the user called them.
        pairs: every cell of both.
        rows: every row of both that has a score in each.
    """

    a: str
    b: str
    pairs: Sequence[CellPair]
    rows: Sequence[RowChange]

    @property
    def counts(self) -> Counter[Fate]:
        """Cells by their fate; what is close counts as equal too."""
        found = Counter(pair.fate for pair in self.pairs)
        found[Fate.EQUAL] += found[Fate.CLOSE]
        return found

    @property
    def listed(self) -> list[RowChange]:
        """Rows of cells that changed or are of another configuration, and others that differ beyond noise."""
        moved = {(p.suite, p.record.cell) for p in self.pairs if p.fate in (Fate.CHANGED, Fate.RECONFIGURED)}
        found = [
            row
            for row in self.rows
            if not row.b.timed and (row.beyond or any((row.b.suite, cell) in moved for cell in row.b.cells))
        ]
        return sorted(found, key=lambda row: (row.b.take(*TABLE), not row.beyond))

    @property
    def timings(self) -> list[RowChange]:
        """Rows that a clock was read for and that are not equal."""
        return [row for row in self.rows if row.b.timed and row.untested != "equal"]

    def told(self) -> dict[str, Any]:
        """As plain values: what is not equal, each for itself."""
        counts = Counter(pair.fate for pair in self.pairs)
        return {
            "a": self.a,
            "b": self.b,
            "counts": {fate.value: counts[fate] for fate in Fate},
            "rows": self.rows_told(),
            "cells": [_told(pair) for pair in self.pairs if pair.fate is not Fate.EQUAL],
        }

    def rows_told(self) -> list[dict[str, Any]]:
        """Rows that are listed, or whose scores are not equal."""
        shown = {id(row) for row in self.listed}
        return [row.told() for row in self.rows if row.untested != "equal" or id(row) in shown]

    def tables(self) -> list[Table]:
        """The answer with numbers of cells, then what changed, by how much; equal results are counted only."""
        found = [self._overview()]
        found += [_changed(list(rows)) for _, rows in groupby(self.listed, key=lambda row: row.b.take(*TABLE))]
        found += [_timed(list(rows)) for _, rows in groupby(self.timings, key=_table)]
        return [*found, *self._configurations(), *self._lone()]

    def answer(self) -> list[str]:
        """What changed, in words; at least one sentence."""
        counts = self.counts
        total = sum(counts[fate] for fate in WORDS)
        told = [f"{counts[fate]:,} {WORDS[fate][counts[fate] != 1]}" for fate in WORDS if counts[fate]]
        if not total:
            return ["Neither A nor B has a result."]
        told[0] += self._close() if counts[Fate.EQUAL] else ""
        whole = counts[Fate.EQUAL] == total
        found = [
            f"All {total:,} results are equal{self._close()}."
            if whole
            else f"Of {count(total, 'result')} {', '.join(told)}."
        ]
        names = Counter(one.name for pair in self.pairs for one in pair.changed)
        if names:
            found.append(f"What changed: {few([f'{name} ({n:,})' for name, n in names.most_common()])}.")
        return [*found, *self._noise()]

    def _close(self) -> str:
        """Of the equal ones, those that are not equal to the bit."""
        close = self.counts[Fate.CLOSE]
        return f" ({close:,} not to the bit, but within {ERRORS:g} standard errors: another machine)" if close else ""

    def _noise(self) -> Iterator[str]:
        tested = [row for row in self.rows if row.p_adjusted is not None]
        if beyond := [row for row in tested if row.beyond]:
            names = [f"{_named(row.b)} is {_way(row)}" for row in beyond]
            yield f"Beyond noise: {len(beyond)} of {count(len(tested), 'row')} tested: {few(names)}."
        elif tested:
            yield f"Beyond noise: none of {count(len(tested), 'row')} tested."
        unknown = Counter(row.untested for row in self.listed if row.beyond is None)
        if unknown:
            why = listed([f"{n} with {reason}" for reason, n in unknown.items()])
            yield f"No test can tell noise in {count(sum(unknown.values()), 'row')}: {why}."

    def _overview(self) -> Table:
        suites = {suite: list(pairs) for suite, pairs in groupby(self.pairs, key=lambda pair: pair.suite)}
        counts = {suite: Changes(self.a, self.b, pairs, []).counts for suite, pairs in suites.items()}
        shown = [fate for fate in WORDS if any(found[fate] for found in counts.values())]
        columns = [Column("suite", names=True), *(Column(_heading(fate), right=True) for fate in shown)]
        cells = [[suite, *(f"{found[fate]:,}" for fate in shown)] for suite, found in counts.items()]
        notes = []
        if neither := self.counts[Fate.NO_RESULT]:
            notes.append(f"{count(neither, 'run')} more failed, and {'has' if neither == 1 else 'have'} no result.")
        return Table(f"A: {self.a}, B: {self.b}", columns, cells, notes, answer=self.answer())

    def _configurations(self) -> Iterator[Table]:
        """Keys that differ, of all cells that are there under the same labels."""
        cells: dict[tuple[str, str, str, str], list[str]] = {}
        for pair in self.pairs:
            for key, (was, now) in pair.keys.items():
                cells.setdefault((pair.suite, key, was, now), []).append(pair.record.cell)
        if not cells:
            return
        columns = [
            Column("suite", 1, names=True),
            Column("key", names=True),
            Column("A", names=True),
            Column("B", names=True),
            Column("runs", right=True),
            Column("such as", 2, names=True),
        ]
        rows = [
            [suite, key, *_cut(was, now), f"{len(names):,}", cell_names(names[:1])]
            for (suite, key, was, now), names in cells.items()
        ]
        yield Table("Other configurations: keys that differ", columns, *_first(rows, "key"))

    def _lone(self) -> Iterator[Table]:
        """Cells with a result on one side only."""
        rows = []
        for fate in (Fate.ONLY_A, Fate.ONLY_B, Fate.FINISHED, Fate.FAILED):
            names = [(pair.suite, pair.record.cell) for pair in self.pairs if pair.fate is fate]
            for suite, cells in groupby(names, key=lambda name: name[0]):
                rows += [[_heading(fate), suite, name] for name in cell_names(cell for _, cell in cells).split(", ")]
        if rows:
            columns = [Column("result"), Column("suite", 1, names=True), Column("runs", names=True)]
            yield Table("Results on one side only", columns, *_first(rows, "row"))


def _heading(fate: Fate) -> str:
    """``only in A``."""
    return fate.value.replace("_a", " A").replace("_b", " B").replace("_", " ")


def _cut(was: str, now: str) -> tuple[str, str]:
    """Two values, short, and from before they differ where their beginnings are alike."""
    if was[:_VALUE] != now[:_VALUE]:
        return was[:_VALUE], now[:_VALUE]
    alike = next((at for at, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))
    start = max(0, alike - _VALUE // 2)
    return f"…{was[start:][: _VALUE - 1]}", f"…{now[start:][: _VALUE - 1]}"


def _first(rows: list[list[str]], what: str) -> tuple[list[list[str]], list[str]]:
    """The first rows, and a note on how many more there are."""
    more = len(rows) - _SHOWN
    return rows[:_SHOWN], [f"{count(more, what)} more: --format json has all."] if more > 0 else []


def _changed(rows: Sequence[RowChange]) -> Table:
    moved = any(density(row.a) != density(row.b) for row in rows)
    columns = [
        Column("method", names=True, key=True),
        Column("density", right=True),
        *([Column("in A", 1, right=True)] if moved else []),
        Column("A", right=True),
        Column("B", right=True),
        Column("B minus A"),
        Column("beyond noise"),
        Column("p", 2, right=True),
        Column("seeds", 3, right=True),
    ]
    cells = []
    for row in rows:
        places = decimals([row.a.mean, row.b.mean])
        verdict = {True: f"yes: {_way(row)}", False: "no", None: row.untested}[row.beyond]
        cells.append(
            [
                label(row.b),
                density(row.b),
                *([density(row.a)] if moved else []),
                *(NONE if one.mixed else rounded(one.mean, places) for one in (row.a, row.b)),
                _apart(row, places),
                verdict,
                probability(row.p_adjusted),
                str(row.found.n),
            ]
        )
    notes = [
        meaning(rows[0].b),
        "Differences are over the seeds that both have, paired, with 95 % intervals. Beyond noise: p < 0.05 of the "
        "paired test, with Holm's correction over all rows of A and B that are not equal.",
    ]
    if moved:
        notes.insert(1, "Density is B's; in A it was another where that column says so.")
    bold = {i for i, row in enumerate(rows) if row.beyond}
    return Table(_title(rows[0].b), columns, cells, notes, bold)


def _timed(rows: Sequence[RowChange]) -> Table:
    columns = [
        Column("method", names=True, key=True),
        Column("density", right=True),
        Column("metric", names=True),
        *(Column(name, right=True) for name in ("A", "B", "B / A")),
    ]
    cells = [
        [
            label(row.b),
            density(row.b),
            row.b.metric,
            *(f"{one.mean:.4g}" for one in (row.a, row.b)),
            f"{row.b.mean / row.a.mean:.3g}" if row.a.mean else NONE,
        ]
        for row in rows
    ]
    return Table(f"{_title(rows[0].b)}: timings", columns, cells, ["A clock is another number each time: no change."])


def _apart(row: RowChange, places: int) -> str:
    if row.untested == "equal":
        return "0"
    if row.untested == "rounding":
        return f"{row.found.difference:+.1e}"
    return difference(row.found.difference, row.found.low, row.found.high, places)


def _way(row: RowChange) -> str:
    return {True: "better", False: "worse", None: "another"}[row.better]


def _named(row: ComparisonRow) -> str:
    at = "" if row.whole else f" at {density(row)}"
    return f"{label(row)}{at} on {row.benchmark}"


def _title(row: ComparisonRow) -> str:
    return f"{row.suite}, {titled([row])}"


def _table(row: RowChange) -> tuple[str, ...]:
    return row.b.take("suite", "experiment", "architecture", "benchmark")


def _told(pair: CellPair) -> dict[str, Any]:
    return {
        "suite": pair.suite,
        "cell_a": pair.a.cell if pair.a else None,
        "cell_b": pair.b.cell if pair.b else None,
        "fate": pair.fate.value,
        "changed": [{"name": one.name, "a": one.was, "b": one.now} for one in pair.changed],
        "keys": {key: list(values) for key, values in pair.keys.items()},
    }
