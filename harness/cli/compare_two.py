"""``harness compare A B``: two results folders, or revisions of one, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.fitting import terminal_width

if TYPE_CHECKING:
    import pandas as pd

    from harness.report.changes import Changes
    from harness.results.cell_pairs import CellPair
    from harness.results.cell_record import CellRecord
    from harness.results.snapshot import Snapshot

OPTIONS = (
    "methods",
    "suite",
    "metric",
    "experiment",
    "benchmark",
    "architecture",
    "form",
    "latex",
    "wide",
    "results",
)
"""Parameters of the command that mean something with two sources."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Labels of what to compare; all by default."""

    methods: Sequence[str] = ()
    suite: str | None = None
    experiment: str | None = None
    benchmark: str | None = None
    architecture: str | None = None
    metric: str | None = None

    def __contains__(self, record: CellRecord) -> bool:
        return (
            (not self.methods or record.method.label in self.methods)
            and self.experiment in (None, record.experiment)
            and self.benchmark in (None, record.benchmark.label)
            and self.architecture in (None, record.architecture.label)
        )


def compare_two(names: Sequence[str], results: Path | None, wanted: Wanted) -> Changes:
    """What two sources say of each cell.

    Args:
        names: of the two, folders or revisions.
        results: the folder that revisions are of, None where none was named.
        wanted: what to compare.

    Raises:
        UserError: for a source that is neither, an unknown label, or if nothing is left.
    """
    from harness.errors import UserError
    from harness.results.snapshot import is_folder, snapshot

    if len(names) != 2:
        which = "alone" if len(names) == 1 else "and others"
        raise click.UsageError(f"'{names[0]}' {which}: give two, A and B, or none")
    if results is not None and all(map(is_folder, names)):
        raise click.UsageError("--results says which folder a revision is of, and A and B are folders both")
    with ExitStack() as opened:
        a, b = (opened.enter_context(snapshot(name, results or Path("results"), wanted.suite)) for name in names)
        found = _changes(a, b, wanted)
    if not found.pairs:
        raise UserError("no run of A or B matches all of these options")
    return found


def _changes(a: Snapshot, b: Snapshot, wanted: Wanted) -> Changes:
    from harness.analysis.changes import row_changes
    from harness.errors import UserError, unknown_name
    from harness.report.changes import Changes
    from harness.results.cell_pairs import Fate, cell_pairs

    if a.alone and b.alone:  # two folders of one suite each, whatever they are called
        suites = [(*a.suites, *b.suites)]
    else:
        meant = next((one.suites for one in (a, b) if one.alone), {*a.suites, *b.suites})
        suites = [(name, name) for name in sorted(meant)]
    if wanted.suite is not None:
        if wanted.suite not in (known := {*a.suites, *b.suites}):
            raise UserError(unknown_name("suite", wanted.suite, known))
        suites = [names for names in suites if wanted.suite in names]
    records = [(names, _records(a, names[0]), _records(b, names[1])) for names in suites]
    wanted = _known(wanted, [record for _, *both in records for found in both for record in found])
    pairs: list[CellPair] = []
    frames: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    for names, *both in records:
        one, other = ([record for record in found if record in wanted] for found in both)
        found = list(cell_pairs(names[1], one, other))
        pairs += found
        if one and other and any(pair.fate is not Fate.EQUAL or pair.retimed for pair in found):
            frames.append((_frame(a, names[0], one, wanted).assign(suite=names[1]), _frame(b, names[1], other, wanted)))
    return Changes(a.name, b.name, pairs, row_changes(*map(_joined, zip(*frames, strict=True))) if frames else [])


def _records(source: Snapshot, suite: str) -> list[CellRecord]:
    """Those that count, without trials, which only choose settings; what cannot be read is named on stderr."""
    from harness.formatting import fitted
    from harness.results.store import OBSOLETE, LeftOut

    plan = source.store.plan(suite) if suite in source.suites else None
    trials = plan.trials if plan else frozenset()
    found = []
    for record in source.store.records(suite) if suite in source.suites else ():
        if not isinstance(record, LeftOut):
            found += [record] if record.cell not in trials else []
        elif not record.reason.startswith(OBSOLETE):
            where = record.path.relative_to(source.store.root)
            click.echo(fitted(f"not counted: {source.name}: {where}: {record.reason}", terminal_width()), err=True)
    return found


def _known(wanted: Wanted, records: Sequence[CellRecord]) -> Wanted:
    """With the rows that labels of sweeps mean; raises UserError for a label that no record has."""
    from harness.errors import UserError, unknown_name
    from harness.suites.sweeps import meant

    methods = {record.method.label for record in records}
    wanted = replace(wanted, methods=[row for name in wanted.methods for row in meant(name, sorted(methods)) or [name]])
    for what, names, known in (
        ("method", wanted.methods, methods),
        ("experiment", [wanted.experiment], {record.experiment for record in records}),
        ("benchmark", [wanted.benchmark], {record.benchmark.label for record in records}),
        ("architecture", [wanted.architecture], {record.architecture.label for record in records}),
        ("metric", [wanted.metric], {metric for record in records for metric in record.metrics}),
    ):
        for name in names:
            if name is not None and name not in known:
                raise UserError(unknown_name(what, name, known) + " These are the names in A and B.")
    return wanted


def _frame(source: Snapshot, suite: str, records: Sequence[CellRecord], wanted: Wanted) -> pd.DataFrame:
    """Scores of these cells: by the metric that is asked for, else by the primary one and by clocks."""
    from harness.analysis.frame import load

    frame, _ = load(source.store, [suite])
    frame = frame[frame["cell"].isin([record.cell for record in records])]
    primary = frame["primary"].astype(bool) | frame["timed"].astype(bool)
    return frame[primary if wanted.metric is None else frame["metric"] == wanted.metric]


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(frames, ignore_index=True)
