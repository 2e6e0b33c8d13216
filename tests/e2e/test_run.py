"""`harness run` from the outside: exit codes, messages, and results that do not depend on how it went."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.cli import main
from harness.storage import checkpoint

HERE = Path(__file__).parent
PLUGINS = ("--plugin", str(HERE.parent / "harness" / "toy_plugin.py"), "--plugin", str(HERE / "fates.py"))
SUITE = """
architectures: net
benchmarks: blobs
training: {steps: 60, batch_size: 16, lr: 0.01}
evaluation: {checks: 3}
methods:
  dense:
  magnitude: {density: 0.5, recovery_steps: 20}
  raises: {use: fate, fate: raise, density: 0.5}
  waits: {use: random, density: {match: raises}}
  diverges: {use: dense, training: {lr: 1e30, optimizer: sgd}}
  exits: {use: fate, fate: exit}
  killed: {use: fate, fate: kill}
  long: {use: fate, fate: live, training: {steps: 400}}
"""


class Place:
    """A suite, a results folder, and the folder in which its methods' fates are told."""

    def __init__(self, root: Path, *markers: str) -> None:
        self.root, self.results = root, root / "results"
        root.mkdir(exist_ok=True)
        (root / "s.yaml").write_text(SUITE)
        for marker in markers:
            (root / marker).touch()

    def start(self, *arguments: str, results: Path | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "harness", "run", str(self.root / "s.yaml"), *PLUGINS]
        command += ["--results", str(results or self.results), "--checkpoint-minutes", "0", *arguments]
        environment = {**os.environ, "FATES_FOLDER": str(self.root), "PYTHONWARNINGS": "default", "COLUMNS": "200"}
        environment.pop("HARNESS_DEBUG", None)
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )

    def run(self, *arguments: str, results: Path | None = None) -> tuple[int, str]:
        """Exit code and stderr, which must hold no warning and no traceback."""
        return ended(self.start(*arguments, results=results))

    def records(self) -> dict[str, dict[str, Any]]:
        """By method."""
        found = [json.loads(path.read_text()) for path in (self.results / "s" / "cells").glob("*.json")]
        return {record["method"]["label"]: record for record in found}

    def outcomes(self) -> dict[str, Any]:
        """All that is done and that must not depend on how it went, by method or stage."""
        found: dict[str, Any] = {}
        for label, record in self.records().items():
            if record["status"] == "done":
                spent = {key: record["spent"][key] for key in ("steps", "examples", "tokens", "flops")}
                ignored = dict.fromkeys(("environment", "finished"))
                found[label] = {**record, **ignored, "spent": spent}
                found[f"{label} series"] = json.loads(
                    (self.results / "s" / "series" / f"{record['cell']}.json").read_text()
                )
                for stage in record["stages"]:
                    folder = self.results / ".work" / "stages" / stage
                    state = checkpoint.load(folder / "state.safetensors")
                    del state["spent"]
                    found[stage] = state
                    assert sorted(path.name for path in folder.iterdir()) == [
                        "series.json",
                        "stage.json",
                        "state.safetensors",
                    ]
        return found


def ended(process: subprocess.Popen[str], seconds: float = 120) -> tuple[int, str]:
    try:
        _, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert "Traceback" not in stderr and "Warning" not in stderr, stderr
    return process.returncode, stderr


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Place:
    """Everything run by one worker, without any accident but divergence."""
    place = Place(tmp_path_factory.mktemp("undisturbed"), "mended")
    code, said = place.run("--workers", "1")
    assert code == 1, said
    return place


