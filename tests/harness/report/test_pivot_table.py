"""Comparisons with a column for each density or benchmark."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from result_files import small_record, write_record
from synthetic import over_seeds, table

from harness.analysis.comparison import selected
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.frame import load
from harness.cli.compare import command
from harness.report.latex import latex
from harness.report.pivot_table import pivot_tables
from harness.report.tables import NONE, markdown
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


@pytest.fixture
def small() -> list[ComparisonRow]:
    """A smaller network asked for 0.1, those matched to masks of 0.2 and 0.1, and one to a genome, of 0.3."""
    scores = [0.8, 0.81, 0.82]
    results = over_seeds("dense", scores, parameters=1000.0, density_total=1.0)
    for density in (0.2, 0.1):
        results += over_seeds("magnitude", scores, density, parameters=1000.0, density_total=density)
        names = {"match": f"magnitude {density:g}, hard", "mask": 1.0}
        results += over_seeds("control", scores, density, parameters=1000 * density, density_total=1.0, **names)
    results += over_seeds("asked", scores, 0.1, mask=1.0, parameters=100.0, density_total=1.0)
    results += over_seeds("genome", scores, mask=0.3, parameters=1000.0, density_total=0.3)
    own = {"match": "genome, hard", "mask": 1.0, "parameters": 303.0, "density_total": 1.0}
    results += over_seeds("own", scores, 0.3, **own)
    return table(results)


def test_a_smaller_network_stands_in_the_column_that_it_is_asked_for_or_matched_to(small: list[ComparisonRow]) -> None:
    (found,) = pivot_tables([small], "density")
    assert [column.name for column in found.columns] == ["method", "1", "0.2", "0.1", "own density"]
    filled = {row[0].split(" ")[0]: [cell != NONE for cell in row[1:]] for row in found.rows}
    assert filled["control"] == filled["magnitude"] == [False, True, True, False]
    assert filled["asked"] == [False, False, True, False]
    assert filled["own"] == filled["genome"] == [False, False, False, True]
    assert len(found.rows) == len(filled)  # a row each
    (text,) = (row[-1] for row in found.rows if row[0].startswith("own"))
    assert text.endswith(" at 0.3030")  # where a mask leaves as many parameters


def test_rows_by_benchmark_say_which_smaller_network_they_are(small: list[ComparisonRow]) -> None:
    (found,) = pivot_tables([small], "benchmark")
    of = [row[0].partition(" (smaller network)") for row in found.rows]
    assert sorted(name + where for name, smaller, where in of if smaller) == [
        *("asked at 0.1000", "control at 0.1000", "control at 0.2000", "own at 0.3030")
    ]


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


def written(store: ResultStore, *arguments: str) -> str:
    return CliRunner().invoke(command, ["--results", str(store.root), "--latex", *arguments]).stdout


PAPER = r"""\documentclass[twocolumn]{article}
\usepackage{booktabs}
\setlength{\textwidth}{178mm}\setlength{\columnsep}{10mm}\setlength{\oddsidemargin}{-10mm}
\begin{document}
TABLES
\end{document}
"""


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_every_table_compiles_fits_its_column_and_has_a_label_of_its_own(store: ResultStore, tmp_path: Path) -> None:
    for seed in range(5):  # a warning, densities that differ between seeds, a suite more
        record = small_record("small", f"digits-longer-{seed}", "longer", seed, 0.7 + seed / 1000)
        record["density"] |= {"mask": 0.1 + seed / 20, "nonzero": 0.1 + seed / 20}
        record["spent"] = {"steps": 10, "examples": 64_000}
        write_record(store, record)
        for method, mask in (("dense", 1.0), ("random", 0.2), ("random", 0.1)):
            record = small_record("other", f"{method}-{mask}-{seed}", method, seed, mask / 2 + seed / 100)
            record["density"] |= {"requested": mask if mask < 1 else None, "mask": mask, "nonzero": mask}
            write_record(store, record)
    views = [
        [],
        ["--at-density", "0.2", "--suite", "small"],
        ["--at-density", "0.1", "--suite", "small"],
        ["--across", "benchmark"],
        ["--columns", "method,density,accuracy,p,minus dense,parameters left / all", "--suite", "small"],
        ["--wins"],
        ["--wins", "--suite", "small"],
        ["--profile"],
        ["--pareto", "density", "--suite", "small"],
    ]
    tables = "\n".join(written(store, *arguments) for arguments in views)
    assert tables.count(r"\caption{") == tables.count(r"\label{tab:") == len(re.findall(r"\\begin{table\*?}", tables))
    (tmp_path / "paper.tex").write_text(PAPER.replace("TABLES", tables), encoding="utf8")
    for _ in range(2):  # labels are known the second time
        made = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert made.returncode == 0, made.stdout[-2000:]
    assert "multiply" not in made.stdout and "Overfull" not in made.stdout, made.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 1000


def test_latex_is_narrow_unless_more_columns_are_named(store: ResultStore) -> None:
    first = written(store).partition(r"\end{table")[0]
    rows = [line for line in first.splitlines() if line.endswith(r"\\")]
    assert rows[0] == r"method & 0.2 & 0.1 \\"
    assert rows[1:3] == [
        r"dense & \multicolumn{2}{l@{}}{$0.9020_{\pm .0020}$ at density 1} \\",
        r"genome & \multicolumn{2}{l@{}}{$0.8020_{\pm .0020}$ at 0.3000 (own density)} \\",
    ]
    assert rows[3] == r"a\_b & $\mathbf{0.8020}_{\pm .0020}$ & $\mathbf{0.8020}_{\pm .0020}$ \\"
    long = written(store, "--columns", "method,density,accuracy,p")
    assert r"method & density & accuracy & p \\" in long
    some = written(store, "--across", "density", "--columns", "method,0.1").partition(r"\end{table")[0]
    assert [line.split(" & ")[0] for line in some.splitlines() if line.endswith(r"\\")] == ["method", r"a\_b", "random"]


def test_what_has_no_density_of_many_stands_by_benchmark(store: ResultStore) -> None:
    text = written(store, "--methods", "genome", "dense")
    assert text.count(r"\begin{table") == 1
    assert r"method & \shortstack[l]{digits\\accuracy} & \shortstack[l]{moons\\accuracy} \\" in text


def test_captions_are_short_and_say_what_a_reader_asks(store: ResultStore) -> None:
    text = written(store)
    captions = re.findall(r"\\caption\{(.*)\}", text)
    assert captions[0] == (
        r"Accuracy ($\uparrow$) of mlp on digits by density. "
        r"Mean over 5 seeds $\pm$ 95~\% over seeds, both on the logit scale. "
        r"Bold: not beaten at equal density and training (Holm, all pairs), interval meets the best one's."
    )
    assert len(captions) == 2
    for caption in captions:  # a column of a paper has 55 characters or so
        assert len(f"Table 10: {re.sub(r'[$]?.(uparrow|pm)[$]?', '+', caption)}") <= 4 * 56
    comments = [line for line in text.splitlines() if line.startswith("% ")]
    assert any("Protocol: test" in line for line in comments) and "Protocol" not in "".join(captions)


def test_a_caption_says_a_direction_and_a_scale_only_of_what_has_them() -> None:
    def by_benchmark(*directions: str, units: Sequence[str] = ("fraction", "nats", "points")) -> str:
        tables = [
            table(over_seeds("a", [0.8, 0.82], 0.1, benchmark=f"b{i}", metric=f"m{i}", direction=way, unit=unit))
            for i, (way, unit) in enumerate(zip(directions, units, strict=False))
        ]
        return pivot_tables(tables, "benchmark")[0].caption

    assert by_benchmark("max", "max").startswith("any by benchmark (higher is better). ")
    assert by_benchmark("min", "max").startswith("any by benchmark (lower is better for m0, higher for m1). ")
    assert by_benchmark("max", "none").startswith("any by benchmark (higher is better for m0). ")
    assert by_benchmark("none").startswith("any by benchmark. ")
    ends = "Mean over 2 seeds \N{PLUS-MINUS SIGN} 95 % over seeds"
    assert by_benchmark("max", units=["points"]).endswith(f"{ends}.")
    assert by_benchmark("max").endswith(f"{ends}, both on the logit scale.")
    assert by_benchmark("max", "min", "max").endswith(f"{ends}, both on the logit scale for m0, the log scale for m1.")


def test_cut_and_constant_networks_are_told_apart_below(store: ResultStore) -> None:
    frame, left = load(store)
    tables = selected(frame, left=left)
    tables[0][1].broken, tables[0][2].broken = {0: "cut"}, {0: "constant"}
    said = re.findall(r"\w+ n/m: ([^.]+)\.", pivot_tables(tables, "density")[0].below)
    assert len(said) == len(set(said)) == 2


def test_what_else_a_cell_holds_stands_below(store: ResultStore) -> None:
    frame, left = load(store)
    tables = selected(frame, left=left)
    tables[0][1].mixed, tables[0][2].broken = True, {0: "cut"}
    text = latex(pivot_tables(tables, "density")[:1])
    small = text.partition(r"\end{tabular}")[2]
    assert "Where seeds differ in density: lowest to highest score." in small and "cut 1/5" in text
    assert "Cut n/m: in n of m networks no path leads from input to output." in small and "Constant" not in small
    apart = "Rows of a column that differ in density (parameters left) or training are not compared."
    assert apart not in text
    tables[0][-1].group += 1
    assert apart in latex(pivot_tables(tables, "density")[:1])
    assert r"\parbox" not in latex(pivot_tables(selected(frame, left=left), "density"))


def test_labels_are_predictable(store: ResultStore) -> None:
    def labels(*arguments: str) -> list[str]:
        return re.findall(r"\\label\{(.*)\}", written(store, *arguments))

    assert labels() == [f"tab:small-main-mlp-{name}-accuracy-by-density" for name in ("digits", "moons")]
    assert labels("--at-density", "0.2", "--benchmark", "moons") == [
        "tab:small-main-mlp-moons-accuracy-by-density-at-0.2"
    ]
    assert labels("--across", "benchmark") == ["tab:small-main-mlp-by-benchmark"]
    assert labels("--wins") == ["tab:small-wins"] and labels("--profile") == ["tab:small-profile"]


def test_warnings_stand_below_the_table_on_the_page(store: ResultStore) -> None:
    frame, left = load(store)
    for across in ("density", "benchmark"):
        tables = selected(frame, left=left)
        for row in tables[0]:
            row.examples = 64_000.0 if row.method == "a_b" else 32_000.0
        text = latex(pivot_tables(tables, across)[:1])
        below = text.partition(r"\end{tabular}")[2]
        assert "raining budgets differ, from 32,000 to 64,000 examples" in below
        assert "WARNING" not in text and "budgets differ" not in text.partition(r"\end{tabular}")[0]


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
