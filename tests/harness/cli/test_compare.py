import csv
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from result_files import write_record

import harness
from harness.analysis.comparison_row import KEYS
from harness.cli import compare, leaderboard, report, show, status
from harness.core.examples import Examples
from harness.errors import HarnessError, UserError
from harness.report.costs import COSTS
from harness.results.store import ResultStore


@pytest.fixture
def results(tmp_path):
    store = ResultStore(tmp_path)
    for benchmark in ("digits", "moons"):
        for method, value in (("dense", 0.9), ("random", 0.7), ("genome", 0.8)):
            for seed in range(2):
                mask = 1.0 if method == "dense" else 0.1
                metric = {"value": value + seed / 100 * value, "n": 10, "stderr": 0.01, "unit": "fraction"}
                write_record(
                    store,
                    {
                        "schema": 1,
                        "status": "done",
                        "cell": f"{benchmark}-{method}-{seed}",
                        "suite": "small",
                        "experiment": "main",
                        "architecture": {"label": "mlp", "parameters": 1000},
                        "method": {"label": method, "plugin": method, "version": "1", "options": {"a": 1}},
                        "benchmark": {"label": benchmark, "protocol": "test"},
                        "seed": seed,
                        "density": {
                            "requested": None,
                            "scope": "maskable",
                            "mask": mask,
                            "true_zeros": 1 - mask,
                            "connections": {"hidden": {"size": 900, "kept": 90, "zeros": 810, "soft": None}},
                        },
                        "metrics": {"accuracy": metric | {"direction": "max", "primary": True}},
                    },
                )
    return tmp_path


def invoke(command, *arguments, code=0):
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=code != 0)
    assert (result.exit_code == 0) == (code == 0)
    return result


@pytest.mark.parametrize(
    "methods",
    [
        ["--methods", "genome", "random"],
        ["--methods", "genome,random"],
        ["--methods=genome", "random"],
        ["--methods", "genome", "--methods", "random"],
    ],
)
def test_methods_takes_several_values(results, methods):
    out = invoke(compare.command, *methods, "--format", "json", "--results", results, "--benchmark", "digits").stdout
    assert [row["method"] for row in json.loads(out)] == ["dense", "genome", "random"]


def test_methods_takes_one_value(results):
    out = invoke(compare.command, "--methods", "genome", "--format", "json", "--results", results).stdout
    assert {row["method"] for row in json.loads(out)} == {"dense", "genome"}


def test_methods_without_value_and_stray_arguments_are_errors(results):
    assert "--methods" in invoke(compare.command, "--methods", code=2).output
    assert "stray" in invoke(compare.command, "--results", results, "stray", code=2).output


def test_formats_agree(results):
    table = invoke(compare.command, "--results", results).stdout
    assert "main: mlp on moons" in table and "\x1b" not in table
    assert "Protocol: test." in table
    found = json.loads(invoke(compare.command, "--results", results, "--format", "json").stdout)
    assert all(tuple(row) == KEYS for row in found) and len(found) == 6
    read = list(csv.DictReader(io.StringIO(invoke(compare.command, "--results", results, "--format", "csv").stdout)))
    assert tuple(read[0]) == KEYS
    assert [float(row["mean"]) for row in read] == [row["mean"] for row in found]
    assert read[0]["cells"].split() == found[0]["cells"] and read[0]["p_value"] == ""
    frame = pd.read_parquet(
        io.BytesIO(invoke(compare.command, "--results", results, "--format", "parquet").stdout_bytes)
    )
    assert tuple(frame.columns) == KEYS and frame["mean"].tolist() == [row["mean"] for row in found]
    assert [list(seeds) for seeds in frame["seeds"]] == [row["seeds"] for row in found]
    assert frame["broken"].map(json.loads).tolist() == [row["broken"] for row in found]
    markdown = invoke(compare.command, "--results", results, "--format", "markdown").stdout.splitlines()
    folded = 2  # tables: the columns that matter, and the others
    assert len([line for line in markdown if line.startswith("|")]) == 2 * folded * (2 + 3)


