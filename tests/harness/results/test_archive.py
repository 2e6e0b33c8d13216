"""Packed results: nothing is lost on the way in, on the way out, or when it is read where it lies."""

from __future__ import annotations

import gzip
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import archive, compare, find, show, status
from harness.core.connections import Band, Connection
from harness.core.masks import Masks
from harness.errors import CorruptFile, StorageError, UserError
from harness.results import mask_pictures, packing
from harness.results.archive import Archive, folded, unfolded, write_archive
from harness.results.store import LeftOut, ResultStore
from harness.storage.atomic_files import write_json

METHODS = ("dense", "random", "genome")


def stage(method: str, seed: int) -> str:
    return hashlib.sha256(f"{method}{seed}".encode()).hexdigest()[:16]


def record(method: str, seed: int, **more: Any) -> dict[str, Any]:
    value = {"value": 0.5 + seed / 7, "n": 10, "stderr": 0.01, "unit": "fraction", "direction": "max", "primary": True}
    return {
        "schema": 1,
        "status": "done",
        "cell": f"main.mlp.digits.{method}.s{seed}.abc{seed}",
        "suite": "small",
        "experiment": "main",
        "architecture": {"label": "mlp"},
        "method": {"label": method, "note": "ünïcode \u2028 \x7f"},
        "benchmark": {"label": "digits", "protocol": "p"},
        "seed": seed,
        "density": {"mask": 1.0 if method == "dense" else 0.1, "true_zeros": 0.0},
        "stages": [stage(method, seed)],
        "metrics": {"accuracy": value},
        **more,
    }


def fill(root: Path) -> ResultStore:
    """Nine finished cells, of which six have masks and three samples; one has failed, one is superseded."""
    store = ResultStore(root)
    connection = Connection("up", "up.weight", "dense", Band("in", 4, 0), Band("out", 3, 1), (3, 4))
    made = [record(method, seed) for method in METHODS for seed in range(3)]
    made.append(record("snip", 0, status="failed", metrics={}, failure={"type": "E", "message": "m", "traceback": "t"}))
    made.append(record("old", 0))
    for one in made:
        write_json(store.file("small", "cells", one["cell"]).path, one)
        series = {"cell": one["cell"], "loss": [[0, 10, 1 / 3, 0.1]], "evaluations": [], "densities": []}
        path = store.file("small", "series", one["cell"]).path
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(series, separators=(",", ":")) + "\n")
        if one["method"]["label"] in ("random", "genome"):
            mask = {"up": torch.arange(12).reshape(3, 4) % (2 + one["seed"]) == 0}
            store.write_masks("small", one["stages"][-1], mask_pictures.packed(Masks(mask), [connection]))
        if one["method"]["label"] == "genome":
            store.write_samples("small", one["cell"], [{"prompt": "p", "text": "t"}])
    plan = {"suite": "small", "description": "d", "path": "s.yaml", "options": [], "baselines": {"main": "dense"}}
    cells = [one["cell"] for one in made if one["method"]["label"] != "old"]
    write_json(root / "small" / "suite.json", {**plan, "cells": [*cells, "main.mlp.digits.later.s0.def"]})
    return store


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return fill(tmp_path / "results")


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".work" not in path.parts
    }


def test_what_is_finished_is_packed_and_comes_back_byte_for_byte(store: ResultStore) -> None:
    before = files(store.root)
    done = packing.pack(store, "small")
    assert (done.cells, done.removed) == (9, 9 + 9 + 6 + 3) and len(done.files) == 3
    assert {cell.split(".")[3]: reason for cell, reason in done.left.items()} == {
        "snip": "failed",
        "old": "not part of the suite as last planned",
    }
    assert sorted(path for path in files(store.root) if "/archive/" not in path) == [
        "small/cells/main.mlp.digits.old.s0.abc0.json",
        "small/cells/main.mlp.digits.snip.s0.abc0.json",
        "small/series/main.mlp.digits.old.s0.abc0.json",
        "small/series/main.mlp.digits.snip.s0.abc0.json",
        "small/suite.json",
    ]
    assert packing.unpack(store, "small") == 27
    assert files(store.root) == before and not (store.root / "small" / "archive").exists()


