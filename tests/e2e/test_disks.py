"""Disks that are full or read-only, before a run and within one: one message, and nothing finished is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fated_run import PLUGINS, Place, ended, same, wait_for

FULL = "the disk is full. Free some space and run the same command again; finished work is kept."
READ_ONLY = "the file system is read-only. Choose another folder with --results and run the same command again"
DONE = ("--workers", "1", "--only=method=exits", "--only=method=long", "--only=method=dense", "--only=method=magnitude")
"""Four cells that have results."""
FULL_FOR_A_METHOD = """
architectures: net
benchmarks: blobs
training: {steps: 60, batch_size: 16}
methods:
  fills: {use: fate, fate: full}
  dense:
"""
Mount = Callable[..., bool]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Makes a folder a memory disk with these options, or changes it; whether that could be done."""
    mounted = set()

    def call(folder: Path, options: str) -> bool:
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, text=True, check=False
        )
        if not done.returncode:
            mounted.add(folder)
        elif folder not in mounted:
            pytest.skip(f"needs the right to mount a small memory disk: {done.stderr.strip()}")
        return not done.returncode

    if not shutil.which("mount"):
        pytest.skip("needs mount, to make a disk that is full")
    yield call
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_one_message_and_loses_nothing(tmp_path, mount, undisturbed):
    folder = tmp_path / "disk"
    mount(folder, "size=400k")
    place = Place(tmp_path / "place", "mended")
    place.results = folder / "results"
    assert place.run(*DONE)[0] == 0
    kept = place.outcomes()
    shutil.rmtree(folder / "results" / "s" / "cells")
    found = os.statvfs(folder)
    (folder / "filler").write_bytes(b"x" * max(0, found.f_bavail * found.f_frsize - 8_000))
    before = files(folder)
    code, said = place.run("--force", "--only=method=long")
    assert code == 2
    assert said.count(FULL) == 1
    assert said.splitlines()[-1].startswith(f"error: cannot write {folder}/results/")
    left = files(folder)
    dense = next(iter(kept["dense"]["stages"]))
    assert all(left[path] == content for path, content in before.items() if dense in str(path))
    assert not [path for path in left if path.suffix == ".tmp"]
    mount(folder, "remount,size=4m")
    assert place.run(*DONE)[0] == 0
    assert same(place.outcomes(), kept)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cells", "series", "masks", "figures"])
def test_no_room_for_what_follows_a_training(tmp_path, mount, undisturbed, kind):
    place = Place(tmp_path, "mended")
    disk = place.results / "s" / kind
    mount(disk, "size=4k")
    (disk / "filler").write_bytes(b"x" * 4096)
    code, said = place.run(*DONE)
    assert code == 2
    assert said.count(FULL) == 1 and f"error: cannot write {disk}/" in said
    assert [path.name for path in disk.iterdir()] == ["filler"]
    if kind != "figures":
        assert len(place.records()) < 4, "a record comes last, when everything that it names is there"
    stages = files(place.results / ".work" / "stages")
    (disk / "filler").unlink()
    mount(disk, "remount,size=4m")
    code, said = place.run(*DONE)
    assert code == 0, said
    after = files(place.results / ".work" / "stages")
    finished = {path for path in stages if path.name == "stage.json"}
    assert finished, "nothing was trained before"
    assert all(after[path] == stages[path] for path in stages if path.parent / "stage.json" in finished)
    mine, theirs = place.outcomes(), undisturbed.outcomes()
    assert {"dense", "exits", "long", "magnitude"} <= mine.keys()
    assert [key for key in mine if not same(mine[key], theirs[key])] == []


@pytest.mark.slow
def test_a_disk_that_becomes_read_only(tmp_path, mount, undisturbed):
    place = Place(tmp_path, "mended", "slow")
    mount(place.results, "size=20m")
    process = place.start("--workers", "1", "--only=method=long")
    wait_for(lambda: list(place.results.glob(".work/stages/*/checkpoint-*")), process)
    wait_for(lambda: mount(place.results, "remount,ro"), process)  # in vain while a file is open
    code, said = ended(process)
    assert code == 2
    assert said.count(READ_ONLY) == 1
    assert said.splitlines()[-1].startswith(f"error: cannot write {place.results}/")
    mount(place.results, "remount,rw")
    (tmp_path / "slow").unlink()
    assert place.run("--workers", "1", "--only=method=long")[0] == 0
    assert (tmp_path / "trained").read_text().count("live ") == 1, "it goes on from its last checkpoint"
    mine, theirs = place.outcomes(), undisturbed.outcomes()
    assert [key for key in mine if not same(mine[key], theirs[key])] == []


def test_a_plugin_that_finds_a_disk_full(tmp_path):
    place = Place(tmp_path)
    (place.root / "s.yaml").write_text(FULL_FOR_A_METHOD)
    code, said = place.run("--workers", "1")
    assert code == 2
    assert said.splitlines()[-1] == f"error: cannot write /scratch/of/a/plugin: {FULL}"
    assert place.records() == {}, "neither has failed: both go on when there is room"
    (tmp_path / "mended").touch()
    assert place.run("--workers", "1")[0] == 0 and len(place.records()) == 2


def test_a_results_folder_that_is_read_only(tmp_path, said, mount):
    place = Place(tmp_path / "place")
    disk = tmp_path / "disk"
    mount(disk, "size=400k,ro")
    code, text = said(str(place.root / "s.yaml"), *PLUGINS, "--results", str(disk / "results"))
    assert code == 2
    assert READ_ONLY in text
