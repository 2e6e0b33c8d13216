"""Results of several machines come into one folder, whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from result_files import small_record, write_plan, write_record, write_series

from harness.cli.merge import command
from harness.errors import UserError
from harness.report.leaderboard import write_leaderboards
from harness.results.packing import pack
from harness.results.store import ResultStore

CELLS = [f"dense-{seed}" for seed in range(4)]
MACHINE = {"device": "cpu", "device_name": "X", "machine": "m", "cpu_capability": "AVX2", "torch": "2.6", "threads": 1}


def fill(
    root: Path,
    cells: list[str],
    score: float = 0.9,
    status: str = "done",
    planned: list[str] = CELLS,
    masks: bytes | None = None,
) -> None:
    store = ResultStore(root)
    for cell in cells:
        record = small_record("small", cell, "dense", int(cell[-1]), score, status=status, environment=MACHINE)
        if status != "done":
            failure = {"type": "OSError", "message": "no", "traceback": "", "step": None}
            record |= {"metrics": {}, "failure": failure}
        if masks is not None:
            name = store.write_masks("small", "01234567", masks)
            record |= {"stages": ["01234567"], "masks": name}
        write_record(store, record)
        write_series(store, "small", cell, {"loss": [], "evaluations": [], "densities": []})
    write_plan(store, "small", {"suite": "small", "cells": planned, "baselines": {"main": "dense"}})


def merge(*arguments: Path | str) -> tuple[int, str]:
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("packed", [False, True])
def test_two_halves_are_the_whole(tmp_path: Path, packed: bool) -> None:
    fill(tmp_path / "whole", CELLS)
    fill(tmp_path / "a", CELLS[:3])
    fill(tmp_path / "b", CELLS[2:])
    if packed:
        pack(ResultStore(tmp_path / "a"), "small")
    code, out = merge(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c")
    assert code == 0
    assert "small: 4 runs, 1 of them in several folders" in out
    write_leaderboards(ResultStore(tmp_path / "whole"))
    assert content(tmp_path / "c") == content(tmp_path / "whole")


def test_cells_that_differ_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    fill(tmp_path / "a", CELLS[:3])
    fill(tmp_path / "b", CELLS[2:], score=0.9000001)
    code, out = merge(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c")
    assert code == 1
    assert (
        "1 run not the same in all folders; nothing was written" in out
        and "dense-2: test accuracy: 0.9 and 0.9000001" in out
    )
    assert not (tmp_path / "c").exists()


def test_cells_of_one_stage_that_was_trained_to_other_bits_are_named(tmp_path: Path) -> None:
    fill(tmp_path / "a", CELLS[:2], masks=b"these")
    fill(tmp_path / "b", CELLS[2:], masks=b"those")
    code, out = merge(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c")
    assert code == 1 and "dense-2: its masks, of stage 01234567" in " ".join(out.split())
    fill(tmp_path / "b", CELLS[2:], masks=b"these")
    (tmp_path / "b" / "small" / "masks" / "01234567.safetensors").write_bytes(b"these")
    fill(tmp_path / "b", CELLS[2:], masks=b"these")
    assert merge(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c")[0] == 0
    assert (tmp_path / "c" / "small" / "masks" / "01234567.safetensors").read_bytes() == b"these"


def test_what_is_finished_counts_before_what_failed(tmp_path: Path) -> None:
    fill(tmp_path / "a", CELLS, status="failed")
    fill(tmp_path / "b", CELLS[:2])
    assert merge(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c")[0] == 0
    records = {cell: ResultStore(tmp_path / "c").read("small", cell) for cell in CELLS}
    assert [record.status for record in records.values() if record] == ["done", "done", "failed", "failed"]


def test_plans_with_other_cells_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "a", CELLS[:1], planned=CELLS[:1])
    fill(tmp_path / "b", CELLS[1:2], planned=CELLS[1:2])
    with pytest.raises(UserError, match="was planned with other runs"):
        merge(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c")
    fill(tmp_path / "b", CELLS[1:2])  # planned with all of them
    assert merge(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c")[0] == 0


def test_folders_that_are_no_results_or_are_there(tmp_path: Path) -> None:
    fill(tmp_path / "a", CELLS)
    for arguments, words in (
        ([tmp_path / "a", "-o", tmp_path / "c"], "one folder is no merge"),
        ([tmp_path / "a", tmp_path / "none", "-o", tmp_path / "c"], "no results in"),
        ([tmp_path / "a", tmp_path / "a", "-o", tmp_path / "a"], "is there already"),
    ):
        with pytest.raises(UserError, match=words):
            merge(*arguments)