def test_records_are_one_line_of_json_each_in_order(store: ResultStore) -> None:
    packing.pack(store, "small")
    lines = gzip.decompress((store.root / "small/archive/records.jsonl.gz").read_bytes()).decode().split("\n")
    cells = [json.loads(line)["cell"] for line in lines[:-1]]
    assert cells == sorted(cells) and len(cells) == 9 and lines[-1] == ""


def test_equal_results_are_equal_bytes_however_they_came(store: ResultStore, tmp_path: Path) -> None:
    other = fill(tmp_path / "other")
    later = tmp_path / "later"
    later.mkdir()
    for path in list((other.root / "small" / "cells").glob("*.s1.*")):
        shutil.move(path, later / path.name)
    packing.pack(other, "small")
    for path in later.iterdir():
        os.utime(path, (1, 1))
        (other.root / "small" / "cells").mkdir(exist_ok=True)
        shutil.move(path, other.root / "small" / "cells" / path.name)
    packing.pack(other, "small")
    packing.pack(store, "small")
    assert files(store.root) == files(other.root)
    packing.pack(store, "small")
    assert files(store.root) == files(other.root)


def said(root: Path) -> list[str]:
    """What commands say of a results folder."""
    options = ["--results", str(root)]
    runs = [(compare.command, [*options, "--format", form]) for form in ("table", "markdown", "latex", "csv", "json")]
    runs += [(show.command, [f"digits.{method}.s1", *options]) for method in METHODS]
    runs += [(status.command, ["small", *options])]
    texts = []
    for command, arguments in runs:
        result = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        texts.append(result.output)
    return [*texts, *map(str, find.find_cell(ResultStore(root), "genome.s2"))]


def test_commands_say_the_same_over_files_an_archive_and_both(store: ResultStore) -> None:
    loose = said(store.root)
    packing.pack(store, "small")
    assert said(store.root) == loose
    for kind in ("cells", "series"):
        path = store.file("small", kind, "main.mlp.digits.random.s1.abc1").path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(store.file("small", kind, "main.mlp.digits.random.s1.abc1").read())
    assert said(store.root) == loose


def test_a_name_without_its_hash_is_not_that_of_a_longer_seed(store: ResultStore) -> None:
    one = record("random", 10)
    write_json(store.file("small", "cells", one["cell"]).path, one)
    for name in ("main.mlp.digits.random.s1", "small/main.mlp.digits.random.s1"):
        assert find.find_cell(store, name) == ("small", "main.mlp.digits.random.s1.abc1")
    with pytest.raises(UserError, match="fits 4 runs"):
        find.find_cell(store, "main.mlp.digits.random.s")


def test_a_loose_file_goes_before_the_packed_one(store: ResultStore) -> None:
    packing.pack(store, "small")
    again = record("random", 1, published=0.25)
    assert store.read("small", again["cell"]).published is None
    write_json(store.file("small", "cells", again["cell"]).path, again)
    assert store.read("small", again["cell"]).published == 0.25
    packing.pack(store, "small")
    assert store.read("small", again["cell"]).published == 0.25
    assert not store.file("small", "cells", again["cell"]).path.exists()


def test_forgotten_cells_are_gone_from_the_archive_too(store: ResultStore) -> None:
    packing.pack(store, "small")
    cell = "main.mlp.digits.random.s1.abc1"
    packing.forget(store, "small", {cell, "main.mlp.digits.snip.s0.abc0"})
    assert store.read("small", cell) is None and cell not in store.names("small")
    assert len(store.packed("small")) == 8 and len(store.loose("small")) == 1


def test_a_file_that_the_harness_would_write_otherwise_stays_as_it_is(store: ResultStore) -> None:
    path = store.file("small", "cells", "main.mlp.digits.random.s1.abc1").path
    path.write_text(json.dumps(json.loads(path.read_text()), indent=3))
    done = packing.pack(store, "small")
    assert done.cells == 8 and "not as the harness writes it" in done.left[path.stem]
    assert path.exists() and store.read("small", path.stem) is not None


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "no names"])
@pytest.mark.parametrize("name", ["records.jsonl.gz", "series.jsonl.gz", "masks_and_samples.zip"])
def test_a_damaged_archive_is_said_once_and_the_rest_is_read(store: ResultStore, name: str, damage: str) -> None:
    packing.pack(store, "small")
    path = store.root / "small" / "archive" / name
    whole = path.read_bytes()
    middle = len(whole) // 2
    broken = {
        "cut": whole[:middle],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        "text": b"no archive",
        "no names": gzip.compress(b'{"a": 1}\n'),
    }
    path.write_bytes(broken[damage])
    with pytest.raises(CorruptFile, match=f"{name} is damaged .*: take it from version control or another copy"):
        packing.unpack(store, "small")
    assert path.exists()
    found = list(store.records("small"))
    left = [item for item in found if isinstance(item, LeftOut) and item.path == path]
    assert len(left) == (name == "records.jsonl.gz")
    assert len(found) == (3 if left else 11)
    result = CliRunner().invoke(compare.command, ["--results", str(store.root)])
    assert result.exit_code == (1 if left else 0) or isinstance(result.exception, UserError)


