"""docs/python.md and docs/results.ipynb do what they say, on the committed results."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

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
    assert r"\label{tab:digits-skip-mlp-on-digits-accuracy-by-density}" in out
    assert (tmp_path / "quickstart.svg").read_text(encoding="utf8").startswith("<svg")


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
