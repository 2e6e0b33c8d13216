"""`harness watch`: what it shows, and when it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from result_files import write_plan, write_record
from rich.console import Console

from harness.cli.progress_display import Bar, Standing, spark, stage_line
from harness.cli.watch import _plain, command
from harness.core.phases import Finetune, Prune
from harness.errors import UserError
from harness.executors.base import Job
from harness.executors.progress import POINTS, Progress
from harness.executors.run_status import Heartbeat, running
from harness.executors.submissions import Element, Submissions
from harness.results.store import ResultStore
from harness.stages.graph import Stage

ROW = {
    "id": "a", "label": "net magnitude 0.5 seed 0", "step": 300, "steps": 1200, "phase": [2, "Finetune"],
    "loss": 0.25, "lr": 0.0005, "rate": 20.0, "left": 45.0, "validation": {"accuracy": 0.875, "loss": 0.5},
    "density": 0.4, "losses": [1.0, 0.5, 0.25],
}  # fmt: skip
WATCH = [sys.executable, "-c", "from harness.cli.watch import command; command()"]


def record(cell: str, status: str = "done") -> dict[str, Any]:
    metric = {"value": 0.9, "n": 10, "stderr": 0.01, "unit": "fraction", "direction": "max", "primary": True}
    return {
        "schema": 1,
        "status": status,
        "cell": cell,
        "suite": "small",
        "experiment": "main",
        "architecture": {"label": "mlp", "parameters": 1000},
        "method": {"label": "dense", "plugin": "dense", "version": "1", "options": {}},
        "benchmark": {"label": "digits", "protocol": "test"},
        "seed": ord(cell),
        "density": {"requested": None, "scope": "maskable", "mask": 1.0, "true_zeros": 0.0},
        "metrics": {"accuracy": metric} if status == "done" else {},
        "failure": None if status == "done" else {"message": "boom", "type": "ValueError"},
    }


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """Three cells: one done, one failed, one to do."""
    store = ResultStore(tmp_path / "results")
    write_plan(store, "small", {"suite": "small", "cells": ["a", "b", "c"], "path": "s.yaml", "description": ""})
    write_record(store, record("a"))
    write_record(store, record("b", "failed"))
    return store


def watched(*arguments: object) -> str:
    result = CliRunner().invoke(command, [*map(str, arguments), "--once"], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@contextmanager
def beating(store: ResultStore, **content: Any) -> Iterator[None]:
    said = {"total": 9, "done": 4, "failed": 1, "left": 200.0, "jobs": [ROW], **content}
    heartbeat = Heartbeat(store.work, "small", lambda: said)
    end = time.monotonic() + 5
    while not list(running(store.work, "small")) and time.monotonic() < end:
        time.sleep(0.01)
    try:
        yield
    finally:
        heartbeat.close()


def drawn(standing: Standing, width: int, height: int = 24) -> list[str]:
    console = Console(file=StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(standing)
    return console.file.getvalue().splitlines()


def test_a_snapshot_counts_cells_and_shows_the_leaderboard_so_far(store):
    shown = watched("small", "--results", store.root)
    assert "results: 1/3 done, 1 failed, 1 to do" in shown
    assert "nothing runs now; 1 run to do" in shown
    assert "dense" in shown and "0.9" in shown


@pytest.mark.parametrize("what", ["small", "suites/small.yaml", "{root}", "{root}/small"])
def test_a_suite_is_named_by_name_file_or_folder(store, what):
    assert "small\nresults: 1/3 done" in watched(what.format(root=store.root), "--results", store.root)


def test_what_is_no_suite_is_an_error_with_the_nearest_name(store, tmp_path):
    runner = CliRunner()
    for arguments, text in (
        (["smal", "--results", str(store.root)], "Did you mean 'small'"),
        (["small", "--results", str(tmp_path)], "run a suite first"),
    ):
        error = runner.invoke(command, arguments).exception
        assert isinstance(error, UserError) and text in str(error)


def test_a_live_run_is_shown_with_all_its_numbers_until_it_ends(store):
    with beating(store):
        shown = watched("small", "--results", store.root)
        assert "this run: 4/9 done, 1 failed, 4 to do, about 3 min 20 s left, on " in shown
        assert (
            "net magnitude 0.5 seed 0 finetune: step 300 of 1,200, loss 0.2500 █▅▁, lr 0.0005, 20 steps/s, "
            "45 s left, density 0.4000, validation accuracy 0.8750"
        ) in shown
        assert "nothing runs" not in shown
    assert "this run:" not in watched("small", "--results", store.root)


def test_a_run_that_was_killed_is_not_taken_for_a_live_one(store):
    code = (
        "import os, sys, time\nfrom pathlib import Path\nfrom harness.executors.run_status import Heartbeat\n"
        "beat = Heartbeat(Path(sys.argv[1]), 'small', lambda: {'jobs': []})\n"
        "while not list(Path(sys.argv[1]).glob('running/*.json')): time.sleep(0.01)\n"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(store.work)], check=False)
    (path,) = (store.work / "running").glob("*.json")
    assert not list(running(store.work, "small"))
    beat = json.loads(path.read_text())
    path.write_text(json.dumps({**beat, "machine": "another"}))  # of others only the time is known
    assert list(running(store.work, "small"))
    path.write_text(json.dumps({**beat, "machine": "another", "time": time.time() - 100}))
    (path.parent / "small.b.json").write_text("{")
    assert not list(running(store.work, "small"))


def test_heartbeats_and_rows_of_older_versions_are_shown_as_far_as_they_go(store):
    row = {"label": "net dense seed 0", "step": 1, "steps": 2, "loss": 0.5}
    beat = {"suite": "small", "host": "h", "pid": 1, "time": time.time(), "left": None, "jobs": [row]}
    (store.work / "running").mkdir(parents=True)
    (store.work / "running" / "small.h.1.json").write_text(json.dumps(beat))
    assert "net dense seed 0: step 1 of 2, loss 0.5000\n" in watched("small", "--results", store.root)


def test_what_slurm_jobs_say_is_shown_where_slurm_cannot_be_asked(store, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")  # the machine, or a test before this one, may have a SLURM
    submissions = Submissions(store.work, "small")
    submissions.add([Element("7", ("s", "c"), (), 60)])
    said = {"host": "n1", "time": time.time(), "restarts": 0, "jobs": [ROW], "ended": False}
    submissions.write_progress("7", said)
    shown = watched("small", "--results", store.root)
    assert "SLURM cannot be asked from here" in shown and "step 300 of 1,200" in shown
    assert "at least 45 s left" in shown and "nothing runs" not in shown


def test_it_ends_by_itself_with_one_snapshot_per_change(store, tmp_path):
    with beating(store):
        watch = subprocess.Popen(
            [*WATCH, "small", "--results", str(store.root), "--interval", "0.1"], stdout=subprocess.PIPE, text=True
        )
        assert watch.stdout is not None
        first = [watch.stdout.readline() for _ in range(4)]
        write_record(store, record("b"))
        second = [watch.stdout.readline() for _ in range(4)]
        write_record(store, record("c"))
    rest = watch.communicate(timeout=60)[0]
    assert watch.returncode == 0
    assert "results: 1/3 done, 1 failed, 1 to do\n" in first and "results: 2/3 done, 1 to do\n" in second
    assert "results: 3/3 done\n" in rest and "to do" not in rest.partition("3/3 done")[2]


def test_it_ends_when_a_run_has_ended_before_all_was_done(store):
    with beating(store):
        watch = subprocess.Popen(
            [*WATCH, "small", "--results", str(store.root), "--interval", "0.1"], stdout=subprocess.PIPE, text=True
        )
        assert watch.stdout is not None
        assert watch.stdout.readline()
    assert "nothing runs now; 1 run to do" in watch.communicate(timeout=60)[0]
    assert watch.returncode == 0


def test_ctrl_c_leaves_with_the_leaderboard_so_far(store):
    watch = subprocess.Popen(
        [*WATCH, "small", "--results", str(store.root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert watch.stdout is not None
    assert watch.stdout.readline() == "small\n"  # nothing has run yet: it waits
    time.sleep(0.3)
    watch.send_signal(signal.SIGINT)
    out, err = watch.communicate(timeout=60)
    assert watch.returncode == 130 and "Traceback" not in err
    assert "dense" in out


@pytest.mark.slow
def test_it_follows_a_real_run(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "architectures: {skip_mlp: {hidden: [16, 16]}}\nbenchmarks: digits\n"
        "training: {steps: 3000, batch_size: 16, lr: 0.001}\nmethods: {genome: }\n"
    )
    command = [sys.executable, "-m", "harness", "run", str(tmp_path / "s.yaml"), "--workers", "1"]
    results = tmp_path / "results"
    with subprocess.Popen([*command, "--results", str(results)], stderr=subprocess.PIPE) as run:
        while not (results / "s" / "suite.json").is_file():
            assert run.poll() is None, run.communicate()[1]
            time.sleep(0.05)
        done = subprocess.run([*WATCH, str(results), "--interval", "0.1"], capture_output=True, text=True, timeout=120)
        assert run.wait(60) == 0
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert "results: 1/1 done\n" in done.stdout
    numbers = [line for line in done.stdout.splitlines() if "skip_mlp " in line and "steps/s" in line]
    assert any(" train: step " in line and "validation accuracy" in line for line in numbers)
    assert any("density 0." in line for line in numbers)


# --- pictures --------------------------------------------------------------------------------


def test_a_curve_is_drawn_from_its_lowest_to_its_highest_value():
    assert spark([100.0, 10.0, 1.0]) == "█▅▁"  # logarithmic: 10 lies in the middle, 3.5 of 7 rounds to 4
    assert spark([0.0, 1.0, 10.0]) == "▁▂█"  # not with zeros: 0.7 of 7 rounds to 1
    assert spark([2.0, 2.0]) == "▁▁" and spark([1.0]) == spark([]) == spark([1.0, float("nan")]) == ""
    assert spark([1.0, 2.0], unicode=False) == "_@"
    assert len(spark([float(i) for i in range(1, 100)])) == 8


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_the_display_fits_the_terminal_and_says_what_it_leaves_out(width):
    bars = [Bar("results", 3000, 1200, 7, 7000.0), Bar("this run", 9, 3, 0, 200.0, note="on a-machine")]
    rows: list[Mapping[str, Any]] = [{**ROW, "label": f"net method seed {i}"} for i in range(40)]
    lines = drawn(Standing(bars, [*rows, {"label": "net: evaluate", "steps": 0}], ["a note"], "small"), width)
    assert len(lines) <= 23 and max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "1200/3000 done" in text and "7 failed" in text and "1793 to do" in text and "net: evaluate" in text
    shown = text.count("net method seed")
    assert 0 < shown < 40 and f"and {40 - shown} more" in text and "a note" in text
    if width >= 80:
        assert "300/1,200" in text and "loss 0.2500" in text and "20 steps/s" in text and "45 s left" in text


def test_a_row_in_words_leaves_out_what_is_not_known():
    assert stage_line({"label": "net dense", "step": 0, "steps": 5}) == "net dense: step 0 of 5"
    assert stage_line({"label": "net dense: evaluate", "steps": 0}) == "net dense: evaluate"
    assert "0.08 steps/s" in stage_line({**ROW, "rate": 0.08}) and "loss 1.5e+06" in stage_line({**ROW, "loss": 1.5e6})


# --- progress --------------------------------------------------------------------------------


def job() -> Job:
    cell: Any = SimpleNamespace(architecture="net", method="m", density=None, seed=0)
    stage = Stage("h", cell, (Prune(fraction=0.5), Finetune(1000)), 1, None, False, None, None)
    return Job("h", stage, ())


def test_the_curve_that_travels_is_an_even_selection():
    progress = Progress(job())
    for step in range(1, 1001):
        progress.seen(step, float(step), {"lr": 0.1, "density": 0.5, "validation": {}})
        losses = progress.row()["losses"]
        assert len(losses) <= POINTS and losses[0] == 1
        assert len({b - a for a, b in pairwise(losses)}) <= 1
    row = progress.row()
    assert row["losses"][-1] > 1000 - 2 * 1000 / POINTS * 2
    assert row["phase"] == [2, "Finetune"] and row["steps"] == 1000 and row["left"] == 0
    assert (row["lr"], row["density"], row["validation"], row["loss"]) == (0.1, 0.5, None, 1000.0)


def test_speed_is_counted_from_where_it_was_first_heard_of():
    progress = Progress(job())
    assert progress.row()["rate"] is None and progress.part == 0
    began = time.monotonic()
    progress.seen(900, 1.0, {})  # resumed: 900 steps were done by somebody else
    assert progress.row()["rate"] is None
    time.sleep(0.1)
    progress.seen(910, 1.0, {})
    taken = time.monotonic() - began
    rate = progress.row()["rate"]
    assert 10 / taken <= rate <= 10 / 0.1
    assert progress.row()["left"] == pytest.approx(90 / rate)


def test_plain_lines_fit_into_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    standing = Standing([Bar("results", 4, 1, 1, 50.0)], [ROW], [], "small")
    monkeypatch.setenv("COLUMNS", "80")
    _plain(Console(highlight=False), standing)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and lines[2].startswith("  net magnitude 0.5") and lines[3].startswith("    ")
    assert "validation accuracy 0.8750" in " ".join(lines)
    monkeypatch.delenv("COLUMNS")
    _plain(Console(highlight=False), standing)
    assert len(capsys.readouterr().out.splitlines()) == 3, "whole lines where nobody says how wide they may be"
