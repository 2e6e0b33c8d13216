"""The table of `harness run --dry-run`: 80 columns for whatever suite, what matters never left out."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli import cli
from harness.cli.dry_run import show_rows
from harness.errors import SuiteError
from harness.executors.planning import make_plan
from harness.formatting import fitted
from harness.registry.plugins import load
from harness.results.store import ResultStore
from harness.stages.graph import compile_graph
from harness.suites.suite import load_suite

METHODS = "\n".join(
    f"  a_method_with_quite_a_long_name_{i}: {{use: random, density: [0.5, 0.25, 0.125]}}" for i in range(20)
)
BIG = f"""
architectures: {{a_rather_long_name_of_a_network: {{use: mlp}}, mlp: }}
benchmarks: digits
training: {{steps: 100000, batch_size: 32}}
seeds: 5
methods:
{METHODS}
  matched: {{use: random, density: {{match: a_method_with_quite_a_long_name_0}}}}
"""


@pytest.mark.parametrize("width", [80, 120])
def test_a_large_suite(tmp_path: Path, width: int) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(BIG)
    registry = load()
    graph = compile_graph(load_suite(path, registry).cells, registry)
    assert len(graph.cells) > 500
    plan = make_plan(graph, ResultStore(tmp_path / "results"))
    written = io.StringIO()
    seconds = dict.fromkeys(graph.stages, 1e7)
    show_rows(Console(file=written, width=width, highlight=False), plan, seconds, width)
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) < 60, "seeds and densities share rows"
    assert lines[0] == "main: a_rather_long_name_of_a_network on digits"
    head = lines[1]
    assert {"method", "seeds", "density", "steps", "finished", "time"} <= set(head.split())
    assert any("0.125 to 0.5 (3)" in line and "0 of 15" in line and "100,000" in line for line in lines)
    names = [line.split()[0] for line in lines if "0.125 to 0.5" in line]
    assert [len(set(some)) for some in (names[:21], names[21:])] == [21, 21]


def test_lines_are_broken_between_words_and_only_where_they_are_too_long() -> None:
    assert fitted("  one two three\nfour", 10) == "  one two\n    three\nfour"
    assert fitted("one two three", None) == "one two three"
    assert fitted("one\n\ntwo", 10) == "one\n\ntwo"


MISSING = """
architectures: {mlp: {hidden: [4]}}
benchmarks: mnist
training: {steps: 2, batch_size: 4}
methods: {dense: }
"""


def test_files_that_are_not_here_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Although what the data are is known without them: the run would stop at once."""
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "nowhere"))
    (tmp_path / "s.yaml").write_text(f"experiments: {{a: {{}}, b: {{}}}}\n{MISSING}")
    command = ["run", str(tmp_path / "s.yaml"), "--dry-run", "--results", str(tmp_path / "results")]
    cli.main(command, standalone_mode=False)
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("mnist (") == 1, "experiments share it"
    assert "not here yet: mnist (train-images-idx3-ubyte and 3 more in " in told
    assert f"harness data prepare {tmp_path / 's.yaml'} gets or builds what can be got" in told


TABLE = """
from pathlib import Path

import torch
from harness import Benchmark, DataMissing, DataSpec, Entry, Measurement, Metric, UserError, hookimpl
from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    path: Path
    column: str = "y"


class Table(Benchmark[Options]):
    Options = Options
    metrics = (Metric("error", "unit", "min"),)

    def spec(self):
        if not self.options.path.is_file():
            raise DataMissing(f"there is no file {self.options.path}")
        if self.options.column not in self.options.path.read_text().split(","):
            raise UserError(f"no column {self.options.column}")
        return DataSpec("regression", inputs=(2,), outputs=1, examples=4)


class Fetched(Table):
    def files(self):
        return [self.options.path]

    def prepare(self, download=True):
        raise DataMissing("the download failed")


@hookimpl
def harness_register_benchmarks():
    return [Entry("table", Table, "t"), Entry("fetched", Fetched, "f")]
"""
TABLES = """
architectures: {mlp: {hidden: [4]}}
benchmarks:
  here: {use: table, path: here.csv}
  there: {use: table, path: here.csv}
training: {steps: 2, batch_size: 4}
methods: {dense: , random: {density: [0.5, 0.2]}}
seeds: 2
"""


def dry(folder: Path, *options: str) -> None:
    (folder / "here.csv").write_text("x,y")
    (folder / "table.py").write_text(TABLE)
    (folder / "s.yaml").write_text(TABLES)
    more = ["--plugin", str(folder / "table.py"), "--results", str(folder / "results"), "--dry-run", *options]
    cli.main(["run", str(folder / "s.yaml"), *more], standalone_mode=False)


@pytest.mark.parametrize(
    ("set_", "said"),
    [
        ("path=her.csv", "there is no file her.csv"),
        ("column=z", "no column z"),
        ("use=fetched column=z", "no column z"),
    ],
)
def test_what_no_preparation_mends_is_an_error(tmp_path: Path, set_: str, said: str) -> None:
    """Half of the suite would drop out of the plan, and the rest be called finished."""
    overrides = [word for one in set_.split() for word in ("--set", f"benchmarks.there.{one}")]
    with pytest.raises(SuiteError) as caught:
        dry(tmp_path, *overrides)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 's.yaml'}:5:3: benchmark 'there': {said}")
    assert text.splitlines()[-2:] == ["  5 |   there: {use: table, path: here.csv}", "    |   ^"]


def test_runs_whose_data_are_not_here_are_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = ["--set", "benchmarks.there.use=fetched", "--set", "benchmarks.there.path=gone.csv"]
    dry(tmp_path, *gone)
    told = capsys.readouterr().err
    first, *_ = told.splitlines()
    assert first.startswith("not here yet, so that runs will have other names: there. harness data prepare ")
    assert "there is no file gone.csv" in told
    assert "s: 12 runs, 0 finished, 12 to do\n" in told
    assert "6 runs of them cannot be planned before their data are here\n" in told
    dry(tmp_path, *gone, "--only", "benchmark=there,method=dense")
    assert "s: 2 runs, 0 finished, 2 to do\n" in capsys.readouterr().err
