"""What nobody needs goes, what anybody may need stays: whoever lives, dies, cleans too, or has no room."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from result_files import small_record, write_plan, write_record, write_series

from harness.errors import StorageError
from harness.executors import slurm_queue
from harness.executors.cleaning import find, remove
from harness.executors.run_status import Heartbeat
from harness.executors.slurm_queue import State
from harness.executors.submissions import Element, Submissions
from harness.machine import machine, started
from harness.registry.plugins import load
from harness.results import packing
from harness.results.packing import pack
from harness.results.store import ResultStore
from harness.stages.graph import compile_graph
from harness.stages.store import StageStore
from harness.suites.suite import load_suite

KEPT, GONE, STRAY = "a" * 32, "b" * 32, "c" * 32
SHARED = "d" * 32
"""A stage of the cell that stays and of the superseded one."""
CELLS = {"main.mlp.digits.dense.s0.01234567": [SHARED, KEPT], "main.mlp.digits.dense.s0.89abcdef": [SHARED, GONE]}
CURRENT, OLD = CELLS


def stage(store: ResultStore, name: str) -> Path:
    stages = StageStore(store.work)
    stages.finish(name, {"weights": [1, 2]}, {}, {"stage": name})
    stages.save_checkpoint(name, 5, {"weights": [1]})
    return stages.folder(name)


def cell(store: ResultStore, name: str, stages: list[str], suite: str = "small") -> None:
    write_record(store, small_record(suite, name, "dense", 0, 0.9, stages=stages))
    write_series(store, suite, name, {"cell": name, "loss": [], "evaluations": [], "densities": []})
    store.write_samples(suite, name, [{"text": name}])
    store.write_masks(suite, stages[-1], stages[-1].encode())


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """One finished cell, one superseded, their stages, and one of a run that was given up."""
    store = ResultStore(tmp_path / "results")
    for name, stages in CELLS.items():
        cell(store, name, stages)
    write_plan(store, "small", {"suite": "small", "cells": [CURRENT]})
    for name in (SHARED, KEPT, GONE, STRAY):
        stage(store, name)
    return store


@pytest.fixture
def other_process() -> Iterator[int]:
    """A living one."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process.pid
    process.kill()
    process.wait()


def files(store: ResultStore) -> set[str]:
    return {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}


def names(store: ResultStore) -> set[str]:
    return {path.name for path in (store.work / "stages").iterdir()}


def lease(store: ResultStore, name: str, pid: int, on: str | None = None, age: float = 0.0) -> Path:
    path = store.work / "leases" / f"{name}.1"
    path.parent.mkdir(exist_ok=True)
    who = {"nonce": "n", "host": "there", "machine": on or machine(), "pid": pid, "started": started(pid) or "1"}
    path.write_text(json.dumps(who))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_looking_changes_nothing(store: ResultStore) -> None:
    before = files(store)
    found = find(store)
    assert files(store) == before
    assert found.cells["small"].cells == [OLD] and found.kept == [] and found.needed == 2
    assert {path.name for path in found.stages} == {GONE, STRAY}


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_superseded_goes_and_nothing_else(store: ResultStore, packed: bool) -> None:
    if packed:  # while both were planned
        write_plan(store, "small", {"suite": "small", "cells": list(CELLS)})
        assert pack(store, "small").cells == 2
        write_plan(store, "small", {"suite": "small", "cells": [CURRENT]})
        assert find(store).cells["small"].packed == [OLD]
    done = remove(store, find(store))
    assert done.cells["small"].cells == [OLD] and names(store) == {SHARED, KEPT}
    fresh = ResultStore(store.root)
    for kind, name, left in (
        ("cells", CURRENT, True),
        ("series", CURRENT, True),
        ("samples", CURRENT, True),
        ("masks", KEPT, True),
        ("cells", OLD, False),
        ("series", OLD, False),
        ("samples", OLD, False),
        ("masks", GONE, False),
    ):
        assert fresh.file("small", kind, name).exists == left  # type: ignore[arg-type]
    assert fresh.file("small", "masks", KEPT).read() == KEPT.encode()
    assert StageStore(store.work).reached(KEPT) == "checkpoint-000000000005"
    assert find(fresh).empty
    before = files(fresh)
    assert remove(fresh, find(fresh)).empty and files(fresh) == before


