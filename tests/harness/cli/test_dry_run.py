"""The table of `harness run --dry-run`: 80 columns for whatever suite, what matters never left out."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli import cli
from harness.cli.dry_run import show_rows
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