@pytest.mark.slow
def test_fates(tmp_path, undisturbed, capsys):
    place = Place(tmp_path)
    code, said = place.run("--workers", "2")
    assert code == 1
    records = place.records()
    assert {label: record["status"] for label, record in records.items()} == {
        "dense": "done",
        "magnitude": "done",
        "raises": "failed",
        "waits": "failed",
        "diverges": "diverged",
        "exits": "done",
        "killed": "failed",
        "long": "done",
    }
    assert records["raises"]["failure"]["type"] == "RuntimeError"
    assert 'raise RuntimeError("boom at the scores")' in records["raises"]["failure"]["traceback"]
    assert records["raises"]["metrics"] == {} and records["raises"]["density"]["requested"] == 0.5
    assert records["waits"]["failure"]["message"] == "blocked by net raises 0.5 seed 0 (boom at the scores)"
    assert 1 <= records["diverges"]["failure"]["step"] <= 60
    assert records["killed"]["failure"]["message"].startswith("its worker process died with exit code -9")
    assert said.count("failed: net raises 0.5 seed 0: boom at the scores") == 1
    assert "failed: net waits" not in said
    assert "note: net exits seed 0: its worker process died with exit code 7; trying again" in said
    assert "4 cells have no result:" in said
    assert f"traceback: {place.results}/s/cells/main.net.blobs.raises.d0.5.s0." in said

    before = {path: path.stat().st_mtime_ns for path in (place.results / "s" / "cells").iterdir()}
    (tmp_path / "mended").touch()
    code, said = place.run("--workers", "2")
    assert code == 1  # what diverged is not trained again, and still has no result
    assert "8 cells, 5 finished, 3 to run" in said and "1 cells have no result:" in said
    again = {path.name.split(".")[3] for path, time_ns in before.items() if path.stat().st_mtime_ns != time_ns}
    assert again == {"raises", "waits", "killed"}
    assert (tmp_path / "trained").read_text().count("exit ") == 1

    # Two workers or one, killed or not: the same to the last bit.
    mine, theirs = place.outcomes(), undisturbed.outcomes()
    assert len(mine) == 7 * 2 + 7  # records and series of seven cells, and seven stages
    assert mine.keys() == theirs.keys()
    assert [key for key in mine if not same(mine[key], theirs[key])] == []

    # Nothing is left to do.
    before = {path: path.stat().st_mtime_ns for path in (place.results / "s" / "cells").iterdir()}
    with pytest.raises(SystemExit) as caught:
        main(["run", str(place.root / "s.yaml"), *PLUGINS, "--results", str(place.results)])
    assert caught.value.code == 1
    assert "8 cells, 8 finished, 0 to run" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in (place.results / "s" / "cells").iterdir()}

    # Unless it is forced.
    code, said = place.run("--force", "--only", "method=exits")
    assert code == 0 and "1 cells, 0 finished, 1 to run" in said
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {path.name.split(".")[3] for path in before if before[path] != after[path]} == {"exits"}
    assert (tmp_path / "trained").read_text().count("exit ") == 2
    assert same(place.outcomes(), mine)


