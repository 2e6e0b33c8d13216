"""Everything that a page shows, made from a results folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.frame import load, missing
from harness.report.html.board_data import page_boards, plain_table
from harness.report.html.cells import CountedCell, cells, evaluations, networks, title
from harness.report.html.curves import curves
from harness.report.html.figures import Figures
from harness.report.html.masks import masks
from harness.report.html.packing import packed
from harness.report.html.records import Records, read_records
from harness.report.html.samples import LIMIT as TEXT_LIMIT
from harness.report.html.samples import texts
from harness.report.html.section import RunSection, fill
from harness.report.html.training import LIMIT as TRAINING_LIMIT
from harness.report.html.training import densities
from harness.report.leaderboard import reproduce
from harness.report.mask_agreements import agreement_tables
from harness.report.networks import network_tables
from harness.report.settling import settled
from harness.report.tuning import tuning_tables
from harness.results.result_file import ResultFile
from harness.results.store import OBSOLETE, LeftOut, ResultStore


@dataclass(frozen=True, slots=True)
class PageData:
    """What goes into a page: script id -> packed JSON, figures, suites' names; and what of these is not counted."""

    scripts: Mapping[str, str]
    figures: Figures
    suites: Sequence[str]
    left: Sequence[LeftOut]


def page_data(store: ResultStore, wanted: Sequence[str] | None = None) -> PageData:
    """The data of a page about some suites (default: all); equal files give equal data.

    Raises:
        UserError: if a suite has no results.
    """
    suites = store.suites() if wanted is None else sorted(set(wanted))
    frame, left = load(store, sorted({*store.suites(), *suites}))
    figures = Figures(frame, store)  # of all suites, so that a method has the same colour in every page
    frame = frame[frame["suite"].isin(suites)]
    left = [item for item in left if item.path.relative_to(store.root).parts[0] in suites]
    counted = set(zip(frame["suite"], frame["cell"], strict=True))
    obsolete = {item.path for item in left if item.reason.startswith(OBSOLETE)}
    files = [store.file(suite, "cells", cell) for suite in suites for cell in store.names(suite)]
    records = read_records([file for file in files if file.path not in obsolete], counted)
    found = cells(frame, records.numbers, records.counted)
    runs = networks(found)

    shown = list(page_boards(frame, left, records.numbers))
    drawn = [table for _, table in shown]
    noted = {id(one.rows): one for one in settled(store, drawn)}
    boards = []
    for board, table in shown:
        one = noted.get(id(table))
        pictures = [*figures.of_table(table), *(figures.of_settling(one) if one else ())]
        boards.append({**board, "figures": pictures, "settling": plain_table(one.table) if one else None})

    def training(_: ResultFile, cell: CountedCell) -> dict[str, Any] | None:
        return densities(store.series(cell.suite, cell.name), cell, records.counted.get((cell.suite, cell.name)))

    not_counted = left
    sections = {
        "training": fill(runs, lambda cell: store.file(cell.suite, "series", cell.name), training, TRAINING_LIMIT),
        "masks": masks(store, runs),
        "samples": fill(
            evaluations(found), lambda cell: store.file(cell.suite, "samples", cell.name), texts, TEXT_LIMIT
        ),
    }
    for section in sections.values():
        left = [*left, *section.left]

    drawn_networks = _networks(store, drawn, found, figures, records)
    tested = _tested(found)
    index = {
        "suites": [_suite(store, suite, frame, left, records) for suite in suites],
        "newest": records.newest,
        "looks": figures.looks(),
        "curves": [{**group, "figures": shown} for group, _, shown in drawn_networks],
        "sections": {name: _described(section, tested) for name, section in sections.items()},
        "records": records.names,
    }
    scripts = {"data-index": packed(index), "data-boards": packed(boards)}
    scripts |= {f"data-curves-{number}": packed(panels) for number, (_, panels, _) in enumerate(drawn_networks)}
    for name, section in sections.items():
        scripts |= {f"data-{name}-{number}": chunk for number, chunk in enumerate(section.chunks)}
    scripts |= {f"data-records-{number}": chunk for number, chunk in enumerate(records.chunks)}
    return PageData(scripts, figures, suites, not_counted)


