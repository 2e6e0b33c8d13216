"""`harness run` from the outside: exit codes, messages, and results that do not depend on how it went."""

from __future__ import annotations

import os
import re
import signal

import pytest
from fated_run import PLUGINS, Place, ended, same, wait_for

from harness.cli import main


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
    blocked = records["waits"]["failure"]["message"]
    assert blocked.startswith("blocked by net raises 0.5 seed 0 (boom at the scores (") and "fates.py:37" in blocked
    assert 1 <= records["diverges"]["failure"]["step"] <= 60
    assert records["killed"]["failure"]["message"].startswith("its worker process died with exit code -9")
    assert said.count("failed: net raises 0.5 seed 0: boom at the scores") == 1
    assert "failed: net waits" not in said
    assert "note: net exits seed 0: its worker process died with exit code 7; trying again" in said
    assert "4 runs have no result:" in said
    assert f"traceback: {place.results}/s/cells/main.net.blobs.raises.d0.5.s0." in said

    assert (place.results / ".work" / ".gitignore").read_text() == "*\n"

    before = {path: path.stat().st_mtime_ns for path in (place.results / "s" / "cells").iterdir()}
    (tmp_path / "mended").touch()
    code, said = place.run("--workers", "2")
    assert code == 1  # what diverged is not trained again, and still has no result
    assert "8 runs, 5 finished, 3 to do" in said and "1 run has no result:" in said
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
    assert "8 runs, 8 finished, 0 to do" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in (place.results / "s" / "cells").iterdir()}

    # Unless it is forced.
    code, said = place.run("--force", "--only", "method=exits")
    assert code == 0 and "1 run, 0 finished, 1 to do" in said
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {path.name.split(".")[3] for path in before if before[path] != after[path]} == {"exits"}
    assert (tmp_path / "trained").read_text().count("exit ") == 2
    assert same(place.outcomes(), mine)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_goes_on_to_the_same_results(tmp_path, undisturbed, number):
    place = Place(tmp_path, "mended", "slow")
    process = place.start("--only", "method=long", "--force")
    wait_for(lambda: list(place.results.glob(".work/stages/*/checkpoint-*")), process)
    os.killpg(process.pid, number)  # as a terminal and `timeout` do: the workers and their server get it too
    code, said = ended(process)
    assert code == 130
    assert "note: stopping: running stages write a checkpoint (Ctrl-C again: stop at once)" in said
    assert "died" not in said
    command = said[said.index("stopped; to go on: ") :].splitlines()[0]
    assert command.startswith(f"stopped; to go on: harness run {place.root}/s.yaml --plugin ")
    assert command.endswith("--only method=long")  # and not --force, which would begin anew
    assert place.records() == {}
    if number != signal.SIGINT:
        return
    (tmp_path / "slow").unlink()
    code, said = place.run("--only", "method=long")
    assert code == 0 and "selected from 8 runs" in said
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
        # Once for each of nine jobs, and once more for the two whose workers die.
        assert said.count("another harness process works on this stage; waiting for it") <= 11
    mine, theirs = place.outcomes(), undisturbed.outcomes()
    assert len(mine) == 4 * 2 + 5
    assert [key for key in mine if not same(mine[key], theirs[key])] == []


# --- storage (full disks: test_disks.py) -----------------------------------------------------------


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


GAP = """
from harness import Benchmark, Entry, Measurement, Metric, hookimpl
from harness_benchmarks.digits import Digits

class Gap(Digits):
    metrics = (Metric("gap", "points", "max"), *Digits.metrics)

    def evaluate(self, model, split, device):
        found = dict(super().evaluate(model, split, device))
        return {"gap": Measurement(float("nan"), found["accuracy"].n), **found}

@hookimpl
def harness_register_benchmarks():
    return [Entry("gap", Gap, "digits, with a score that is no number")]
"""


def test_runs_whose_primary_score_is_no_number_are_told_by_the_exit_code(tmp_path, said, capsys):
    suite, plugin, results = tmp_path / "s.yaml", tmp_path / "gap.py", str(tmp_path / "results")
    plugin.write_text(GAP)
    suite.write_text(
        "architectures: {mlp: {hidden: [4]}}\nbenchmarks: gap\nseeds: [0, 1]\n"
        "training: {steps: 1, batch_size: 8}\nmethods: {dense: , random: {density: 0.5}}\n"
    )
    for _ in range(2):  # what is finished stays so, and still has no score
        code, text = said(str(suite), "--plugin", str(plugin), "--results", results)
        assert code == 1 and "4 runs have no primary score:" in text
        assert text.count("gap is nan (not a number)") == 4
    with pytest.raises(SystemExit) as caught:
        main(["compare", "--results", results])
    told = capsys.readouterr().err
    assert caught.value.code == 2
    assert "no run has a primary score (gap is nan (not a number); its other scores" in told
    assert "choose a metric, there is accuracy" in told
    with pytest.raises(SystemExit) as caught:
        main(["compare", "--metric", "accuracy", "--results", results])
    assert caught.value.code == 0 and "random" in capsys.readouterr().out


def test_a_dry_run_shows_the_plan_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FATES_FOLDER", str(tmp_path))  # where methods note the few steps that are timed
    place = Place(tmp_path)
    command = ["run", str(place.root / "s.yaml"), *PLUGINS, "--results", str(place.results)]
    with pytest.raises(SystemExit) as caught:
        main([*command, "--dry-run"])
    table, said = capsys.readouterr()
    assert caught.value.code == 0 and not place.results.exists()
    assert "8 runs, 0 finished, 8 to do\n  8 stages to train (1 shared), 780 optimizer steps\n" in said
    rows = [re.split(r"  +", line) for line in table.splitlines()]
    assert ["magnitude", "0.5", "1", "80", "1 of 2", "0 of 1"] in [row[:6] for row in rows]
    assert ["waits", "0.5", "1", "60", "0 of 1", "0 of 1"] in [row[:6] for row in rows]
    assert "\x1b" not in table and max(map(len, [*table.splitlines(), *said.splitlines()[:4]])) <= 80
    assert not re.search(r"[0-9a-f]{10}", table)
    with pytest.raises(SystemExit):
        main([*command, "--dry-run", "--hashes"])
    jobs = capsys.readouterr().out
    assert len(jobs.splitlines()) == 16 and "net magnitude 0.5 seed 0: stage 2" in jobs
    with pytest.raises(SystemExit) as caught:
        main([*command, "--hashes"])
    assert caught.value.code == 2 and "--hashes goes with --dry-run" in capsys.readouterr().err