def wait_for(condition: Any, process: subprocess.Popen[str], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_goes_on_to_the_same_results(tmp_path, undisturbed, number):
    place = Place(tmp_path, "mended", "slow")
    process = place.start("--only", "method=long", "--force")
    wait_for(lambda: list(place.results.glob(".work/stages/*/checkpoint-*")), process)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: the workers get it too
    else:
        process.send_signal(number)
    code, said = ended(process)
    assert code == 130
    assert "note: stopping: running stages write a checkpoint (Ctrl-C again: stop at once)" in said
    command = said[said.index("stopped; to go on: ") :].splitlines()[0]
    assert command.startswith(f"stopped; to go on: harness run {place.root}/s.yaml --plugin ")
    assert command.endswith("--only method=long")  # and not --force, which would begin anew
    assert place.records() == {}
    if number == signal.SIGTERM:
        return
    (tmp_path / "slow").unlink()
    code, said = place.run("--only", "method=long")
    assert code == 0 and "selected from 8 cells" in said
    assert (tmp_path / "trained").read_text().count("live ") == 1
    mine, theirs = place.outcomes(), undisturbed.outcomes()
    assert set(mine) >= {"long", "long series"}
    assert [key for key in mine if not same(mine[key], theirs[key])] == []


@pytest.mark.slow
def test_two_runs_at_once_share_the_work(tmp_path, undisturbed):
    place = Place(tmp_path, "mended")
    selection = ("--workers", "2", *(f"--only=method={name}" for name in ("exits", "killed", "long", "magnitude")))
    both = [ended(process) for process in [place.start(*selection), place.start(*selection)]]
    assert [code for code, _ in both] == [0, 0]
    assert sorted(line.split()[0] for line in (tmp_path / "trained").read_text().splitlines()) == [
        "exit",
        "kill",
        "live",
    ]
    for _, said in both:
        assert said.count("another harness process works on this stage; waiting for it") <= 5
    mine, theirs = place.outcomes(), undisturbed.outcomes()
    assert len(mine) == 4 * 2 + 5
    assert [key for key in mine if not same(mine[key], theirs[key])] == []


# --- storage -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Any]:
    """Mounts a small memory disk on a folder; its options can be changed."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"needs the right to mount a small memory disk: {done.stderr.strip()}")

    if not shutil.which("mount"):
        pytest.skip("needs mount, to make a disk that is full")
    mount("size=400k")
    yield folder, mount
    subprocess.run(["umount", str(folder)], check=False)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_one_message_and_loses_nothing(tmp_path, small_disk, undisturbed):
    folder, mount = small_disk
    place = Place(tmp_path / "place", "mended")
    place.results = folder / "results"
    selection = ("--workers", "1", "--only=method=exits", "--only=method=long")
    assert place.run(*selection, "--only=method=dense")[0] == 0
    kept = place.outcomes()
    shutil.rmtree(folder / "results" / "s" / "cells")
    (folder / "filler").write_bytes(b"x" * max(0, _free(folder) - 8_000))
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    code, said = place.run("--force", "--only=method=long")
    assert code == 2
    assert said.count("the disk is full. Free some space and run the same command again; finished work is kept.") == 1
    assert said.splitlines()[-1].startswith(f"error: cannot write {folder}/results/")
    left = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    dense = next(iter(kept["dense"]["stages"]))
    assert all(left[path] == content for path, content in before.items() if dense in str(path))
    assert not [path for path in left if path.suffix == ".tmp"]
    mount("remount,size=4m")
    assert place.run(*selection, "--only=method=dense")[0] == 0
    assert same(place.outcomes(), kept)


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


@pytest.fixture
def said(capsys):
    """Runs the command in this process; (exit code, stderr)."""

    def call(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as caught:
            main(["run", *arguments])
        return caught.value.code, capsys.readouterr().err

    return call


def test_a_results_folder_that_cannot_be_written(tmp_path, said, small_disk):
    place = Place(tmp_path / "place")
    folder, mount = small_disk
    mount("remount,ro")
    code, text = said(str(place.root / "s.yaml"), *PLUGINS, "--results", str(folder / "results"))
    assert code == 2
    assert "the file system is read-only. Choose another folder with --results and run the same command again" in text


def test_a_results_folder_that_is_a_file(tmp_path, said):
    place = Place(tmp_path)
    place.results.write_text("not a folder")
    code, text = said(str(place.root / "s.yaml"), *PLUGINS, "--results", str(place.results))
    assert code == 2 and f"error: cannot write {place.results}" in text
    assert place.results.read_text() == "not a folder"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_results_folder_without_permission(tmp_path, said):
    place = Place(tmp_path)
    place.results.mkdir(mode=0o500)
    code, text = said(str(place.root / "s.yaml"), *PLUGINS, "--results", str(place.results))
    assert code == 2 and "no permission to write. Choose another folder with --results" in text


def test_missing_data_ends_a_run_before_it_begins(tmp_path, said, monkeypatch):
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "empty"))
    path = tmp_path / "s.yaml"
    path.write_text("architectures: mlp\nbenchmarks: mnist\ntraining: {epochs: 1}\nmethods: dense\n")
    code, text = said(str(path), "--results", str(tmp_path / "results"), "--force")
    assert code == 2
    assert "error: mnist: train-images-idx3-ubyte" in text
    assert "Run `harness data prepare mnist` on a machine with internet, or set HARNESS_DATA" in text
    assert not (tmp_path / "results").exists() and not (tmp_path / "empty").exists()


def test_a_dry_run_shows_the_plan_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    place = Place(tmp_path)
    command = ["run", str(place.root / "s.yaml"), *PLUGINS, "--results", str(place.results)]
    with pytest.raises(SystemExit) as caught:
        main([*command, "--dry-run"])
    table, said = capsys.readouterr()
    assert caught.value.code == 0 and not place.results.exists()
    assert "8 cells, 0 finished, 8 to run\n  8 stages (1 shared), 8 to run, 780 optimizer steps\n" in said
    rows = [re.split(r"  +", line) for line in table.splitlines()]
    assert ["magnitude", "0.5", "1", "80", "1 of 2", "0 of 1"] in [row[:6] for row in rows]
    assert ["waits", "0.5", "1", "60", "0 of 1", "0 of 1"] in [row[:6] for row in rows]
    assert "\x1b" not in table and max(map(len, [*table.splitlines(), *said.splitlines()[:4]])) <= 80
    assert not re.search(r"[0-9a-f]{10}", table)
    with pytest.raises(SystemExit):
        main([*command, "--dry-run", "--hashes"])
    jobs = capsys.readouterr().out
    assert len(jobs.splitlines()) == 16 and "net magnitude 0.5 seed 0: from phase 1" in jobs
    with pytest.raises(SystemExit) as caught:
        main([*command, "--hashes"])
    assert caught.value.code == 2 and "--hashes goes with --dry-run" in capsys.readouterr().err
