"""Packing the finished cells of a suite, and unpacking them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError
from harness.results.archive import LINES, NAME, PACKED, SUFFIX, Archive, FileKind, folded, line_name, write_archive
from harness.results.cell_record import CellRecord
from harness.results.store import ResultStore
from harness.storage.atomic_files import write_bytes
from harness.storage.leases import Leases
from harness.storage.reading import read_bytes

Content = dict[FileKind, dict[str, bytes]]


@dataclass(slots=True)
class Packed:
    """What was done.

    Attributes:
        cells: cells in the archive now.
        removed: loose files that are packed now.
        left: cells that stay as files, with the reason.
        files: the archive's files.
    """

    cells: int = 0
    removed: int = 0
    left: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


def pack(store: ResultStore, suite: str, waiting: Callable[[], None] = lambda: None) -> Packed:
    """Pack the finished cells of a suite as last planned, with their curves, masks, samples and results by example.

    Loose files are removed when the archive has been read back. May be killed at any time and called again: until
    a loose file is gone it goes before the packed one, which is equal. Cells that finish meanwhile stay as files.

    Raises:
        CorruptFile: if there is an archive already that is damaged.
        StorageError: if the archive cannot be written; all files are then as they were.
    """
    with Leases(store.work / "leases").hold(f"archive-{suite}", waiting):
        archive, done = store.archive(suite), Packed()
        content = _content(archive)
        plan = store.plan(suite)
        planned = None if plan is None else set(plan.cells)
        loose: list[tuple[FileKind, str]] = []
        for cell in store.loose(suite):
            record = store.record(suite, cell)
            if not isinstance(record, CellRecord):
                done.left[cell] = record.reason
            elif planned is not None and cell not in planned:
                done.left[cell] = "not part of the suite as last planned"
            elif record.status != "done":
                done.left[cell] = record.status
            elif (files := _read(store, suite, record)) is None:
                done.left[cell] = "not as the harness writes it, so that packing would change it"
            else:
                for kind, name, data in files:
                    content[kind][name] = data
                    loose.append((kind, name))
        write_archive(archive.folder, content)
        again = _content(Archive(archive.folder))
        if again != content:
            raise HarnessError(f"{archive.folder} does not hold what was written: nothing was removed; try again")
        loose.sort(key=lambda file: file[0] == "cells")  # last: by records a later call finds what this one leaves
        for kind, name in dict.fromkeys(loose):
            path = store.file(suite, kind, name).path
            with suppress(FileNotFoundError):
                if path.read_bytes() == content[kind][name]:  # else it has been written again meanwhile
                    path.unlink()
                    done.removed += 1
        _tidy(store, suite)
        done.cells = len(content["cells"])
        done.files = sorted(archive.folder.iterdir()) if archive.folder.is_dir() else []
        return done


def unpack(store: ResultStore, suite: str, waiting: Callable[[], None] = lambda: None) -> int:
    """Make files of all that is packed, byte for byte, and remove the archive; how many there are.

    Raises:
        CorruptFile: if the archive is damaged; nothing is then removed.
        StorageError: if a file cannot be written.
    """
    with Leases(store.work / "leases").hold(f"archive-{suite}", waiting):
        archive = store.archive(suite)
        content = _content(archive)
        count = 0
        for kind in ("series", "masks", "samples", "examples", "cells"):
            for name, data in content[kind].items():
                path = store.file(suite, kind, name).path
                if not path.exists():
                    write_bytes(path, data)
                count += 1
        _drop(archive)
        return count


def forget(store: ResultStore, suite: str, cells: set[str]) -> None:
    """Remove cells from results, loose and packed ones, so that they are run again."""
    with Leases(store.work / "leases").hold(f"archive-{suite}", lambda: None):  # else one could be packed meanwhile
        for cell in cells:
            store.file(suite, "cells", cell).path.unlink(missing_ok=True)
        archive = store.archive(suite)
        if cells.isdisjoint(archive.names("cells")):
            return
        content = _content(archive)
        for kind in LINES:
            content[kind] = {name: data for name, data in content[kind].items() if name not in cells}
        write_archive(archive.folder, content)


@dataclass(slots=True)
class Superseded:
    """What a suite has of cells that its plan no longer names.

    Attributes:
        files: loose ones: records, and what belongs to no cell of the plan.
        packed: cells in the archive, which is written anew without them.
        cells: all of these that have a record.
    """

    files: list[Path] = field(default_factory=list)
    packed: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)


def superseded(store: ResultStore, suite: str) -> Superseded:
    """What is there of cells that are not part of the suite as last planned; nothing where there is no plan.

    Of masks those that no cell of the plan has; all stay where one of its records cannot be read.

    Raises:
        CorruptFile: if the archive is damaged.
    """
    plan, found = store.plan(suite), Superseded()
    if plan is None:
        return found
    keep = _kept(store, suite, set(plan.cells))
    for kind, names in keep.items():
        loose = (store.root / suite / kind).glob(f"*{SUFFIX[kind]}")
        found.files += sorted(p for p in loose if p.name[0] != "." and p.name.removesuffix(SUFFIX[kind]) not in names)
    found.files.sort(key=lambda path: path.parent.name != "cells")  # a record never stays without what belongs to it
    found.packed = sorted(store.packed(suite) - keep["cells"])
    found.cells = sorted((store.packed(suite) | store.loose(suite).keys()) - keep["cells"])
    return found


def remove_superseded(store: ResultStore, suite: str) -> Superseded:
    """Remove what :func:`superseded` finds now; what was removed. May be killed at any time and called again.

    Whoever calls it holds the lease ``archive-SUITE``, as :func:`pack` does.

    Raises:
        CorruptFile: if the archive is damaged; nothing is then removed.
        StorageError: if there is no room to write the archive anew; it is then as it was.
    """
    found, plan = superseded(store, suite), store.plan(suite)
    for path in found.files:
        path.unlink(missing_ok=True)
    if found.packed and plan is not None:
        archive = store.archive(suite)
        content, keep = _content(archive), _kept(store, suite, set(plan.cells))
        for kind, names in keep.items():
            content[kind] = {name: data for name, data in content[kind].items() if name in names}
        write_archive(archive.folder, content)
    _tidy(store, suite)
    return found


def _kept(store: ResultStore, suite: str, cells: set[str]) -> dict[FileKind, set[str]]:
    """Names of the files of these cells, by kind; without masks where it is not known which are theirs."""
    kinds: tuple[FileKind, ...] = ("cells", "series", "samples", "examples")
    keep: dict[FileKind, set[str]] = dict.fromkeys(kinds, cells)
    records = [store.record(suite, cell) for cell in cells & set(store.names(suite))]
    networks = {record.network for record in records if isinstance(record, CellRecord)}
    whole = all(isinstance(record, CellRecord) for record in records)
    return keep | ({"masks": {name for name in networks if name}} if whole else {})


def _content(archive: Archive) -> Content:
    """Everything that is packed."""
    found: Content = {}
    for kind in SUFFIX:
        found[kind] = {}
        for name in archive.names(kind):
            data = archive.read(kind, name)
            if data is None or not NAME.fullmatch(name):
                raise HarnessError(f"{archive.path(kind)} holds a file of the name {name!r}, which is none of a result")
            found[kind][name] = data
    return found


def _read(store: ResultStore, suite: str, record: CellRecord) -> list[tuple[FileKind, str, bytes]] | None:
    """All loose files of a finished cell; None if one of them would come back as other bytes."""
    own: tuple[FileKind, ...] = ("cells", "series", "samples", "examples")
    wanted: list[tuple[FileKind, str]] = [(kind, record.cell) for kind in own]
    if record.network:
        wanted.append(("masks", record.network))
    files: list[tuple[FileKind, str, bytes]] = []
    for kind, name in wanted:
        try:
            data = read_bytes(store.file(suite, kind, name).path)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        if not NAME.fullmatch(name):
            return None
        if kind in LINES:
            try:
                if line_name(folded(kind, data)) != name:
                    return None
            except (ValueError, RecursionError):
                return None
        files.append((kind, name, data))
    return files


def _tidy(store: ResultStore, suite: str) -> None:
    """Remove folders that are empty now."""
    for kind in SUFFIX:
        with suppress(OSError):
            (store.root / suite / kind).rmdir()


def _drop(archive: Archive) -> None:
    for name in PACKED:
        (archive.folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        archive.folder.rmdir()
