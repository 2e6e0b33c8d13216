"""``harness compare A B``: the answer first, then what changed; or one error that says what is allowed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from result_files import small_record, write_plan, write_record
from scipy import stats

from harness.analysis.changes import KEYS
from harness.cli.compare import command
from harness.errors import UserError
from harness.results.packing import pack
from harness.results.store import ResultStore

BASE = [0.8, 0.81, 0.79, 0.82]
MOVED = [0.7, 0.715, 0.681, 0.72]


def cell(method: str, seed: int, end: str = "00000000") -> str:
    return f"main.mlp.digits.{method}.s{seed}.{end}"


def fill(root: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda record: record) -> Path:
    """Three methods at four seeds, as ``change`` leaves them; what it gives None for is not there."""
    store = ResultStore(root)
    for method in ("dense", "genome", "random"):
        for seed, value in enumerate(BASE):
            score = {"value": value, "n": 1000, "unit": "points", "direction": "max", "primary": True}
            record = small_record("small", cell(method, seed), method, seed, value, metrics={"score": score})
            if (changed := change(record)) is not None:
                write_record(store, changed)
    return root


def rescored(record: dict[str, Any], value: float) -> dict[str, Any]:
    return record | {"metrics": {"score": record["metrics"]["score"] | {"value": value}}}


def moved(record: dict[str, Any]) -> dict[str, Any]:
    """``genome`` is worse in every seed."""
    return rescored(record, MOVED[record["seed"]]) if record["method"]["label"] == "genome" else record


def invoke(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=code != 0)
    assert (result.exit_code == 0) == (code == 0), result.output
    return result


@pytest.mark.parametrize("packed", [False, True])
def test_equal_results_are_counted_and_not_listed(tmp_path: Path, packed: bool) -> None:
    a, b = fill(tmp_path / "a"), fill(tmp_path / "b")
    if packed:
        pack(ResultStore(a), "small")
    out = invoke(a, b).stdout
    assert "All 12 results are equal." in out and "genome" not in out


def test_the_answer_then_the_row_that_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    fill(Path("a"))
    fill(Path("b"), moved)
    lines = invoke("a", "b").stdout.splitlines()
    assert lines[0] == "A: a, B: b" and lines[1] == "Of 12 results 8 are equal, 4 have changed."
    assert lines[2] == "What changed: test score (4)."
    assert lines[3] == "Beyond noise: 1 of 1 row tested: genome on digits is worse."
    assert max(map(len, lines)) <= 80
    (row,) = (line.split() for line in lines if line.startswith("genome"))
    assert row[:4] == ["genome", "1.0000", "0.8050", "0.7040"]
    half = stats.ttest_rel(MOVED, BASE).confidence_interval()
    assert row[4:7] == ["-0.1010", "±", f"{(half.high - half.low) / 2:.4f}"] and row[7:9] == ["yes:", "worse"]
    assert not any(line.startswith(("dense", "random")) for line in lines)


def test_densities_that_differ_leave_room_for_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    def chosen(scale: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def change(record: dict[str, Any]) -> dict[str, Any]:
            mask = scale * (1 + record["seed"]) if record["method"]["label"] == "genome" else 1.0
            return moved(record) | {"density": {"scope": "maskable", "mask": mask, "nonzero": mask}}

        return change

    lines = invoke(fill(tmp_path / "a"), fill(tmp_path / "b", chosen(0.125))).stdout.splitlines()
    (row,) = (line for line in lines if line.startswith("genome"))
    assert len(row) <= 80 and row.split()[1] == "0.1250\N{EN DASH}0.5000" and "yes: worse" in row


def test_programs_read_the_same(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a"), fill(tmp_path / "b", moved)
    told = json.loads(invoke(a, b, "--format", "json").stdout)
    assert (
        told["counts"]["equal"] == 8 and told["counts"]["changed"] == 4 and (told["a"], told["b"]) == (str(a), str(b))
    )
    (row,) = told["rows"]
    assert tuple(row) == KEYS and row["method"] == "genome" and row["beyond_noise"] is True and row["better"] is False
    assert row["p_adjusted"] == pytest.approx(stats.ttest_rel(MOVED, BASE).pvalue)
    assert [one["cell_b"] for one in told["cells"]] == [cell("genome", seed) for seed in range(4)]
    assert told["cells"][0]["changed"] == [{"name": "test score", "a": BASE[0], "b": MOVED[0]}]
    (read,) = csv.DictReader(io.StringIO(invoke(a, b, "--format", "csv").stdout))
    assert tuple(read) == KEYS and float(read["difference"]) == row["difference"]
    assert "| genome" in invoke(a, b, "--format", "markdown").stdout
    assert r"\toprule" in invoke(a, b, "--latex").stdout


def test_another_machine_is_no_change_unless_beyond_noise(tmp_path: Path) -> None:
    """Each seed is within three of its standard errors; all four together are not noise."""

    def measured(error: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def change(record: dict[str, Any]) -> dict[str, Any]:
            score = record["metrics"]["score"] | {"stderr": 0.02}
            off = error * (1 + 0.1 * record["seed"]) if record["method"]["label"] == "genome" else 0.0
            return record | {"metrics": {"score": score | {"value": score["value"] + off}}}

        return change

    a = fill(tmp_path / "a", measured(0))
    out = " ".join(invoke(a, fill(tmp_path / "b", measured(1e-8))).stdout.split())
    assert "All 12 results are equal (4 not to the bit, but within 3 standard errors: another machine)." in out
    out = " ".join(invoke(a, fill(tmp_path / "c", measured(0.02))).stdout.split())
    assert (
        "All 12 results are equal (4 not to the bit" in out
        and "Beyond noise: 1 of 1 row tested: genome on digits is better." in out
    )


def test_what_is_on_one_side_only(tmp_path: Path) -> None:
    failure = {"status": "failed", "metrics": {}, "failure": {"type": "OSError", "message": "no"}}

    def first(record: dict[str, Any]) -> dict[str, Any] | None:
        lost = record | failure if record["cell"] == cell("random", 1) else record
        return None if record["cell"] == cell("random", 0) else lost

    def second(record: dict[str, Any]) -> dict[str, Any] | None:
        lost = record | failure if record["cell"] == cell("random", 3) else record
        return None if record["cell"] == cell("random", 2) else lost

    out = " ".join(invoke(fill(tmp_path / "a", first), fill(tmp_path / "b", second)).stdout.split())
    assert (
        "Of 12 results 8 are equal, 1 is only in A, 1 is only in B, 1 failed in A and is finished in B, 1 is finished "
        "in A and failed in B." in out
    )
    assert "only in A small main.mlp.digits.random.s2" in out and "failed in B small main.mlp.digits.random.s3" in out


def test_another_configuration_is_compared_and_named(tmp_path: Path) -> None:
    def trained(steps: int, end: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def change(record: dict[str, Any]) -> dict[str, Any]:
            if record["method"]["label"] != "genome":
                return record
            name = cell("genome", record["seed"], end)
            return rescored(record, MOVED[record["seed"]]) | {"cell": name, "training": {"steps": steps}}

        return change

    a, b = fill(tmp_path / "a", trained(10, "aaaa")), fill(tmp_path / "b", trained(20, "bbbb"))
    out = invoke(a, b).stdout
    assert "Of 12 results 8 are equal, 4 are of another configuration." in out
    key = next(line.split() for line in out.splitlines() if "training.steps" in line)
    assert key[:5] == ["small", "training.steps", "10", "20", "4"]
    assert any(line.split()[:1] == ["genome"] and " 0 " in line for line in out.splitlines())


def test_timings_are_told_and_are_no_change(tmp_path: Path) -> None:
    def timed(factor: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def change(record: dict[str, Any]) -> dict[str, Any]:
            clock = {"value": 2.0 * factor, "unit": "ms", "direction": "min", "timed": True}
            return record | {"metrics": {**record["metrics"], "latency": clock}}

        return change

    a = fill(tmp_path / "a", timed(1))
    out = invoke(a, fill(tmp_path / "b", timed(1.5))).stdout
    assert "All 12 results are equal." in out and "Beyond noise" not in out
    row = next(line.split() for line in out.splitlines() if line.startswith("random"))
    assert row == ["random", "1.0000", "latency", "2", "3", "1.5"]
    assert "latency" not in invoke(a, a).stdout


def test_superseded_and_chosen_between_is_not_counted(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a"), fill(tmp_path / "b", moved)
    for root in (a, b):
        cells = [cell(method, seed) for method in ("dense", "random") for seed in range(4)]
        write_plan(ResultStore(root), "small", {"suite": "small", "cells": cells})
    assert "All 8 results are equal." in invoke(a, b).stdout


def test_selections(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a"), fill(tmp_path / "b", moved)
    assert "All 8 results are equal." in invoke(a, b, "--methods", "dense", "random").stdout
    assert "Of" not in invoke(a, b, "--methods", "dense").stdout
    assert "4 have changed" in " ".join(
        invoke(a, b, "--methods", "dense,genome", "--benchmark", "digits").stdout.split()
    )
    assert "All 12 results are equal." in invoke(a / "small", a, "--suite", "small").stdout
    for option, name in (("--methods", "gnome"), ("--benchmark", "digit"), ("--suite", "smal"), ("--metric", "scor")):
        error = invoke(a, b, option, name, code=2).exception
        assert isinstance(error, UserError) and "Did you mean" in str(error)


def test_folders_of_one_suite_need_not_have_its_name(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a"), fill(tmp_path / "b", moved)
    (b / "small").rename(b / "small_of_before")
    assert "8 are equal, 4 have changed" in invoke(a / "small", b / "small_of_before").stdout


def test_damaged_files_are_named(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a"), fill(tmp_path / "b")
    ResultStore(b).file("small", "cells", cell("dense", 0)).path.write_text("{")
    result = invoke(a, b)
    assert "small/cells/main.mlp.digits.dense.s0.00000000.json: is not complete JSON" in result.stderr
    assert "Of 12 results 11 are equal, 1 is only in A." in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a"], "'a' alone: give two, A and B, or none"),
        (["a", "b", "a"], "give two, A and B, or none"),
        (["a", "b", "--results", "a"], "--results says which folder a revision is of"),
        (["a", "b", "--format", "parquet"], "two sources have no --format parquet"),
        (["a", "b", "--baseline", "dense"], "--baseline does not go with two sources"),
        (["a", "b", "--at-density", "0.1"], "--at-density does not go with two sources"),
        (["a", "b", "--pareto", "flops"], "--pareto does not go with two sources"),
        (["a", "b", "--wins"], "--wins does not go with two sources"),
        (["a", "b", "--figure", "x.svg"], "--figure does not go with two sources"),
        (["a", "b", "--columns", "method"], "--columns does not go with two sources"),
    ],
)
def test_wrong_use_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(Path("a"))
    fill(Path("b"))
    result = invoke(*arguments, code=2)
    assert result.exit_code == 2 and words in result.output
