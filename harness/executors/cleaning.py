"""What of a results folder nobody needs any more, and its removal."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import CorruptFile, HarnessError, StorageError, UserError
from harness.executors import slurm_queue
from harness.executors.completion import Completion
from harness.executors.live_files import Beat, read_live
from harness.executors.run_status import alive
from harness.executors.submissions import Submissions
from harness.executors.tuning import settle
from harness.formatting import count
from harness.machine import machine
from harness.registry.plugins import load
from harness.results.archive import SUFFIX
from harness.results.cell_record import CellRecord
from harness.results.packing import Superseded, remove_superseded, superseded
from harness.results.store import ResultStore
from harness.results.suite_plan import SuitePlan
from harness.stages.graph import compile_graph
from harness.stages.store import StageStore
from harness.storage.leases import LARGEST, Leases
from harness.storage.reading import read_object
from harness.suites.suite import load_suite

SILENT = 86_400.0
"""Seconds without a sign of life from another machine after which it is dead: clocks differ by less."""
OLD = 3_600.0
"""Seconds since its last change after which a temporary file is a leftover: whoever writes one changes it sooner."""
_TEMPORARY = re.compile(r"\.(.+\.\w{8}|[0-9a-f]{32})\.tmp")
_STAGE = re.compile(r"[0-9a-f]{32}")

Sign = tuple[str | None, str]
"""What somebody who works here works on, a suite or None for any, and who that is."""


@dataclass(slots=True)
class Cleaning:
    """What may go, or what has gone, and what stays.

    Attributes:
        cells: suite -> what it has of cells that its plan no longer names.
        stages: folders of stages, finished ones and checkpoints, that no record and no planned cell needs.
        files: temporary files that were never finished, leases and heartbeats of the dead.
        kept: what is left alone, and why.
        needed: number of stages that a record or a planned cell needs.
    """

    cells: dict[str, Superseded] = field(default_factory=dict)
    stages: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    needed: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to remove."""
        return not (self.cells or self.stages or self.files)


def find(store: ResultStore, suite: str | None = None, records: bool = True, stages: bool = True) -> Cleaning:
    """What nobody needs; changes nothing.

    Args:
        store: the results folder.
        suite: only what is surely this suite's; of stages those that its superseded records name.
        records, stages: whether to look for superseded cells and for stages.
    """
    found, signs = Cleaning(), list(_signs(store.work))
    suites = store.suites() if suite is None else [suite]
    gone, kept = _superseded(store, suites, signs)
    if records:
        found.cells, found.kept = gone, kept
    if stages:
        own = None if suite is None else _named(store, suite, gone[suite].cells if suite in gone else ())
        _find_stages(store, found, signs, own)
    found.files = sorted(_temporary(store, suites)) + ([] if suite else sorted(_of_the_dead(store.work)))
    return found


def remove(store: ResultStore, found: Cleaning) -> Cleaning:
    """Remove what :func:`find` has found and nobody has begun to need; what has gone.

    Each thing is looked at again, and removed under its lease. A stage that is half removed does not count as finished.
    May be killed at any time and called again, by two at once as well; a full disk does not keep it from removing.

    Raises:
        CorruptFile: if an archive is damaged.
        StorageError: if there is no room to write an archive anew; it is then as it was.
    """
    done, stages, leases = Cleaning(), StageStore(store.work), Leases(store.work / "leases")
    dead = set(_of_the_dead(store.work))
    for path in found.files:
        if path in dead or _left(path):
            path.unlink(missing_ok=True)
            done.files.append(path)
    for folder in found.stages:
        if busy := _busy(_signs_here(store.work)):
            done.kept.append(f"stages: {busy}")
            break
        with _held(leases, folder.name) as free:
            if free:
                stages.discard(folder.name)
        if folder.exists():
            done.kept.append(f"{folder}: {'it cannot be removed' if free else 'it is in use'}")
        else:
            done.stages.append(folder)
    for suite in found.cells:
        if busy := _busy(_signs_here(store.work), suite):
            done.kept.append(f"runs of {suite}: {busy}")
            continue
        with _held(leases, f"archive-{suite}") as free:
            if free:
                done.cells[suite] = remove_superseded(store, suite)
            else:
                done.kept.append(f"runs of {suite}: they are being packed")
    return done


# --- who works here --------------------------------------------------------------------------


def _busy(signs: Iterable[Sign], suite: str | None = None) -> str:
    """Who works on a suite, or on anything where none is given; "" if nobody."""
    return next((who for of, who in signs if suite is None or of in (suite, None)), "")


def _signs(work: Path) -> Iterator[Sign]:
    yield from _signs_here(work)
    for folder in sorted((work / "slurm").glob("*")):
        submissions = Submissions(work, folder.name)
        jobs = {element.slurm for element in submissions.elements()}
        jobs -= {job for job in jobs if (submissions.progress(job) or {}).get("ended")}
        if not jobs:
            continue
        try:
            if not slurm_queue.available():
                raise HarnessError("there is no squeue on this machine")
            live = sorted(job for job, state in slurm_queue.states(jobs).items() if state.live)
        except HarnessError as error:
            yield folder.name, f"SLURM jobs of {folder.name} may live ({error})"
        else:
            if live:
                yield folder.name, f"{count(len(live), 'SLURM job')} of {folder.name} ({live[0]})"


def _signs_here(work: Path) -> Iterator[Sign]:
    """Those in files: runs, and leases that somebody else holds."""
    for path in (work / "running").glob("*.json"):
        beat = read_live(path, Beat)
        if beat is not None and alive(beat, SILENT):
            yield beat["suite"], f"a run of {beat['suite']} on {beat['host']}, process {beat['pid']}"
    for path, may_live in Leases(work / "leases").files(SILENT):
        holder = read_object(path, LARGEST) or {}
        if may_live and (holder.get("machine"), holder.get("pid")) != (machine(), os.getpid()):
            yield None, f"process {holder.get('pid')} on {holder.get('host')} holds {path.stem}"