def test_narrow_terminals_keep_what_matters(results, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    table = invoke(compare.command, "--results", results).stdout
    assert max(map(len, table.splitlines())) <= 60
    assert "genome" in table and "0.80" in table and "--wide adds" in table


def test_wide_shows_all(results, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    table = invoke(compare.command, "--results", results, "--wide").stdout
    assert "--wide adds" not in table and max(map(len, table.splitlines())) > 60
    heading = next(line for line in table.splitlines() if "method" in line)
    assert all(name in heading for name in ("rank", "accuracy", "minus dense", "p", "density", "parameters left / all"))
    monkeypatch.delenv("COLUMNS")
    assert invoke(compare.command, "--results", results).stdout == table, "files and pipes have all columns too"


def test_many_methods_keep_their_sums(results, monkeypatch):
    store = ResultStore(results)
    for i in range(12):
        for seed in range(2):
            record = store.read("small", f"digits-random-{seed}").content()
            label = f"another_method_with_a_name_{i}"
            write_record(store, record | {"cell": f"more-{i}-{seed}", "method": record["method"] | {"label": label}})
    monkeypatch.setenv("COLUMNS", "80")
    lines = invoke(compare.command, "--results", results, "--benchmark", "digits", "--wins").stdout.splitlines()
    assert max(map(len, lines)) <= 80 and any(line.startswith("--wide adds: ") for line in lines)
    (genome,) = (line.split() for line in lines if "genome" in line)
    assert genome[1:4] == ["genome", "0/13/0", "+0"]  # two seeds, 91 pairs: nothing is told apart
    whole = invoke(compare.command, "--results", results, "--benchmark", "digits", "--wins", "--wide").stdout
    assert lines[1] == "No method wins: none of 91 comparisons tells two apart."
    assert len(whole.splitlines()[3].split()) == 3 + 14  # method, all, net and each method's number


def test_notes_go_to_stderr(results):
    ResultStore(results).file("small", "cells", "broken").path.write_text("{")
    result = invoke(compare.command, "--results", results, "--format", "json")
    json.loads(result.stdout)
    assert "broken.json: is not complete JSON" in result.stderr


def test_compare_without_results(tmp_path):
    result = invoke(compare.command, "--results", tmp_path, code=2)
    assert isinstance(result.exception, UserError) and "no finished run" in str(result.exception)


def test_compare_at_a_density_that_is_not_there(results):
    result = invoke(compare.command, "--results", results, "--at-density", "0.5", code=2)
    assert isinstance(result.exception, UserError) and "there are 1 and 0.1" in str(result.exception)


def test_leaderboard_prints_what_it_wrote(results):
    out = invoke(leaderboard.command, "small", "--results", results).stdout.splitlines()
    assert out == [str(results / "small" / "leaderboard.md"), str(results / "LEADERBOARD.md")]
    assert "genome" in (results / "LEADERBOARD.md").read_text()
    assert isinstance(invoke(leaderboard.command, "--results", results / "none", code=2).exception, UserError)


@pytest.mark.parametrize("name", ["digits-genome-1", "small/digits-genome-1", "digits-g", "ts-genome-0", "x.json"])
def test_show_finds_a_cell_by_any_part_that_is_unique(results, name):
    if name == "x.json":
        name = "digits-genome-1.json"
    elif name == "digits-g":
        ResultStore(results).file("small", "cells", "digits-genome-0").path.unlink()
    text = invoke(show.command, name, "--results", results).stdout
    assert "digits-genome-" in text.splitlines()[0] and "accuracy  0.8" in text and "hidden" in text


def test_show_json_is_the_record(results):
    out = invoke(show.command, "digits-genome-1", "--format", "json", "--results", results).stdout
    assert json.loads(out) == ResultStore(results).read("small", "digits-genome-1").content()


def test_show_says_what_else_there_is(results):
    ambiguous = invoke(show.command, "genome", "--results", results, code=2).exception
    assert isinstance(ambiguous, UserError) and str(ambiguous).count("\n") == 4
    unknown = invoke(show.command, "digits-genom-1", "--results", results, code=2).exception
    assert isinstance(unknown, UserError) and "Did you mean 'digits-genome-1'" in str(unknown)
    ResultStore(results).file("small", "cells", "broken").path.write_text("{")
    broken = invoke(show.command, "broken", "--results", results, code=2).exception
    assert isinstance(broken, HarnessError) and "not complete JSON" in str(broken)


def test_show_a_failure_with_its_traceback(results):
    record = ResultStore(results).read("small", "digits-genome-1").content()
    failure = {"type": "ValueError", "message": "no", "traceback": "Traceback\n  line 1", "step": 3}
    write_record(ResultStore(results), record | {"status": "failed", "metrics": {}, "failure": failure})
    text = invoke(show.command, "digits-genome-1", "--results", results).stdout
    assert "failure at step 3: ValueError: no\n  Traceback\n    line 1" in text


def test_nothing_here_imports_torch_or_scipy_stats(results):
    code = (
        "import sys; from harness.cli.compare import command;"
        f"command(['--results', {str(results)!r}], standalone_mode=False);"
        "import harness.report.leaderboard;"
        "print(sorted({'torch', 'scipy.stats'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_pareto_marks_what_nothing_beats(results):
    out = invoke(compare.command, "--results", results, "--benchmark", "digits", "--pareto", "density").stdout
    efficient = [line.split()[1] for line in out.splitlines() if line.startswith("yes")]
    assert efficient == ["genome", "dense"]
    result = invoke(compare.command, "--results", results, "--pareto", "flops", code=2)
    assert isinstance(result.exception, UserError) and "older than that" in str(result.exception)


def test_wins_and_profiles(results, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = invoke(compare.command, "--results", results, "--wins").stdout
    # Two seeds whose difference has no spread but for 1 %: p = 0.03 in each of two problems.
    _, answer, _, *lines = out.splitlines()
    assert answer.startswith("genome is furthest ahead: ")
    assert answer.endswith("2 of 2 comparisons tell two methods apart.")
    assert [line.split() for line in lines if "genome" in line or "random" in line] == [
        ["1", "genome", "2/0/0", "+2", "2/0/0"],
        ["2", "random", "0/0/2", "-2", "0/0/2"],
    ]
    out = invoke(compare.command, "--results", results, "--profile").stdout
    assert "genome has the best mean most often, on 2 of 2 problems; no test is made." in out
    random = next(line.split() for line in out.splitlines() if line.startswith("random"))
    assert random == ["random", "0.00", "0.00", "0.00", "0.00", "1.00", "1.00", "1.00"]  # 0.8 / 0.7 = 1.143
    result = invoke(compare.command, "--results", results, "--methods", "genome", "--wins", code=2)
    assert "nothing to count" in str(result.exception)


@pytest.mark.parametrize("arguments", [["--wins", "--profile"], ["--pareto", "cost"], ["--wins", "--format", "csv"]])
def test_views_that_do_not_go_together_are_errors(results, arguments):
    assert "Error" in invoke(compare.command, "--results", results, *arguments, code=2).output


def test_latex(results):
    table = invoke(compare.command, "--results", results, "--latex").stdout
    assert table == invoke(compare.command, "--results", results, "--format", "latex").stdout
    assert all(rf"\{rule}" in table for rule in ("toprule", "midrule", "bottomrule", "begin{tabular}", "end{tabular}"))
    assert re.search(r"genome at 0\.1000 & \$(\\mathbf{)?0\.804", table)
    rows = [line for line in table.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + 3 and len({line.count(" & ") for line in rows}) == 1
    columns = invoke(compare.command, "--results", results, "--latex", "--columns", "method,accuracy").stdout
    assert columns.count("method & accuracy") == 2, "a table for each benchmark"


def test_figures(results, tmp_path):
    path = tmp_path / "figure.svg"
    for options in (["--benchmark", "digits"], ["--profile"]):
        told = invoke(compare.command, "--results", results, *options, "--figure", path).stderr
        assert f"written: {path}" in told
        assert xml.etree.ElementTree.parse(path).getroot().get("role") == "img"
    result = invoke(compare.command, "--results", results, "--figure", path, code=2)
    assert "these are 2: choose one benchmark (digits, moons)" in str(result.exception)


@pytest.mark.parametrize("cost", compare.COSTS)
def test_a_figure_has_the_cost_of_its_table(results, tmp_path, cost):
    for path in results.glob("small/cells/*.json"):
        record = json.loads(path.read_text())
        dense = record["method"]["label"] == "dense"
        amounts = {"training_sparse": 9e6 if dense else 2e6, "inference_sparse": 9e3 if dense else 1e3}
        record["spent"] = {"flops": amounts}
        path.write_text(json.dumps(record))
    path = tmp_path / "figure.svg"
    options = ["--results", results, "--benchmark", "digits", "--pareto", cost, "--figure", path]
    invoke(compare.command, *options)
    labels = {name: f"{found.title}, lower is better" in path.read_text() for name, found in COSTS.items()}
    assert labels == {name: name == cost for name in compare.COSTS}


def test_a_figure_has_the_width_and_the_page_that_are_asked_for(results, tmp_path):
    path = tmp_path / "figure.svg"
    for options, width, page in (([], 190.5, "#ffffff"), (["--figure-width", "column", "--dark"], 85, "#0d1117")):
        invoke(compare.command, "--results", results, "--benchmark", "digits", "--figure", path, *options)
        root = xml.etree.ElementTree.parse(path).getroot()
        assert float(root.get("width").removesuffix("mm")) == pytest.approx(width, abs=0.02)
        assert next(e for e in root if e.tag.endswith("rect")).get("fill") == page
        assert "<style" not in path.read_text() and "class=" not in path.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--figure", "a.jpg"], "ends in .svg, .pdf or .png"),
        (["--figure", "a"], "ends in .svg, .pdf or .png"),
        (["--figure", "a.svg", "--figure-width", "85"], "column or text, or 60mm to 400mm"),
        (["--figure", "a.svg", "--figure-width", "59mm"], "column or text, or 60mm to 400mm"),
        (["--figure-width", "text"], "give --figure FILE too"),
        (["--dark"], "give --figure FILE too"),
    ],
)
def test_figures_that_are_not_drawn(results, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    told = invoke(compare.command, "--results", results, "--benchmark", "digits", *options, code=2)
    assert said in told.output and not list(tmp_path.glob("a*"))


@pytest.mark.parametrize("command", [compare.command, leaderboard.command, report.command])
def test_damaged_plans_and_results_by_example_are_told(results, tmp_path, command):
    store = ResultStore(results)
    record = json.loads((results / "small/cells/digits-genome-0.json").read_text())
    entry = store.write_examples("small", record["cell"], {"accuracy": Examples(np.array([1.0, 0.0]))})
    write_record(store, record | {"examples": entry.model_dump(mode="json")})
    options = ["--results", results, *(["-o", tmp_path / "page.html"] if command is report.command else [])]
    assert "not counted" not in invoke(command, *options).stderr
    damaged = results / "small/examples" / entry.file
    damaged.write_bytes(damaged.read_bytes()[:-9])
    (told,) = invoke(command, *options).stderr.splitlines()
    assert told.startswith(f"counted in part: {damaged}: results by example cannot be read, so that intervals")
    assert "control" in told
    (results / "small/suite.json").write_text("{")
    found = invoke(command, *options, code=2 * (command is compare.command))
    told = found.stderr.splitlines()[0]
    assert told.startswith(f"not counted: {results / 'small/suite.json'}: is not complete JSON: run the suite again")
    assert f"{results / 'small/suite.json'} is not" in invoke(status.command, "--results", results).stdout


def test_an_experiment_is_chosen_and_named_in_the_rows(results, tmp_path):
    for path in list(results.glob("small/cells/digits-*.json")):
        record = json.loads(path.read_text())
        write_record(ResultStore(results), record | {"cell": f"speed-{path.stem}", "experiment": "speed"})
    options = ["--results", results, "--benchmark", "digits"]
    figure = ["--figure", tmp_path / "figure.svg"]
    told = str(invoke(compare.command, *options, *figure, code=2).exception)
    assert told == "one figure shows one table, and these are 2: choose one experiment (main, speed)"
    invoke(compare.command, *options, *figure, "--experiment", "speed")
    both = json.loads(invoke(compare.command, *options, "--format", "json").stdout)
    assert [row["experiment"] for row in both] == ["main"] * 3 + ["speed"] * 3
    one = json.loads(invoke(compare.command, *options, "--experiment", "speed", "--format", "json").stdout)
    assert one == both[3:]
    told = str(invoke(compare.command, *options, "--experiment", "sped", code=2).exception)
    assert told.startswith("unknown experiment 'sped'. Did you mean 'speed'?")
    python = harness.load(results)
    assert python.leaderboard(experiment="speed", benchmark="digits").frame["experiment"].tolist() == ["speed"] * 3
