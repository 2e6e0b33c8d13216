"""Result files: whole or not there, readable by anyone, and what cannot be counted says why."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.errors import StorageError
from harness.results.store import SCHEMA, LeftOut, ResultStore, load_record


def record(cell: str = "c", suite: str = "s", **more: Any) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "status": "done",
        "cell": cell,
        "suite": suite,
        "architecture": {"label": "a"},
        "method": {"label": "m"},
        "benchmark": {"label": "b"},
        "seed": 0,
        "density": {"mask": 0.5},
        "metrics": {"accuracy": {"value": 0.9}},
        **more,
    }


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def test_what_is_written_is_read(store):
    written = record(note="\u00e4 \u2192 \u4e2d")
    store.write(written)
    assert store.read("s", "c") == written
    assert list(store.records("s")) == [written]
    path = store.root / "s" / "cells" / "c.json"
    assert json.loads(path.read_text(encoding="utf8")) == written
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert names(path.parent) == ["c.json"]


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_store_that_is_not_there_is_empty(store):
    assert store.suites() == [] and store.read("s", "c") is None and store.plan("s") is None
    assert list(store.records("s")) == []


def test_suites_are_folders_with_results_and_nothing_else(store):
    store.write(record(suite="b"))
    store.write_plan("a", {"cells": []})
    (store.root / "notes").mkdir()
    (store.root / "LEADERBOARD.md").write_text("")
    (store.work / "stages").mkdir(parents=True)
    assert store.suites() == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not complete JSON: delete it and run the suite again"),
        ('{"schema": 1, "cell"', "is not complete JSON"),
        ("\x00\x00", "is not complete JSON"),
        ("[1, 2]", "is not a result record"),
        ('{"cell": "c"}', "is not a result record"),
        ('{"schema": 2}', f"has schema 2, this version reads {SCHEMA}"),
        ('{"schema": "1"}', "has schema '1'"),
        ('{"schema": 1, "cell": "c", "suite": "s", "status": "done", "seed": 0}', "lacks architecture, benchmark, den"),
    ],
)
def test_what_cannot_be_counted_says_why(store, text, reason):
    store.write(record("good"))
    path = store.cell_path("s", "bad")
    path.write_text(text)
    found = load_record(path)
    assert isinstance(found, LeftOut) and found.path == path and reason in found.reason
    assert store.read("s", "bad") is None
    bad, good = store.records("s")
    assert bad == found and good["cell"] == "good"


def test_a_record_that_cannot_be_opened_is_left_out(store):
    path = store.cell_path("s", "c")
    path.mkdir(parents=True)
    found = load_record(path)
    assert isinstance(found, LeftOut) and found.reason == "cannot be read: Is a directory"


def test_cells_that_are_not_in_the_latest_plan_are_left_out(store):
    for cell in ("old", "new"):
        store.write(record(cell))
    store.write_plan("s", {"suite": "s", "cells": ["new", "not run yet"]})
    found = list(store.records("s"))
    assert [f["cell"] for f in found if not isinstance(f, LeftOut)] == ["new"]
    assert [f.path.stem for f in found if isinstance(f, LeftOut)] == ["old"]
    (store.root / "s" / "suite.json").write_text("{")
    assert store.plan("s") is None and len([f for f in store.records("s") if isinstance(f, dict)]) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused_and_the_old_record_stays(store, value):
    store.write(record())
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write(record(metrics={"accuracy": {"value": value}}))
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_series("s", "c", {"loss": [value]})
    assert store.read("s", "c") == record()
    assert names(store.root / "s" / "cells") == ["c.json"]


def test_series_are_compact(store):
    store.write_series("s", "c", {"cell": "c", "loss": [[0, 1, 0.5]]})
    assert store.series_path("s", "c").read_text() == '{"cell":"c","loss":[[0,1,0.5]]}\n'


def test_a_folder_that_cannot_be_made_is_a_storage_error(store):
    store.root.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"cannot write .*c\.json: .*; finished work is kept"):
        store.write(record())


def test_many_writers_of_one_cell_leave_one_whole_record(store):
    def write(index: int) -> None:
        for turn in range(20):
            store.write(record(turn=turn, filler=str(index) * 20_000))
            assert store.read("s", "c") is not None

    threads = [threading.Thread(target=write, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.read("s", "c")
    assert found is not None and len(set(found["filler"])) == 1 and len(found["filler"]) == 20_000
    assert names(store.root / "s" / "cells") == ["c.json"]