@contextmanager
def _held(leases: Leases, name: str) -> Iterator[bool]:
    """Hold a name if nobody does, and whether nobody did.

    On a disk without room for a lease nobody can begin to work either: there it is enough that there is none.
    """

    def busy() -> None:
        raise InterruptedError

    with ExitStack() as stack:
        try:
            stack.enter_context(leases.hold(name, busy))
            free = True
        except InterruptedError:
            free = False
        except StorageError:
            free = leases.holder(name) is None
        yield free


# --- what is needed --------------------------------------------------------------------------


def _superseded(
    store: ResultStore, suites: Iterable[str], signs: Sequence[Sign]
) -> tuple[dict[str, Superseded], list[str]]:
    """By suite, and which suites are left alone and why."""
    gone, kept = dict[str, Superseded](), list[str]()
    for suite in suites:
        plan, why = store.plan(suite), ""
        if plan is None or plan.waiting:
            why = f"{plan.waiting} wait for trials and have no name yet" if plan else "no suite.json can be read"
        elif not (why := _busy(signs, suite)):
            try:
                found = superseded(store, suite)
            except CorruptFile as error:
                why = str(error)
            else:
                gone |= {suite: found} if found.files or found.packed else {}
        if why:
            kept.append(f"runs of {suite}: {why}")
    return gone, kept


def _find_stages(store: ResultStore, found: Cleaning, signs: Iterable[Sign], own: set[str] | None) -> None:
    folders = [path for path in (store.work / "stages").glob("*") if _STAGE.fullmatch(path.name)]
    here = sorted(path for path in folders if own is None or path.name in own)
    if not here:
        return
    if busy := _busy(signs):
        found.kept.append(f"stages: {busy}")
        return
    needed, unknown = set[str](), list[str]()
    for suite in store.suites():
        try:
            needed |= _needed(store, suite)
        except HarnessError as error:
            unknown.append(f"stages: those of {suite} are not known: {error}")
    found.needed = sum(path.name in needed for path in here)
    if unknown:
        found.kept += unknown
    else:
        found.stages = [path for path in here if path.name not in needed]


def _needed(store: ResultStore, suite: str) -> set[str]:
    """Hashes of the stages of a suite's records and, where it is not finished, of its plan.

    Raises:
        HarnessError: where they cannot be known.
    """
    plan = store.plan(suite)
    if plan is None and (store.root / suite / "suite.json").exists():
        raise UserError("its suite.json cannot be read")
    stages, settled, whole = set[str](), set[str](), True
    for record in store.records(suite):
        if isinstance(record, CellRecord):
            stages.update(record.stages)
            settled |= {record.cell} if Completion.of_record(record).settled and record.stages else set()
        else:
            whole &= plan is not None
    if plan is None:
        if not whole:
            raise UserError("it has records that cannot be read, and no suite.json")
        return stages
    todo = set(plan.cells) - settled
    return stages | (_planned(store, plan, todo) if todo or plan.waiting else set())


def _planned(store: ResultStore, plan: SuitePlan, todo: set[str]) -> set[str]:
    """Hashes of all stages of a suite as it was last planned, from its file.

    Raises:
        HarnessError: if that is gone, has changed, or cannot be planned here.
    """
    what = f"{count(len(todo), 'run')} of it {'is' if len(todo) == 1 else 'are'} to be done"
    if plan.waiting:
        raise UserError(f"{plan.waiting} runs of it wait for trials")
    if not plan.path or not Path(plan.path).is_file():
        raise UserError(f"{what}, and its file {plan.path} is not here: clean from the folder that it was run from")
    options = [option.partition("=") for option in plan.options]
    registry = load([Path(value) for name, _, value in options if name == "--plugin"])
    overrides = [value for name, _, value in options if name == "--set"]
    loaded, _ = settle(load_suite(Path(plan.path), registry, overrides), store)
    graph = compile_graph(loaded.cells, registry)
    if todo - {planned.id for planned in graph.cells}:
        raise UserError(f"{what}, and {plan.path} has changed since: harness run {plan.path} plans anew")
    return set(graph.stages)


def _named(store: ResultStore, suite: str, cells: Iterable[str]) -> set[str]:
    """Hashes of the stages that records of cells name."""
    records = (store.read(suite, cell) for cell in cells)
    return {stage for record in records if record is not None for stage in record.stages}


# --- leftovers -------------------------------------------------------------------------------


def _temporary(store: ResultStore, suites: Iterable[str]) -> Iterator[Path]:
    """Files that somebody began to write and did not finish, in folders that only the harness writes."""
    folders = [store.root / suite / kind for suite in suites for kind in ("", "archive", "figures", *SUFFIX)]
    folders += [Path(where) for where, _, _ in os.walk(store.work)]
    yield from (path for folder in folders for path in folder.glob(".*.tmp") if _left(path))


def _left(path: Path) -> bool:
    with suppress(OSError):
        return bool(_TEMPORARY.fullmatch(path.name)) and time.time() - path.lstat().st_mtime > OLD
    return False


def _of_the_dead(work: Path) -> Iterator[Path]:
    """Leases and heartbeats of processes that are no more."""
    yield from (path for path, may_live in Leases(work / "leases").files(SILENT) if not may_live)
    for path in (work / "running").glob("*.json"):
        beat = read_live(path, Beat)
        if beat is not None and not alive(beat, SILENT):
            yield path