def test_only_records_or_only_stages(store: ResultStore) -> None:
    found = find(store, stages=False)
    assert found.cells and not found.stages and found.needed == 0
    found = find(store, records=False)
    assert found.stages and not found.cells


def test_one_suite_takes_only_what_is_surely_its_own(store: ResultStore) -> None:
    cell(store, "other.cell.s0.01", ["e" * 32], "other")
    cell(store, "other.cell.s0.02", ["f" * 32], "other")
    write_plan(store, "other", {"suite": "other", "cells": ["other.cell.s0.01"]})
    stage(store, "f" * 32)
    found = find(store, "other")
    assert list(found.cells) == ["other"] and [path.name for path in found.stages] == ["f" * 32]
    assert {path.name for path in find(store).stages} == {"f" * 32, GONE, STRAY}


def test_another_suite_may_need_a_stage(store: ResultStore) -> None:
    cell(store, "other.cell.s0.01", [GONE], "other")  # no plan: all that it has counts
    found = find(store)
    assert {path.name for path in found.stages} == {STRAY} and "runs of other: no suite.json can be read" in found.kept


def test_masks_of_a_network_that_a_cell_still_has_stay(store: ResultStore) -> None:
    cell(store, OLD, [SHARED, KEPT])
    remove(store, find(store))
    assert store.file("small", "masks", KEPT).exists and not store.file("small", "masks", GONE).exists


def test_a_damaged_record_keeps_masks_and_stages(store: ResultStore) -> None:
    store.file("small", "cells", CURRENT).path.write_text("{")
    found = find(store)
    assert not found.stages and "stages: those of small are not known: 1 run of it is to be done" in found.kept[0]
    assert all(path.parent.name != "masks" for path in found.cells["small"].files)


def test_a_damaged_archive_is_left_alone(store: ResultStore) -> None:
    path = store.archive("small").path("cells")
    path.parent.mkdir()
    path.write_bytes(b"none")
    found = find(store)
    assert (
        not found.cells
        and "records.jsonl.gz is damaged" in found.kept[0]
        and {STRAY, GONE} == {folder.name for folder in found.stages}
    )


@pytest.mark.parametrize("damage", [b"", b"{", b"[]"])
def test_a_damaged_plan_keeps_everything(store: ResultStore, damage: bytes) -> None:
    (store.root / "small" / "suite.json").write_bytes(damage)
    assert find(store).empty


def test_cells_that_wait_for_trials_have_no_name_yet(store: ResultStore) -> None:
    write_plan(store, "small", {"suite": "small", "cells": [CURRENT], "waiting": 3})
    found = find(store)
    assert found.empty and found.kept[0] == "runs of small: 3 wait for trials and have no name yet"


SUITE = """
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
training: {steps: 10, batch_size: 32}
methods: {dense: , magnitude: {density: [0.5], recovery_steps: 5}, random: {density: {match: magnitude}}}
"""


def test_stages_of_cells_that_are_still_to_be_run_stay(tmp_path: Path) -> None:
    """Killed before any cell was finished: no record names a stage, the suite does."""
    path = tmp_path / "s.yaml"
    path.write_text(SUITE)
    graph = compile_graph(load_suite(path, load(), ["training.steps=12"]).cells, load())
    store = ResultStore(tmp_path / "results")
    plan = {"suite": "s", "cells": [one.id for one in graph.cells], "path": str(path)}
    write_plan(store, "s", plan | {"options": ["--set=training.steps=12"]})
    for name in (*graph.stages, STRAY):
        stage(store, name)
    assert [folder.name for folder in find(store).stages] == [STRAY]
    write_plan(store, "s", plan)  # the file as it is plans other cells
    found = find(store)
    assert not found.stages and "has changed since" in found.kept[0]
    path.unlink()
    found = find(store)
    assert not found.stages and "is not here" in found.kept[0]


