"""Results of a folder and of a git revision: byte for byte, and nothing of the repository is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from result_files import small_record, write_plan, write_record

from harness.errors import UserError
from harness.results.packing import pack
from harness.results.snapshot import snapshot
from harness.results.store import ResultStore

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


def git(folder: Path, *arguments: str) -> str:
    who = {f"GIT_{role}_{what}": "x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    none = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **who, **none}).stdout


def fill(results: Path, value: float, suite: str = "small") -> None:
    store = ResultStore(results)
    for seed in range(2):
        write_record(store, small_record(suite, f"main.mlp.digits.dense.s{seed}.0123456789", "dense", seed, value))
    cells = [f"main.mlp.digits.dense.s{seed}.0123456789" for seed in range(2)]
    write_plan(store, suite, {"suite": suite, "cells": cells})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Loose records of 0.5 in the first commit, packed ones of 0.75 in the second."""
    top = tmp_path / "top"
    results = top / "deep" / "results"
    fill(results, 0.5)
    fill(results, 0.25, "other")
    git(top, "init", "-q", "-b", "main")
    (top / ".gitattributes").write_text("*.json export-ignore\n* text eol=crlf\n")
    git(top, "add", ".")
    git(top, "commit", "-qm", "first")
    git(top, "tag", "v1")
    fill(results, 0.75)
    pack(ResultStore(results), "small")
    shutil.rmtree(results / ".work")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "second")
    return top


def values(name: str, results: Path, suite: str | None = None) -> dict[str, float]:
    with snapshot(name, results, suite) as found:
        records = {of: list(found.store.records(of)) for of in found.suites if suite in (None, of)}
        return {of: record.metrics["accuracy"].value for of, each in records.items() for record in each}  # type: ignore[union-attr]


def test_revisions_loose_and_packed(repository: Path) -> None:
    results = repository / "deep" / "results"
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    assert values("v1", results) == {"small": 0.5, "other": 0.25}
    assert values("HEAD~1", results, "other") == {"other": 0.25}
    assert values("HEAD", results) == {"small": 0.75, "other": 0.25}
    assert values(str(results), results) == {"small": 0.75, "other": 0.25}
    assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == before


def test_bytes_are_those_that_were_committed(repository: Path) -> None:
    """``git archive`` would leave these files out, and write other line ends."""
    results = repository / "deep" / "results"
    cell = "main.mlp.digits.dense.s0.0123456789"
    blob = git(repository, "show", f"v1:deep/results/small/cells/{cell}.json").encode()
    with snapshot("v1", results) as found:
        folder = found.store.root
        assert found.store.file("small", "cells", cell).path.read_bytes() == blob and b"\r" not in blob
    assert not folder.exists()


def test_results_that_are_no_longer_there(repository: Path) -> None:
    shutil.rmtree(repository / "deep")
    assert values("HEAD", repository / "deep" / "results") == {"small": 0.75, "other": 0.25}


def test_links_and_other_files_are_not_taken(repository: Path) -> None:
    results = repository / "deep" / "results"
    (results / "small" / "cells").mkdir(exist_ok=True)
    (results / "small" / "cells" / "link.json").symlink_to("/etc/hostname")
    (results / "small" / "notes.txt").write_text("mine")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "third")
    with snapshot("HEAD", results) as found:
        names = {path.name for path in found.store.root.rglob("*") if not path.is_dir()}
    assert "suite.json" in names and not {"link.json", "notes.txt"} & names


def test_one_suite_is_a_folder_too(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = repository / "deep" / "results"
    with snapshot(str(results / "small"), results) as found:
        assert found.alone and list(found.suites) == ["small"]
    monkeypatch.chdir(results / "other")
    with snapshot(".", results) as found:
        assert list(found.suites) == ["other"] and len(list(found.store.records("other"))) == 2


def test_a_folder_goes_before_a_revision(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    fill(repository / "v1", 0.125)
    assert values("v1", Path("deep/results")) == {"small": 0.125}


@pytest.mark.parametrize("name", ["none", "-v1", "--all", "HEAD~9", "deep/results/small/suite.json", "v1:deep", ""])
def test_neither_folder_nor_revision(repository: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(repository)
    with (
        pytest.raises(UserError, match=r"neither a folder nor a git revision.*a results folder"),
        snapshot(name, Path("deep/results")),
    ):
        pass


def test_outside_of_git_and_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match=r"no folder, and no revision of .*not a git repository"):
        values("HEAD", tmp_path / "results")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="there is no git on this machine"):
        values("HEAD", tmp_path / "results")


def test_places_without_results(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="revision v1 has no results in"):
        values("v1", repository / "elsewhere")
    with snapshot("v1", repository / "deep" / "results", "none") as found:  # another source may have that suite
        assert set(found.suites) == {"small", "other"} and not found.store.suites()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no results in .*empty"):
        values(str(tmp_path / "empty"), tmp_path)