def _described(section: RunSection, tested: Mapping[str, set[str]]) -> dict[str, Any]:
    groups = [{**group, "benchmarks": sorted(tested.get(group["title"], ()))} for group in section.groups]
    return {"groups": groups, "notes": section.notes, "overview": section.overview}


def _tested(found: Sequence[CountedCell]) -> Mapping[str, set[str]]:
    """On which benchmarks the networks of a group are tested, by its title."""
    tested: dict[str, set[str]] = {}
    for cell in found:
        for names in (cell.run, (*cell.run[:3], cell.benchmark)):
            tested.setdefault(title(names), set()).add(cell.benchmark)
    return tested


Networks = tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]


def _networks(
    store: ResultStore,
    tables: Sequence[Sequence[ComparisonRow]],
    found: Sequence[CountedCell],
    figures: Figures,
    records: Records,
) -> list[Networks]:
    """What is shown of each experiment's networks: what they are, curves, figures.

    Tables of equal networks that are evaluated on different benchmarks share them.
    """
    sharing: dict[tuple[str, ...], list[Sequence[ComparisonRow]]] = {}
    for table in tables:
        sharing.setdefault(table[0].take("suite", "experiment", "architecture", "trained_on"), []).append(table)
    named = {(cell.suite, cell.name): cell for cell in found}
    groups = []
    for names, (table, *others) in sorted(sharing.items()):
        own = [named[row.suite, cell] for row in table for cell in row.cells if (row.suite, cell) in named]
        panels, shown = curves(store, table), figures.of_networks(own, records.counted)
        benchmarks = sorted({one[0].benchmark for one in (table, *others)})
        members = [{"method": row.method, "density": row.density_mask} for row in table]
        about = {
            "title": title(names),
            "suite": names[0],
            "architecture": names[2],
            "benchmarks": benchmarks,
            "members": members,
        }
        if panels or shown:
            groups.append((about, panels, shown))
    return groups


def _where(store: ResultStore, suite: str, item: LeftOut) -> Path:
    """The file that is left out, or the archive that holds it."""
    if item.path.exists() or item.cell is None:
        return item.path
    return store.file(suite, "cells", item.cell).where


def _suite(
    store: ResultStore, suite: str, frame: pd.DataFrame, left: Sequence[LeftOut], records: Records
) -> dict[str, Any]:
    """A suite's header: what it is, how to get the same, and what is not counted with the reason."""
    plan = store.plan(suite)
    own = frame[frame["suite"] == suite]
    files = [item for item in left if item.path.is_relative_to(store.root / suite)]
    current = [item for item in files if not item.reason.startswith(OBSOLETE)]
    records_left = [item for item in files if item.cell is not None]
    return {
        "name": suite,
        "description": plan.description if plan else "",
        "command": reproduce(plan, suite),
        "facts": {
            name: sorted(filter(None, map(str, own[column].unique())))
            for name, column in (("Versions", "versions"), ("Git revision", "revision"), ("Device", "device"))
        },
        "counted": int(own["cell"].nunique()),
        "left": [
            [
                _where(store, suite, item).relative_to(store.root).as_posix(),
                item.reason,
                None if item.cell is None else records.numbers.get((suite, item.cell)),
            ]
            for item in current
        ],
        "failed": sum(item in records_left for item in current),
        "missing": missing(store, suite, own, records_left),
        "obsolete": len(files) - len(current),
        "masks": store.has_any(suite, "masks"),
        "networks": [plain_table(table) for table in network_tables(store, suite, own, asked_only=True)],
        "tuning": [plain_table(table) for table in tuning_tables(store, suite)],
        "agreements": [plain_table(table) for table in agreement_tables(store, suite)],
    }
