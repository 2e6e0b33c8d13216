"""Leaderboards: markdown that is a pure function of result files, byte for byte."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from rich.console import Console

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.frame import load, missing
from harness.report.boards import Board, boards
from harness.report.cell_texts import titled
from harness.report.costs import TIME
from harness.report.figures import frontier, pruning_curve, settling_curves, training_curves
from harness.report.figures.series import training_series
from harness.report.mask_agreements import agreement_tables
from harness.report.networks import network_tables
from harness.report.palette import Style, apart, palette_of
from harness.report.settling import Settled, settled
from harness.report.tables import Table, code, details, escape, markdown, print_tables
from harness.report.tuning import tuning_tables
from harness.results.store import OBSOLETE, LeftOut, ResultStore
from harness.results.suite_plan import SuitePlan
from harness.storage.atomic_files import write_text

READING = """## How to read the tables

- The **answer** comes first: the suite's questions, or each method against its control, tested over seeds and, where \
their results are kept, over test examples. It never says more than the table's tests. How \
the numbers are made is in the harness's docs/statistics.md.
- **density** is the fraction of weights that the tested network's mask keeps, within the scope named under the table: \
1 for one that is tested with soft masks, whose mean value stands beside it. Rows whose densities differ between seeds \
have no mean; scores and densities stand seed by seed below. **Non-zero** is the fraction of the same weights that are \
not 0 in that network; **parameters left** are those of the whole network that are not 0, biases and norms included.
- **±** is half of a 95 % interval on the scale named under the table, taken back; where its halves \
differ by more than a fifth, both ends are given. **Differences** are paired; **p** is adjusted by Holm's procedure \
over the questions.
- **rank** is the range of ranks that the data allows among the rows of equal density and training budget (densities \
within 5 % of each other in every seed, examples, tokens and FLOPs within 1 %; a smaller network without a mask stands \
with those that have as many parameters left). All pairs of a group are its family, so that all ranges hold together \
with 95 % confidence. **Bold** rows are not beaten, where any is, and have intervals that meet the best one's. Rows \
without a rank are references (nothing masked), have one seed only, failed seeds or densities of their own, or no rival.
- **cut** and **constant** count seeds whose output does not depend on the input. They are never left out of a mean; a \
row of such seeds alone loses to every other one and has no order among its like.
- Failed, diverged and missing runs are listed, never averaged. Different protocols never share a table.
"""
_HEADLINE = 5  # the overview keeps columns up to this ``drop``
_ALT = {
    "pruning": "the metric by density and method",
    "frontier": "the metric against its cost, the efficient rows joined",
    "time": "the metric against measured time, the efficient rows joined",
    "training": "training loss against step, a line for each method",
    "settling": "likeness of the masks to the final ones, distance of the weights, and score, against the training",
}


def write_leaderboards(
    store: ResultStore, suites: Iterable[str] | None = None, tell: Callable[[Sequence[LeftOut]], None] | None = None
) -> list[Path]:
    """Write ``<suite>/leaderboard.md`` and its figures of the given suites (default: all), and ``LEADERBOARD.md``.

    Returns the paths of the pages. ``tell`` is given what of these suites is not counted. The same result files of a
    suite always give the same page of it, and the same figures, whatever other suites there are.

    Raises:
        UserError: if a suite has no results.
        StorageError: if a file cannot be written.
    """
    known = store.suites()
    wanted = known if suites is None else sorted(set(suites))
    frame, left = load(store, sorted({*known, *wanted}))
    paths, named = [], list[LeftOut]()
    for suite in wanted:
        paths.append(store.root / suite / "leaderboard.md")
        own = _of_suite(frame, left, store, suite)
        write_text(paths[-1], _suite_page(store, suite, *own))
        named += own[1]
    parts = ["# Leaderboards\n\nThe primary metrics of every suite; each suite's own page has the details.\n"]
    if (store.root / "CLAIMS.md").is_file():
        parts.append("What papers claim beside what was measured: [CLAIMS.md](CLAIMS.md).\n")
    for suite in known:
        parts.append(_headline(store, suite, *_of_suite(frame, left, store, suite)))
    paths.append(store.root / "LEADERBOARD.md")
    write_text(paths[-1], "\n".join([*parts, READING]))
    if tell is not None:
        tell(named)
    return paths


def terminal_tables(store: ResultStore, suite: str, console: Console, width: int | None) -> None:
    """Print the tables of a suite, None for whole ones, and the cells that lack another score than the primary one."""
    frame, left = load(store, [suite])
    shown = list(boards(frame, left))
    print_tables((board.primary for board in shown), console, width)
    noted = settled(store, (board.rows for board in shown))
    print_tables((replace(found.table, detail=None) for found in noted), console, width)
    print_tables(agreement_tables(store, suite), console, width)
    between = network_tables(store, suite, frame, asked_only=True)
    print_tables((replace(table, detail=None) for table in between), console, width)
    print_tables((replace(table, detail=None) for table in tuning_tables(store, suite)), console, width)
    counted = set(frame["cell"])
    for item in left:
        if item.cell in counted and not item.unscored:
            console.print(f"{item.cell}: {item.reason}", highlight=False)


def _suite_page(store: ResultStore, suite: str, frame: pd.DataFrame, left: Sequence[LeftOut]) -> str:
    figures = _Figures(store, suite, palette_of(frame))
    parts = [f"# Leaderboard: {escape(suite)}\n", *_introduction(store, suite, frame, left)]
    shown = list(boards(frame, left))
    for board in shown:
        parts += [f"## {escape(board.primary.title)}\n", markdown(board.primary), figures.shown(board)]
        parts += [_folded(table) for table in (board.questions, board.others, board.noise, board.cost) if table]
        parts.append(figures.folded(board))
    for found in settled(store, (board.rows for board in shown)):
        parts += [f"## {escape(found.table.title)}\n", markdown(replace(found.table, detail=None))]
        parts += [figures.settling(found), _folded(found.table.detail) if found.table.detail else ""]
    for table in agreement_tables(store, suite):
        parts.append(f"## {escape(table.title)}\n\n{markdown(table)}")
    for table in network_tables(store, suite, frame):
        parts.append(f"## {escape(table.title)}\n\n{markdown(replace(table, detail=None))}")
        parts += [_folded(table.detail)] if table.detail else []
    for table in tuning_tables(store, suite):
        parts.append(f"## {escape(table.title)}\n\n{markdown(replace(table, detail=None))}")
        parts += [_folded(table.detail)] if table.detail else []
    parts.append(_not_counted(store, suite, frame, left))
    figures.tidy()
    return "\n".join([*filter(None, parts), READING])


class _Figures:
    """The SVG files of one suite's page; what a page no longer shows is deleted."""

    def __init__(self, store: ResultStore, suite: str, styles: Mapping[str, Style]) -> None:
        self._store, self._styles = store, styles
        self._folder = store.root / suite / "figures"
        self._written: set[str] = set()
        self._trained: set[tuple[str, ...]] = set()

    def shown(self, board: Board) -> str:
        """The pruning curve, as markdown."""
        return self._image(board.primary.title, "pruning", pruning_curve(board.rows, self._looks(board.rows)))

    def folded(self, board: Board) -> str:
        """The efficiency frontier and, once for each training, its curves."""
        styles = self._looks(board.rows)
        images = [self._image(board.primary.title, "frontier", frontier(board.rows, styles))]
        timed = frontier(board.rows, styles, cost=TIME)
        images.append(self._image(board.primary.title, "time", timed))
        first = board.rows[0]
        training = (first.experiment, first.architecture, first.trained_on)
        if training not in self._trained:
            self._trained.add(training)
            series = training_series(self._store, board.rows)
            images.append(self._image(board.primary.title, "training", training_curves(series, styles)))
        return details("Frontier and training curves", "\n".join(filter(None, images))) if any(images) else ""

    def settling(self, found: Settled) -> str:
        """Masks, weights and score against the training, as markdown."""
        drawn = settling_curves(found.noted, self._looks(found.rows), metric=f"{found.rows[0].metric} while training")
        return self._image(titled(found.rows), "settling", drawn)

    def _looks(self, rows: Iterable[ComparisonRow]) -> Mapping[str, Style]:
        return apart(self._styles, (row.method for row in rows))

    def tidy(self) -> None:
        """Delete the figures of tables that are no more."""
        for path in self._folder.glob("*.svg"):
            if path.name not in self._written:
                path.unlink(missing_ok=True)

    def _image(self, title: str, kind: str, drawn: str | None) -> str:
        if drawn is None:
            return ""
        words = re.findall(r"[A-Za-z0-9]+", f"{title} {kind}")
        stem = "-".join(words)[:100]
        alike = sum(name == f"{stem}.svg" or name.startswith(f"{stem}.") for name in self._written)
        name = f"{stem}.{alike + 1}.svg" if alike else f"{stem}.svg"  # two protocols of one benchmark, say
        self._written.add(name)
        path = self._folder / name
        if not path.is_file() or path.read_bytes() != drawn.encode():
            write_text(path, drawn)
        return f"![{escape(f'{title}: {_ALT[kind]}')}](figures/{quote(name)})\n"