def test_a_living_run_keeps_stages_and_its_records(store: ResultStore) -> None:
    cell(store, "other.cell.s0.01", [KEPT], "other")
    cell(store, "other.cell.s0.02", [KEPT], "other")
    write_plan(store, "other", {"suite": "other", "cells": ["other.cell.s0.01"]})
    before = find(store)
    beat = Heartbeat(store.work, "small", lambda: {"jobs": []})
    while not list((store.work / "running").glob("*.json")):
        time.sleep(0.01)
    try:
        found = find(store)
        assert list(found.cells) == ["other"] and not found.stages
        assert all("a run of small on" in text for text in found.kept) and len(found.kept) == 2
        done = remove(store, before)  # it began after somebody had looked
        assert list(done.cells) == ["other"] and not done.stages and names(store) == {SHARED, KEPT, GONE, STRAY}
        assert store.file("small", "cells", OLD).exists
    finally:
        beat.close()
    assert names(store) > {folder.name for folder in find(store).stages}


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_is_leased_by_the_living_stays(store: ResultStore, other_process: int, elsewhere: bool) -> None:
    before = find(store)
    path = lease(store, GONE, other_process, "elsewhere" if elsewhere else None, 3600)
    found = find(store)
    assert found.empty and all(f"holds {GONE}" in text for text in found.kept)
    done = remove(store, before)
    assert done.empty and path.exists() and names(store) == {SHARED, KEPT, GONE, STRAY}


def test_leases_and_heartbeats_of_the_dead_go(store: ResultStore, other_process: int) -> None:
    dead = [lease(store, "one", 2**22 + 1), lease(store, "two", other_process, "elsewhere", 2 * 86400)]
    beat = {"suite": "small", "host": "h", "machine": machine(), "pid": 2**22 + 1, "time": time.time(), "jobs": []}
    path = store.work / "running" / "small.h.1.json"
    path.parent.mkdir()
    path.write_text(json.dumps(beat))
    found = find(store)
    assert found.files == sorted([*dead, path]) and found.kept == []
    assert remove(store, found).files == found.files and not any(one.exists() for one in found.files)


def test_temporary_files_go_when_they_are_old(store: ResultStore) -> None:
    made = [
        store.root / "small" / "cells" / f".{CURRENT}.json.ab12_9xy.tmp",
        store.work / "stages" / KEPT / ".checkpoint-000000000009.safetensors.ab12_9xy.tmp",
        store.work / "leases" / f".{'0' * 32}.tmp",
    ]
    others = [store.root / "small" / "notes.tmp", store.root / "small" / "mine" / ".mine.ab12_9xy.tmp"]
    for path in (*made, *others):
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    assert find(store).files == []  # somebody may be writing them
    for path in (*made, *others):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    assert find(store).files == sorted(made)
    found = find(store)
    os.utime(made[0])  # written again meanwhile
    remove(store, found)
    assert [path.exists() for path in (*made, *others)] == [True, False, False, True, True]


@pytest.mark.parametrize(
    ("state", "ended", "kept"),
    [
        (State("RUNNING"), False, True),
        (State("PENDING"), False, True),
        (None, False, False),
        (State("RUNNING"), True, False),
    ],
)
def test_live_slurm_jobs_keep_all_stages(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch, state: State | None, ended: bool, kept: bool
) -> None:
    submissions = Submissions(store.work, "small")
    submissions.add([Element("7_0", (GONE,), (), 60)])
    submissions.write_progress("7_0", {"host": "n", "time": 0.0, "restarts": 0, "jobs": [], "ended": ended})
    monkeypatch.setattr(slurm_queue, "available", lambda: True)
    monkeypatch.setattr(slurm_queue, "states", lambda jobs: {job: state for job in jobs if state})
    found = find(store)
    assert found.empty == kept and ("SLURM job of small (7_0)" in "".join(found.kept)) == kept


