"""Comparisons with a column for each density or benchmark."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from result_files import small_record, write_record

from harness.analysis.comparison import selected
from harness.analysis.frame import load
from harness.cli.compare import command
from harness.report.pivot_table import pivot_tables
from harness.report.tables import NONE, latex, markdown
from harness.results.store import ResultStore


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    found = ResultStore(tmp_path)
    rows = [("dense", None, 1.0, 0.9), ("genome", None, 0.3, 0.8)]
    rows += [(name, mask, mask, value) for name, value in (("a_b", 0.8), ("random", 0.5)) for mask in (0.2, 0.1)]
    for benchmark in ("digits", "moons"):
        for method, asked, mask, value in rows:
            for seed in range(5):
                cell = f"{benchmark}-{method}-{asked}-{seed}"
                record = small_record("small", cell, method, seed, value + seed / 1000)
                record["metrics"]["accuracy"] |= {"n": 10_000, "stderr": 0.001}
                record["benchmark"] = {"label": benchmark, "protocol": "test"}
                record["density"] |= {"requested": asked, "mask": mask, "nonzero": mask}
                write_record(found, record)
    return found


def test_densities_are_columns_and_what_is_not_beaten_is_bold(store: ResultStore) -> None:
    frame, left = load(store)
    first = pivot_tables(selected(frame, left=left), "density")[0]
    assert [column.name for column in first.columns] == ["method", "1", "0.2", "0.1", "own density"]
    cells = {row[0]: [cell.split(" ")[0] for cell in row[1:]] for row in first.rows}
    assert cells["dense"] == ["0.9020", NONE, NONE, NONE]
    assert cells["a_b"] == [NONE, "0.8020", "0.8020", NONE]
    assert cells["genome"] == [NONE, NONE, NONE, "0.8020"]
    assert first.rows[[row[0] for row in first.rows].index("genome")][-1].endswith("at 0.3000")
    assert {(first.rows[i][0], first.columns[j].name) for i, j in first.bold_cells} == {("a_b", "0.2"), ("a_b", "0.1")}
    assert "| **0.8020" in markdown(first)


def test_benchmarks_are_columns(store: ResultStore) -> None:
    frame, left = load(store)
    (table,) = pivot_tables(selected(frame, left=left), "benchmark")
    assert [column.name for column in table.columns] == ["method", "digits, accuracy", "moons, accuracy"]
    assert {row[0] for row in table.rows} == {
        "dense",
        "genome at 0.3000",
        *(f"{name} at {mask}" for name in ("a_b", "random") for mask in ("0.2000", "0.1000")),
    }
    assert all(NONE not in row for row in table.rows)


def test_rows_of_one_name_and_column_are_not_lost(store: ResultStore) -> None:
    frame, left = load(store)
    tables = selected(frame, left=left)
    for row in tables[0]:
        row.method = "same"
    table = pivot_tables(tables, "density")[0]
    assert sum(cell != NONE for row in table.rows for cell in row[1:]) == len(tables[0])


def test_columns_are_chosen_by_name(store: ResultStore) -> None:
    arguments = ["--results", str(store.root), "--columns", "density,method", "--format", "markdown"]
    out = CliRunner().invoke(command, arguments).stdout
    assert [cell.strip() for cell in out.splitlines()[2].split("|")][1:3] != ["method", "density"]
    assert any(line.replace(" ", "") == "|density|method|" for line in out.splitlines())
    wrong = CliRunner().invoke(command, ["--results", str(store.root), "--columns", "densty"])
    assert "Did you mean 'density'" in str(wrong.exception)
    assert CliRunner().invoke(command, ["--results", str(store.root), "--across", "density", "--wins"]).exit_code == 2


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
@pytest.mark.parametrize("arguments", [[], ["--across", "density"], ["--across", "benchmark"], ["--wins"]])
def test_latex_compiles(store: ResultStore, tmp_path: Path, arguments: list[str]) -> None:
    tables = CliRunner().invoke(command, ["--results", str(store.root), "--latex", *arguments]).stdout
    assert tables.count(r"\caption{") == tables.count(r"\label{tab:") == tables.count(r"\begin{table}") >= 1
    text = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{tables}\end{{document}}"
    (tmp_path / "paper.tex").write_text(text)
    made = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert made.returncode == 0, made.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 1000


def test_latex_bolds_cells_and_escapes_names(store: ResultStore) -> None:
    frame, left = load(store)
    text = latex(pivot_tables(selected(frame, left=left), "density")[0])
    assert r"a\_b" in text
    assert text.count(r"\textbf{0.8020") == 2


def test_a_control_stands_in_the_column_of_what_it_is_matched_to(store: ResultStore) -> None:
    for asked, mask in ((0.2, 0.1999), (0.1, 0.14)):  # the second is too far away to be told under that density
        for seed in range(5):
            record = small_record("small", f"digits-matched-{asked}-{seed}", "matched", seed, 0.7 + seed / 1000)
            record["metrics"]["accuracy"] |= {"n": 10_000, "stderr": 0.001}
            match = {"cell": f"digits-a_b-{asked}-{seed}", "by": "hard"}
            record["density"] |= {"requested": mask, "match": match, "mask": mask, "nonzero": mask}
            write_record(store, record)
    frame, left = load(store)
    first = pivot_tables(selected(frame, left=left), "density")[0]
    assert [column.name for column in first.columns] == ["method", "1", "0.2", "0.1", "own density"]
    (row,) = [[cell.split(" ")[0] for cell in row] for row in first.rows if row[0].startswith("matched")]
    assert row[1:3] == [NONE, "0.7020"] and row[3] == NONE and row[4] == "0.7020"
