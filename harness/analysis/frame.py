"""Result files as one table: a row for every metric of every finished cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from harness.analysis.result_row import ResultRow, as_frame, asked, rows_of
from harness.analysis.tuning import settings_text
from harness.errors import Diverged, UserError, unknown_name
from harness.formatting import not_finite
from harness.results.cell_record import CellRecord
from harness.results.names import hash_of, without_seed
from harness.results.record_parts import CellFailure, DensityMatch
from harness.results.store import LeftOut, ResultStore

DEFAULT_BASELINE = "dense"

TABLE = ("suite", "experiment", "architecture", "benchmark", "metric", "protocol")
"""What must be equal for two numbers to stand in one table."""
ROW = (*TABLE, "method", "density_scope", "match", "density_asked")
"""What the cells of a row have in common."""

SPENT = (
    "steps",
    "examples",
    "tokens",
    "flops",
    "flops_sparse",
    "inference_flops",
    "inference_flops_sparse",
    "seconds",
    "peak_memory",
)
"""What a network has cost."""


def load(store: ResultStore, suites: Iterable[str] | None = None) -> tuple[pd.DataFrame, list[LeftOut]]:
    """Every counted number below a results folder, and every file that is not counted with the reason.

    One :class:`~harness.analysis.result_row.ResultRow` per (finished cell, metric). Failed and diverged cells are
    left out, so that they are never averaged, and so are trials, which only choose settings. So are all cells of a row
    that is not known to be one, where no plan says which of them belong to the suite. Files of results by example that
    are lost are named, although the cells are counted: their intervals are over seeds alone.

    Raises:
        UserError: if a suite has no results.
    """
    known = store.suites()
    rows: list[ResultRow] = []
    left: list[LeftOut] = []
    asks: dict[tuple[str, str], _Asks] = {}  # of a suite's cells, by name, by hash, and by name without the seed
    unplanned: dict[tuple[str, str], tuple[CellRecord, str]] = {}  # what may be superseded, and why nobody knows
    lost: dict[LeftOut, None] = {}
    for suite in known if suites is None else suites:
        if suite not in known:
            raise UserError(unknown_name("suite", suite, known) + f" Looked in {store.root}.")
        planned = store.plan_or_why(suite)
        plan = None if isinstance(planned, LeftOut) else planned
        baselines = plan.baselines if plan else {}
        trials = plan.trials if plan else frozenset()
        settings = {
            (one.experiment, one.architecture, one.trained_on, one.method): settings_text(one)
            for one in (plan.tuning if plan else ())
        }
        for record in store.records(suite):
            if isinstance(record, LeftOut):
                left.append(record)
            elif record.status != "done":
                path = store.file(suite, "cells", record.cell).path
                whose = () if record.cell in trials else _identity(record, suite)
                left.append(LeftOut(path, _failure(record), whose, record.seed))
            elif record.cell not in trials:
                if record.not_finite:
                    left.append(_beyond(record, suite, store.file(suite, "cells", record.cell).path))
                compared = plan.comparisons.get(record.experiment) if plan else None
                baseline = baselines.get(record.experiment) or DEFAULT_BASELINE
                baseline = compared.baselines.get(record.method.label, baseline) if compared else baseline
                tuned = (record.experiment, record.architecture.label, _trained_on(record), record.method.label)
                if gone := store.lost_examples(suite, record.cell, record.examples):
                    lost[gone] = None
                kept = None if gone else store
                rows += rows_of(record, suite, baseline, compared, kept, settings.get(tuned, ""))
                if isinstance(planned, LeftOut):
                    unplanned[suite, record.cell] = record, f"{planned.path.name} {planned.reason}"
                asks[suite, record.cell] = _Asks.of(record)
                for other in (hash_of(record.cell), without_seed(record.cell)):
                    asks.setdefault((suite, other), asks[suite, record.cell])
    frame = as_frame(_named(row, asks) for row in rows)
    left += lost
    return _once(_clear(frame, unplanned, store, left), store, left), left


def missing(store: ResultStore, suite: str, frame: pd.DataFrame, left: Iterable[LeftOut]) -> list[str]:
    """The planned cells of a suite that have no record, trials included, sorted."""
    plan = store.plan(suite)
    if plan is None:
        return []
    tried = plan.trials & frozenset(store.names(suite)) if plan.trials else frozenset[str]()
    return sorted(set(plan.cells) - set(frame["cell"]) - {item.cell for item in left} - tried)


def _trained_on(record: CellRecord) -> str:
    return record.trained_on or record.benchmark.label


def _clear(
    frame: pd.DataFrame,
    unplanned: Mapping[tuple[str, str], tuple[CellRecord, str]],
    store: ResultStore,
    left: list[LeftOut],
) -> pd.DataFrame:
    """Without rows that may be of several programs: only a plan could say which of their cells are superseded."""
    unclear: dict[tuple[str, str], None] = {}
    own = frame[frame["suite"].isin({suite for suite, _ in unplanned})]
    for _, row in own.groupby(list(ROW), dropna=False):
        cells = list(zip(row["suite"], row["cell"], strict=True))
        if len({_made(unplanned[cell][0]) for cell in cells}) > 1 or row["seed"].duplicated().any():
            unclear |= dict.fromkeys(cells)
    for suite, cell in unclear:
        record, why = unplanned[suite, cell]
        reason = f"is of a row whose runs differ in more than their seeds, and {why}"
        left.append(LeftOut(store.file(suite, "cells", cell).path, reason, _identity(record, suite), record.seed))
    return frame[~pd.MultiIndex.from_frame(frame[["suite", "cell"]]).isin(list(unclear))] if unclear else frame


def _made(record: CellRecord) -> str:
    """All that a record says of how a network was made and scored, and that is the same for each seed."""
    parts = ("architecture", "method", "training", "evaluation", "program")
    return record.model_dump_json(include=dict.fromkeys(parts, True) | {"spent": {"steps"}})


def _once(frame: pd.DataFrame, store: ResultStore, left: list[LeftOut]) -> pd.DataFrame:
    """The first cell of each row and seed, by name; others are left out, so that nothing counts twice."""
    again = frame.duplicated([*ROW, "seed"])
    cells = frame.loc[again, ["suite", "cell"]].drop_duplicates()
    for suite, cell in cells.itertuples(index=False):
        left.append(
            LeftOut(
                store.file(suite, "cells", cell).path, "is of the same row and seed as another run, counted already"
            )
        )
    return frame.drop(frame.index[frame["cell"].isin(cells["cell"])]) if len(cells) else frame


def _beyond(record: CellRecord, suite: str, path: Path) -> LeftOut:
    """Scores that are no numbers; without the primary one a cell has failed as far as its row's rank goes."""
    reason = f"{not_finite(record.not_finite)}; its other scores are counted"
    if any(metric.primary for metric in record.metrics.values()):
        return LeftOut(path, reason, in_part=True)
    return LeftOut(path, reason, _identity(record, suite), record.seed, in_part=True)


