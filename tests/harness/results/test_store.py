"""Result files: whole or not there, readable by anyone, and what cannot be counted says why."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.errors import CorruptFile, StorageError
from harness.results.cell_record import SCHEMA, CellRecord
from harness.results.store import LeftOut, ResultStore
from harness.results.suite_plan import SuitePlan
from harness.stages.series import Series


def record(cell: str = "c", suite: str = "s", **more: Any) -> CellRecord:
    found = {
        "schema": SCHEMA,
        "status": "done",
        "cell": cell,
        "suite": suite,
        "architecture": {"label": "a"},
        "method": {"label": "m"},
        "benchmark": {"label": "b"},
        "seed": 0,
        "density": {"mask": 0.5},
        "metrics": {"accuracy": {"value": 0.9, "direction": "max"}},
        **more,
    }
    return CellRecord.model_validate(found)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def test_what_is_written_is_read(store):
    written = record(note="\u00e4 \u2192 \u4e2d")
    store.write(written)
    assert store.read("s", "c") == written
    assert list(store.records("s")) == [written]
    path = store.root / "s" / "cells" / "c.json"
    assert json.loads(path.read_text(encoding="utf8")) == written.content()
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
    store.write_plan("a", SuitePlan(cells=[]))
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
        ('{"schema": 0}', f"has schema 0, this version reads 1 to {SCHEMA}"),
        ('{"schema": 3, "cell": 7}', "has schema 3, written by a newer version of the harness: update it"),
        ('{"schema": "1"}', "has schema '1'"),
        ('{"schema": true}', "has schema True"),
        ('{"schema": 1, "cell": "c", "suite": "s", "status": "done", "seed": 0}', "lacks architecture, benchmark, den"),
    ],
)
def test_what_cannot_be_counted_says_why(store, text, reason):
    store.write(record("good"))
    path = store.file("s", "cells", "bad").path
    path.write_text(text)
    found = store.record("s", path.stem)
    assert isinstance(found, LeftOut) and found.path == path and reason in found.reason
    assert store.read("s", "bad") is None
    bad, good = store.records("s")
    assert bad == found and good.cell == "good"


def test_a_record_that_cannot_be_opened_is_left_out(store):
    path = store.file("s", "cells", "c").path
    path.mkdir(parents=True)
    found = store.record("s", path.stem)
    assert isinstance(found, LeftOut) and found.reason == "cannot be read: Is a directory"


def test_cells_that_are_not_in_the_latest_plan_are_left_out(store):
    for cell in ("old", "new"):
        store.write(record(cell))
    store.write_plan("s", SuitePlan(suite="s", cells=["new", "not run yet"]))
    found = list(store.records("s"))
    assert [f.cell for f in found if not isinstance(f, LeftOut)] == ["new"]
    assert [f.path.stem for f in found if isinstance(f, LeftOut)] == ["old"]
    (store.root / "s" / "suite.json").write_text("{")
    (damaged,) = store.records("s")
    assert store.plan("s") is None and isinstance(damaged, LeftOut) and damaged.path.name == "suite.json"
    assert damaged.reason.startswith("is not complete JSON: run the suite again")
    assert damaged.reason.endswith("until then no result of the suite is counted")
    (store.root / "s" / "suite.json").unlink()
    assert len([f for f in store.records("s") if isinstance(f, CellRecord)]) == 2


def test_a_record_with_a_number_that_is_none_cannot_be_made():
    with pytest.raises(ValueError, match="finite number"):
        record(metrics={"accuracy": {"value": float("nan"), "direction": "max"}})


def test_series_are_compact_and_come_back(store):
    rows = {"loss": [(0, 1, 0.5, 1e-05)], "densities": [(0, 1, {"a": (0.25, None)})]}
    series = Series.model_validate({"cell": "c", **rows}, strict=False)
    store.write_series("s", "c", series)
    assert store.file("s", "series", "c").path.read_text() == (
        '{"cell":"c","loss":[[0,1,0.5,1e-05]],"evaluations":[],"densities":[[0,1,{"a":[0.25,null]}]]}\n'
    )
    assert store.series("s", "c") == series and store.series("s", "other") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not complete JSON"),
        ("[1]", "is no object"),
        ('{"loss": {}}', "loss"),
        ('{"loss": [[0, 1, NaN, 0.1]]}', "loss.0.2 nan: input should be a finite number"),
        ('{"loss": [[0, 1, 0.5]]}', "lacks loss.0.3"),
        ('{"loss": [[0, -1, 0.5, 0.1]]}', "loss.0.1 -1"),
        (
            '{"densities": [[0, 1, {"a": [2.0, null]}]]}',
            "densities.0.2.a.0 2.0: input should be less than or equal to 1",
        ),
        ('{"densities": [[0, 1, {"a": [-0.1, null]}]]}', "a.0 -0.1"),
        ('{"densities": [[0, 1, {"a": [Infinity, null]}]]}', "a.0 inf"),
        ('{"densities": [[0, 1, {"a": ["x", null]}]]}', "a.0 'x'"),
        ('{"densities": [[0, 1, {"a": [null, null]}]]}', "a.0 None"),
        ('{"evaluations": [[0, 1, "train", {}]]}', "evaluations.0.2 'train'"),
    ],
)
def test_curves_that_are_none_say_which_number_is_wrong(store, text, reason):
    path = store.file("s", "series", "c").path
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(CorruptFile) as error:
        store.series("s", "c")
    assert str(error.value).startswith(f"{path}: ") and reason in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"cells": {}}', '{"cells": [1]}', '{"cells": [], "baselines": []}'])
def test_a_plan_that_cannot_be_read_is_none(store, text):
    (store.root / "s").mkdir(parents=True)
    (store.root / "s" / "suite.json").write_text(text)
    assert store.plan("s") is None


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
    assert found is not None and found.model_extra is not None
    assert len(set(found.model_extra["filler"])) == 1 and len(found.model_extra["filler"]) == 20_000
    assert names(store.root / "s" / "cells") == ["c.json"]
