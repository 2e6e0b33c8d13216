"""A folder of results as a dataset repository: records as they are, tables as parquet, leaderboards, and a card.

Layout::

    README.md                    the card: what the dataset viewer needs, then answers and tables
    comparison.parquet           a row for each method and density, as ``harness compare --format parquet`` has them
    scores.parquet               a row for each metric of each finished cell, as ``harness.load(...).frame`` has them
    results/                     a results folder, which ``harness.load`` reads
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from harness.analysis.comparison_row import KEYS
from harness.errors import UserError, unknown_name
from harness.extras import require
from harness.registry.plugins import Registry
from harness.report.dataset_card import card
from harness.report.leaderboard import write_leaderboards
from harness.report.results import Results
from harness.results.archive import LINES, SUFFIX, ZIPS, FileKind, write_archive
from harness.results.cell_record import CellRecord
from harness.results.store import ResultStore
from harness.storage.atomic_files import write_bytes, write_text

KINDS: tuple[FileKind, ...] = ("cells", "series", "masks", "samples", "examples")


def write_dataset(
    store: ResultStore, suites: Sequence[str], folder: Path, repository: str, licence: str, registry: Registry
) -> list[str]:
    """Write the dataset of some suites into an empty or new folder; the same results give the same bytes.

    What a benchmark kept of each example is left out where it may quote its data, see
    :attr:`harness.Benchmark.quotes_data`. Nothing in the folder is pickled.

    Returns the names of the samples that were left out.

    Raises:
        UserError: if a suite has no results, or the folder holds something.
        CorruptFile: if an archive is damaged.
        StorageError: if a file cannot be written.
    """
    require("pyarrow", what="publishing")
    for suite in suites:
        if suite not in (known := store.suites()):
            raise UserError(unknown_name("suite", suite, known) + f" Looked in {store.root}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty: name another folder")
    results = ResultStore(folder / "results")
    quoting: list[str] = []
    for suite in dict.fromkeys(suites):
        left = _quoting(store, suite, registry)
        _copy(store, results, suite, left)
        quoting += sorted(left)
    found = Results({results.root: list(dict.fromkeys(suites))})
    if found.frame.empty:
        raise UserError(f"no finished run in {', '.join(suites)}: there is nothing to publish")
    write_leaderboards(results)
    _write_frame(folder / "scores.parquet", found.frame)
    _write_frame(folder / "comparison.parquet", found.compare().frame[list(KEYS)])
    write_text(folder / "README.md", card(results, found, repository, licence))
    return quoting


def _quoting(store: ResultStore, suite: str, registry: Registry) -> set[str]:
    """The cells whose samples may hold parts of data: all of which nobody says that they do not."""
    found = set()
    for cell in _names(store, suite, "samples"):
        record = store.read(suite, cell)
        if record is None or _quotes(record, registry):
            found.add(cell)
    return found


def _quotes(record: CellRecord, registry: Registry) -> bool:
    try:
        return bool(registry.get("benchmark", record.benchmark.plugin or "").quotes_data)
    except UserError:  # a plugin that is not here
        return True


def _copy(store: ResultStore, target: ResultStore, suite: str, quoting: Collection[str]) -> None:
    """What there is of a suite, loose and packed, byte for byte."""
    own, folder = store.root / suite, target.root / suite
    if (own / "suite.json").is_file():
        write_bytes(folder / "suite.json", (own / "suite.json").read_bytes())
    for kind in KINDS:
        for path in sorted((own / kind).glob(f"[!.]*{SUFFIX[kind]}")):
            if kind != "samples" or path.name.removesuffix(SUFFIX[kind]) not in quoting:
                write_bytes(folder / kind / path.name, path.read_bytes())
    archive = store.archive(suite)
    packed = {kind: set(archive.names(kind)) for kind in KINDS}
    if not packed["samples"] & set(quoting):
        for name in {*LINES.values(), *ZIPS.values()}:
            if (archive.folder / name).is_file():
                write_bytes(folder / "archive" / name, (archive.folder / name).read_bytes())
        return
    content: dict[FileKind, dict[str, bytes]] = {}
    for kind in KINDS:
        names = packed[kind] - set(quoting) if kind == "samples" else packed[kind]
        content[kind] = {name: data for name in names if (data := archive.read(kind, name)) is not None}
    write_archive(folder / "archive", content)


def _names(store: ResultStore, suite: str, kind: FileKind) -> list[str]:
    loose = {path.name.removesuffix(SUFFIX[kind]) for path in (store.root / suite / kind).glob(f"*{SUFFIX[kind]}")}
    return sorted(loose | set(store.archive(suite).names(kind)))


def _write_frame(path: Path, frame: pd.DataFrame) -> None:
    """As parquet, with labels as plain texts and what is nested as JSON: what a dataset viewer reads."""
    categories = [name for name, kind in frame.dtypes.items() if isinstance(kind, pd.CategoricalDtype)]
    plain = frame.astype(dict.fromkeys(categories, str))
    nested = [name for name in plain if any(isinstance(value, Mapping) for value in plain[name])]
    for name in nested:
        plain[name] = [json.dumps(value) if isinstance(value, Mapping) else value for value in plain[name]]
    path.parent.mkdir(parents=True, exist_ok=True)
    plain.to_parquet(path, index=False)