def _identity(record: CellRecord, suite: str) -> tuple[str, ...]:
    labels = (part.label for part in (record.architecture, record.benchmark, record.method))
    return suite, record.experiment, *labels, asked(record.density.requested)


class _Asks(NamedTuple):
    """What a suite asks for of a cell: a density, nan for none, or that of a match."""

    method: str
    density: float
    match: DensityMatch | None

    @classmethod
    def of(cls, record: CellRecord) -> _Asks:
        """From a cell's record."""
        requested, match = record.density.requested, record.density.match
        return cls(record.method.label, nan if requested is None or match is not None else requested, match)


def _named(row: ResultRow, asks: Mapping[tuple[str, str], _Asks]) -> ResultRow:
    """A match names a cell, and so a seed; a row needs the name of what all seeds are matched to.

    With the density that was asked for in the end, where that is matched as well: else rows of several would be one.
    The label is another one than the match has where it was changed since; where the cell is no longer there, that of
    another seed; where none is there, its name without the seed, which keeps rows apart that are matched to several.
    """

    def matched(match: DensityMatch) -> _Asks | None:
        names = (match.cell, hash_of(match.cell), without_seed(match.cell))
        return next((found for name in names if (found := asks.get((row.suite, name)))), None)

    own = asks[row.suite, row.cell]
    if own.match is None:
        return replace(row, density_asked=own.density)
    first = other = matched(own.match)
    passed: list[_Asks] = []  # files that somebody wrote may go in a circle
    while other is not None and other.match is not None and other not in passed:
        passed.append(other)
        other = matched(other.match)
    density = nan if other is None else other.density
    name = without_seed(own.match.cell) if first is None else f"{first.method} {asked(density)}".rstrip()
    return replace(row, density_asked=density, match=name + (f", {own.match.by}" if own.match.by else ""))


def _failure(record: CellRecord) -> str:
    failure = record.failure or CellFailure()
    if failure.type == Diverged.__name__ and failure.message:  # which says the step
        return f"{record.status}: {failure.message.splitlines()[0]}"
    step = f" at step {failure.step}" if failure.step is not None else ""
    text = ": ".join(part.splitlines()[0] for part in (failure.type, failure.message) if part)
    return f"{record.status}{step}" + (f": {text}" if text else "")
