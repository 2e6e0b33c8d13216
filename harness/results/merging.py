"""Results of several machines in one folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UserError
from harness.results.agreement import agreements, environments, failing
from harness.results.archive import FileKind
from harness.results.cell_record import CellRecord
from harness.results.store import LeftOut, ResultStore
from harness.results.suite_plan import SuitePlan
from harness.storage.atomic_files import write_bytes


@dataclass(slots=True)
class Merged:
    """What one suite's folders have in all.

    Attributes:
        plan: the suite's, None if no folder has one.
        cells: cell -> the store whose files count.
        twice: how many cells several folders have, which agree.
        conflicts: cell -> in what two folders disagree about it.
        left_out: damaged records.
    """

    plan: SuitePlan | None = None
    cells: dict[str, ResultStore] = field(default_factory=dict)
    twice: int = 0
    conflicts: dict[str, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)


def merged(stores: Sequence[ResultStore], suite: str) -> Merged:
    """What a merge of a suite would give; writes nothing.

    Of two records of a cell a finished one counts before a failed one, else the first; two finished ones must agree as
    ``harness reproduce`` asks of a repetition. Cells of one stage must have the same masks: it may have been trained in
    two folders, to other bits.

    Raises:
        UserError: if the folders' plans of the suite have cells that the others' lack.
        CorruptFile: if an archive is damaged.
    """
    found = Merged(_plan(stores, suite))
    records: dict[str, CellRecord] = {}
    for store in stores:
        for record in store.records(suite):
            if isinstance(record, LeftOut):
                found.left_out.append(record)
                continue
            before = records.get(record.cell)
            if before is not None and before.status == record.status == "done":
                found.twice += 1
                wrong = failing(agreements(before, record), before, record, environments(before, record))
                if wrong:
                    where = f"{found.cells[record.cell].root} and {store.root}"
                    found.conflicts[record.cell] = f"{wrong[0].name}: {wrong[0].was} and {wrong[0].now} in {where}"
            elif before is None or record.status == "done":
                records[record.cell], found.cells[record.cell] = record, store
    masks: dict[str, bytes | None] = {}
    for cell, store in found.cells.items():
        network = records[cell].network
        if network is not None:
            file = store.file(suite, "masks", network)
            own = hashlib.sha256(file.read()).digest() if file.exists else None
            if masks.setdefault(network, own) != own:
                found.conflicts[cell] = f"its masks, of stage {network}, in {store.root} and for other runs elsewhere"
    return found


def write_merged(found: Merged, target: ResultStore, suite: str) -> None:
    """Write the files of a suite's cells and its plan, each record after what belongs to it.

    Raises:
        CorruptFile: if an archive is damaged.
        StorageError: if a file cannot be written.
    """
    for cell, store in found.cells.items():
        for kind, name in _files(store, suite, cell):
            file = store.file(suite, kind, name)
            if file.exists:
                write_bytes(target.file(suite, kind, name).path, file.read())
    if found.plan is not None:
        target.write_plan(suite, found.plan)


def _files(store: ResultStore, suite: str, cell: str) -> Iterator[tuple[FileKind, str]]:
    record = store.read(suite, cell)
    if record is not None and record.network:
        yield "masks", record.network
    yield from (("series", cell), ("samples", cell), ("examples", cell), ("cells", cell))


def _plan(stores: Sequence[ResultStore], suite: str) -> SuitePlan | None:
    """The plan with all cells of all plans, of several the one that waits for fewest."""
    plans = [(store.root, plan) for store in stores if (plan := store.plan(suite)) is not None]
    if not plans:
        return None
    every = {cell for _, plan in plans for cell in plan.cells}
    whole = [plan for _, plan in plans if every <= set(plan.cells)]
    if not whole:
        where = " and ".join(str(Path(root)) for root, _ in plans)
        raise UserError(
            f"suite '{suite}' was planned with other runs in {where}: bring the suite's file and the harness to one "
            "version there, and run `harness run SUITE --only ...` once more, which plans anew and repeats nothing"
        )
    return min(whole, key=lambda plan: plan.waiting)
