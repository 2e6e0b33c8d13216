"""``harness clean`` lists, and removes what it has listed when told."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from result_files import small_record, write_plan, write_record

from harness.cli.clean import command
from harness.errors import UserError
from harness.results.integrity import integrity
from harness.results.store import ResultStore
from harness.stages.store import StageStore

CURRENT, OLD = "main.mlp.digits.dense.s0.01234567", "main.mlp.digits.dense.s0.89abcdef"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One cell that stays and one that is superseded, each with its stage, and a leftover."""
    monkeypatch.chdir(tmp_path)
    store = ResultStore(Path("results"))
    for name, stage in ((CURRENT, "a" * 32), (OLD, "b" * 32)):
        write_record(store, small_record("small", name, "dense", 0, 0.9, stages=[stage]))
        StageStore(store.work).finish(stage, {"weights": [1]}, {}, {"stage": stage})
    write_plan(store, "small", {"suite": "small", "cells": [CURRENT], "baselines": {"main": "dense"}})
    leftover = store.root / "small" / "cells" / ".x.json.abcd1234.tmp"
    leftover.write_text("half")
    os.utime(leftover, (time.time() - 7200, time.time() - 7200))
    return store.root


def clean(*arguments: str) -> str:
    done = CliRunner().invoke(command, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def files(results: Path) -> set[Path]:
    return {path for path in results.rglob("*") if path.is_file()}


def test_dry_by_default(results: Path) -> None:
    before = files(results)
    lines = clean().splitlines()
    assert files(results) == before
    assert lines[0] == "would be removed:" and lines[-1] == "Nothing was removed: the same command with --yes does it."
    assert lines[1].startswith("  superseded results of small: 1 record; 1 loose file, ")
    assert lines[2] == "    main.mlp.digits.dense.s0"
    assert lines[3].startswith("  stages that nobody needs: 1, ") and lines[4].startswith(f"    {'b' * 32}  ")
    assert lines[5] == "  leftovers: 1 file, 4 B" and lines[6].endswith(".x.json.abcd1234.tmp")
    assert lines[7] == "kept: 1 stage that records or planned runs need"


def test_sizes_are_those_on_disk(results: Path) -> None:
    path = results / "small" / "cells" / f"{OLD}.json"
    path.write_bytes(path.read_bytes().ljust(3072))
    stage = results / ".work" / "stages" / ("b" * 32)
    (stage / "checkpoint-1.safetensors").write_bytes(bytes(2 * 2**20))
    out = clean()
    assert "1 loose file, 3 KiB" in out and "stages that nobody needs: 1, 2 MiB" in out


def test_told_to(results: Path) -> None:
    before = files(results)
    out = clean("--yes")
    assert out.startswith("removed:\n  superseded results of small: 1 record") and "git tracks" not in out
    gone = {str(path) for path in before - files(results)}
    stage = f"results/.work/stages/{'b' * 32}"
    assert gone == {
        f"results/small/cells/{OLD}.json",
        "results/small/cells/.x.json.abcd1234.tmp",
        *(f"{stage}/{name}" for name in ("stage.json", "series.json", "state.safetensors")),
    }
    assert not Path(stage).exists()
    found = integrity(ResultStore(results), "small")
    assert (found.records, found.problems) == (1, [])
    assert "no longer has" not in (results / "small" / "leaderboard.md").read_text()  # written again
    assert clean("--yes").splitlines()[-1] == "Nothing to remove."


@pytest.mark.parametrize(("flag", "left"), [("--records", [CURRENT]), ("--stages", [CURRENT, OLD])])
def test_only_some_of_it(results: Path, flag: str, left: list[str]) -> None:
    clean(flag, "--yes")
    store = ResultStore(results)
    assert store.names("small") == left
    assert (results / ".work" / "stages" / ("b" * 32)).exists() == (flag == "--records")
    assert not list(results.rglob("*.tmp"))


def test_of_one_suite(results: Path) -> None:
    store = ResultStore(results)
    write_record(store, small_record("other", "other.cell.s0.01", "dense", 0, 0.9, stages=["a" * 32]))
    write_plan(store, "other", {"suite": "other", "cells": ["other.cell.s0.01"]})
    assert "Nothing to remove." in clean("--suite", "other")
    assert "superseded results of small" in clean("--suite", "small")
    with pytest.raises(UserError, match="Did you mean 'small'"):
        clean("--suite", "smal")


def test_places_without_results(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no results in"):
        clean("--results", str(tmp_path / "none"))


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_what_git_tracks_is_said(results: Path) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "add", "results/small"], check=True)
    for arguments in ((), ("--yes",)):
        assert "git tracks 2 of these files: git restore brings back" in clean(*arguments)
