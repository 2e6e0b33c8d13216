"""docs/python.md and docs/results.ipynb do what they say, on the committed results."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import harness
from harness.analysis.comparison_row import KEYS
from harness.analysis.questions import KEYS as QUESTION_KEYS

ROOT = Path(__file__).parents[2]


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf8")
    names: dict[str, object] = {}
    for block in re.findall("```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    out = capsys.readouterr().out
    assert "rigl beats random" in out
    assert r"\label{tab:quickstart-digits-skip-mlp-digits-accuracy-by-density}" in out
    assert (tmp_path / "quickstart.svg").read_text(encoding="utf8").startswith("<svg")


def documented(page: str, heading: str) -> list[str]:
    """The names in the first column of the first table after a heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf8").partition(heading)[2]
    table = text.partition("|---|---|\n")[2].partition("\n\n")[0]
    return re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table.splitlines()))


def test_the_page_has_every_column_of_a_frame_once() -> None:
    frame = harness.load(ROOT / "results" / "quickstart").frame
    assert sorted(documented("python.md", "# Results in Python")) == sorted(frame.columns)
    assert sorted(documented("statistics.md", "## Rows for programs")) == sorted(KEYS)
    assert sorted(documented("statistics.md", "### Questions")) == sorted(QUESTION_KEYS)


def test_densities_that_nobody_asked_for_are_what_the_page_says() -> None:
    frame = harness.load(ROOT / "results" / "quickstart").frame
    dense, genome, matched = (frame[frame["method"] == name] for name in ("dense", "genome", "random_as_genome"))
    assert dense["density_requested"].isna().all() and (dense["density_mask"] == 1).all()
    assert genome["density_requested"].isna().all()
    assert set(matched["match"]) == {"genome, per_layer"} and matched["density_requested"].nunique() > 1
    taken = genome.groupby("seed")["density_mask"].first()
    assert matched.groupby("seed")["density_requested"].first().to_dict() == pytest.approx(taken.to_dict())


def test_the_notebook_runs_and_each_cell_shows_something(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = pytest.importorskip("IPython.core.interactiveshell", reason="IPython is not installed")
    monkeypatch.chdir(ROOT / "docs")
    notebook = json.loads((ROOT / "docs" / "results.ipynb").read_text(encoding="utf8"))
    running = shell.InteractiveShell()
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            done = running.run_cell("".join(cell["source"]))
            done.raise_error()
            if done.result is not None:
                shown, _ = running.display_formatter.format(done.result)
                assert set(shown) - {"text/plain"}