def test_slurm_that_cannot_be_asked_keeps_all_stages(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    Submissions(store.work, "small").add([Element("7", (GONE,), (), 60)])
    monkeypatch.setattr(slurm_queue, "available", lambda: False)
    assert find(store).empty and "may live (there is no squeue" in find(store).kept[0]


def test_two_at_once(store: ResultStore) -> None:
    for number in range(50):
        stage(store, f"{number:032x}")
    found = [find(store), find(store)]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda one: remove(ResultStore(store.root), one), found))
    assert names(store) == {SHARED, KEPT} and find(store).empty
    assert {path for one in done for path in one.stages} == set(found[0].stages)
    assert not list((store.work / "leases").iterdir())


def _killed(root: str, what: str) -> None:
    """Clean, and die at the first sign of the given kind of removal, when some of it is done."""
    store = ResultStore(Path(root))
    whole = shutil.rmtree

    def half(folder: Path, **options: bool) -> None:
        next(path for path in Path(folder).iterdir()).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
        whole(folder, **options)

    unlink = Path.unlink

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        if path.parent.name == "cells":
            os.kill(os.getpid(), signal.SIGKILL)

    def never(folder: Path, content: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if what == "stage":
        shutil.rmtree = half  # type: ignore[assignment]
    elif what == "record":
        Path.unlink = unlinked  # type: ignore[method-assign]
    else:
        packing.write_archive = never
    remove(store, find(store))


@pytest.mark.parametrize("what", ["stage", "record", "archive"])
def test_killed_in_the_middle(store: ResultStore, what: str) -> None:
    if what == "archive":
        write_plan(store, "small", {"suite": "small", "cells": list(CELLS)})
        pack(store, "small")
        write_plan(store, "small", {"suite": "small", "cells": [CURRENT]})
    process = multiprocessing.get_context("spawn").Process(target=_killed, args=(str(store.root), what))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    store = ResultStore(store.root)
    stages = StageStore(store.work)
    for name in (GONE, STRAY):  # none is half there and counts
        assert stages.manifest(name) is None or stages.state(name) == {"weights": [1, 2]}
    assert stages.state(KEPT) == {"weights": [1, 2]} and store.read("small", CURRENT) is not None
    remove(store, find(store))
    assert names(store) == {SHARED, KEPT} and find(store).empty and store.names("small") == [CURRENT]
    assert not store.file("small", "series", OLD).exists and not store.file("small", "masks", GONE).exists
    assert store.file("small", "masks", KEPT).exists


def test_a_full_disk_does_not_keep_from_cleaning(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """No lease can be written: nobody else could take one either."""

    def full(*_: object) -> bool:
        raise StorageError("the disk is full")

    monkeypatch.setattr("harness.storage.leases._create", full)
    remove(store, find(store))
    assert names(store) == {SHARED, KEPT} and store.names("small") == [CURRENT]


def test_no_room_for_a_new_archive_leaves_the_old_one(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plan(store, "small", {"suite": "small", "cells": list(CELLS)})
    pack(store, "small")
    write_plan(store, "small", {"suite": "small", "cells": [CURRENT]})
    before = {path: path.read_bytes() for path in store.archive("small").folder.iterdir()}

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match="the disk is full"):
            remove(store, find(store))
    assert {path: path.read_bytes() for path in store.archive("small").folder.iterdir()} == before
    remove(store, find(store))
    assert store.names("small") == [CURRENT]


def test_what_cannot_be_removed_is_said(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "rmtree", lambda folder, ignore_errors: None)
    done = remove(store, find(store))
    assert not done.stages and [text.endswith("it cannot be removed") for text in done.kept] == [True, True]
