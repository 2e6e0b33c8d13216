"""``harness compare --questions``: what is asked, with every number of the answer."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from result_files import small_record, write_record

from harness.analysis.questions import KEYS
from harness.cli import compare
from harness.errors import UserError
from harness.results.store import ResultStore


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two seeds of three methods on two benchmarks."""
    for label in ("digits", "moons"):
        for method, mask, value in (("dense", 1.0, 0.9), ("random", 0.1, 0.7), ("genome", 0.1, 0.8)):
            for seed in range(2):
                density = {"scope": "maskable", "mask": mask, "nonzero": mask}
                benchmark = {"label": label, "plugin": label, "version": "1", "options": {}, "protocol": "test"}
                name = f"{label}-{method}-{seed}"
                record = small_record("small", name, method, seed, value + seed / 100 * value, density=density)
                write_record(ResultStore(tmp_path), record | {"benchmark": benchmark})
    return tmp_path


def invoke(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(compare.command, [str(a) for a in arguments], catch_exceptions=code != 0)
    assert result.exit_code == code
    return result


def test_they_are_all_there_for_people_and_programs(results: Path) -> None:
    asked = ("--questions", "--results", results)
    text = invoke(*asked).stdout
    assert "main: mlp on moons" in text and "p Holm" in text
    found = json.loads(invoke(*asked, "--format", "json").stdout)
    assert all(tuple(row) == KEYS for row in found)
    assert [(row["benchmark"], row["method"], row["control"]) for row in found] == [
        (benchmark, method, "dense") for benchmark in ("digits", "moons") for method in ("genome", "random")
    ]
    rows = json.loads(invoke("--results", results, "--format", "json").stdout)
    same = {(row["benchmark"], row["method"]): row for row in rows}
    for question in found:
        row = same[question["benchmark"], question["method"]]
        assert question["difference"] == row["control_difference"] and question["p_adjusted"] == row["p_adjusted"]
    read = list(csv.DictReader(io.StringIO(invoke(*asked, "--format", "csv").stdout)))
    assert [float(row["p_value"]) for row in read] == [row["p_value"] for row in found]
    frame = pd.read_parquet(io.BytesIO(invoke(*asked, "--format", "parquet").stdout_bytes))
    assert tuple(frame.columns) == KEYS
    assert "--wins and --questions" in invoke(*asked, "--wins", code=2).output
    with pytest.raises(UserError, match="nothing is asked"):
        invoke(*asked, "--methods", "dense")