def _folded(table: Table) -> str:
    return details(table.title, markdown(table))


def _headline(store: ResultStore, suite: str, frame: pd.DataFrame, left: Sequence[LeftOut]) -> str:
    parts = [f"## [{escape(suite)}]({quote(suite)}/leaderboard.md)\n", *_introduction(store, suite, frame, left)]
    for board in boards(frame, left):
        table = board.primary
        kept = [i for i, column in enumerate(table.columns) if column.drop <= _HEADLINE]
        columns, cells = [table.columns[i] for i in kept], [[row[i] for i in kept] for row in table.rows]
        short = Table(table.title, columns, cells, table.notes, table.bold, table.answer)
        parts.append(f"### {escape(table.title)}\n\n{markdown(short)}")
    return "\n".join(parts)


def reproduce(plan: SuitePlan | None, suite: str) -> str:
    """The command that makes a suite's results again, fit for a shell."""
    path, options = (plan.path, plan.options) if plan else ("", [])
    if not path or Path(path).is_absolute():  # an absolute path means nothing on another machine
        path = f"suites/{suite}.yaml"
    return " ".join(["harness run", *map(shlex.quote, [path, *options])])


def _introduction(store: ResultStore, suite: str, frame: pd.DataFrame, left: Sequence[LeftOut]) -> list[str]:
    plan = store.plan(suite)
    parts = [f"{escape(plan.description)}\n"] if plan and plan.description else []
    parts.append(f"- Reproduce with {code(reproduce(plan, suite))}.")
    parts.append(
        "- A run's record: `harness show EXPERIMENT.ARCHITECTURE.BENCHMARK.METHOD.sSEED`, with `.dDENSITY` before the "
        "seed where one was asked for."
    )
    for what, column in (("Versions", "versions"), ("Git revision", "revision"), ("Device", "device")):
        if found := sorted(filter(None, frame[column].unique())):
            parts.append(f"- {what}: {escape('; '.join(found))}.")
    counted = set(frame["cell"])
    failed = sum(not item.reason.startswith(OBSOLETE) and item.cell not in {None, *counted} for item in left)
    unfinished = f"{len(missing(store, suite, frame, left))} not finished"
    if plan and plan.waiting:
        unfinished += f", {plan.waiting} wait for the trials that choose their settings"
    parts.append(f"- Runs: {frame['cell'].nunique()} counted, {failed} failed, {unfinished}.\n")
    return parts


def _not_counted(store: ResultStore, suite: str, frame: pd.DataFrame, left: Sequence[LeftOut]) -> str:
    current = [item for item in left if not item.reason.startswith(OBSOLETE)]
    lines = [f"- {escape(item.cell or item.path.name)}: {escape(item.reason)}" for item in current]
    lines += [f"- {escape(cell)}: not finished yet" for cell in missing(store, suite, frame, left)]
    if superseded := len(left) - len(current):
        lines.append(f"- {superseded} further files belong to runs that the suite no longer has")
    return "## Runs that are not counted\n\n" + "\n".join(lines) + "\n" if lines else ""


def _of_suite(
    frame: pd.DataFrame, left: Sequence[LeftOut], store: ResultStore, suite: str
) -> tuple[pd.DataFrame, list[LeftOut]]:
    own = [item for item in left if item.path.is_relative_to(store.root / suite)]
    return frame[frame["suite"] == suite], own