def test_names_that_lead_elsewhere_are_refused(store: ResultStore) -> None:
    archive_ = store.root / "small" / "archive"
    content = {"cells": {}, "series": {}, "masks": {"../../../evil": b"x"}, "samples": {}}
    write_archive(archive_, content)
    with pytest.raises(Exception, match="which is none of a result"):
        packing.unpack(store, "small")
    assert not list(store.root.parent.rglob("evil*"))


def test_a_full_disk_leaves_everything(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(store.root)

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match="the disk is full"):
            packing.pack(store, "small")
    assert files(store.root) == before
    packing.pack(store, "small")


def killed_packing(root: Path, at: int) -> None:
    """Packs, and dies before the ``at``-th removal of a file."""
    count = 0
    unlink = Path.unlink

    def dying(self: Path, missing_ok: bool = False) -> None:
        nonlocal count
        if ".work" not in self.parts and self.suffix != ".tmp":
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
        unlink(self, missing_ok)

    Path.unlink = dying  # type: ignore[method-assign]
    packing.pack(ResultStore(root), "small")


@pytest.mark.parametrize("at", [1, 10, 25])
def test_a_kill_loses_nothing_and_the_next_run_finishes(store: ResultStore, tmp_path: Path, at: int) -> None:
    loose = said(store.root)
    process = multiprocessing.get_context("fork").Process(target=killed_packing, args=(store.root, at))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert said(store.root) == loose
    packing.pack(store, "small")
    other = fill(tmp_path / "other")
    packing.pack(other, "small")
    assert files(store.root) == files(other.root)


def test_masks_are_read_where_they_lie(store: ResultStore) -> None:
    file = store.file("small", "masks", stage("random", 1))
    before = mask_pictures.read(file.read())["up"].bits.tolist()
    packing.pack(store, "small")
    assert file.exists and file.where.name == "masks_and_samples.zip"
    assert mask_pictures.read(file.read())["up"].bits.tolist() == before
    assert not store.file("small", "masks", "none").exists
    with pytest.raises(FileNotFoundError):
        store.file("small", "masks", "none").read()


def test_an_archive_that_changes_is_read_again(store: ResultStore) -> None:
    reader = Archive(store.root / "small" / "archive")
    assert not list(reader.names("cells")) and not reader.has("masks", stage("random", 1))
    packing.pack(store, "small")
    assert len(list(reader.names("cells"))) == 9 and reader.has("masks", stage("random", 1))


def test_the_command(store: ResultStore) -> None:
    options = ["small", "--results", str(store.root)]
    result = CliRunner().invoke(archive.command, options, catch_exceptions=False)
    lines = result.output.splitlines()
    assert lines[0].startswith("small: 9 runs in 3 files, 0.0 MB; 27 loose files removed")
    assert lines[1] == "  stays as a file: main.mlp.digits.old.s0.abc0: not part of the suite as last planned"
    result = CliRunner().invoke(archive.command, [*options, "--unpack"], catch_exceptions=False)
    assert result.output == "small: 27 files unpacked\n"
    with pytest.raises(UserError, match="Did you mean 'small'"):
        CliRunner().invoke(archive.command, ["smal", *options[1:]], catch_exceptions=False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def written(value: Any) -> Iterator[tuple[Any, bytes]]:
    yield "cells", (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode(errors="replace")
    yield "series", (json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n").encode(errors="replace")


@given(JSON)
def test_any_json_that_the_harness_writes_comes_back(value: Any) -> None:
    for kind, content in written(value):
        line = folded(kind, content)
        assert b"\n" not in line and unfolded(kind, line) == content
