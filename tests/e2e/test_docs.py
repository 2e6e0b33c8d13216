"""The pages of docs/ build, without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from inspect import signature
from pathlib import Path

import pytest

import harness
from harness.analysis.comparison import Selection
from harness.report.costs import COSTS
from harness.report.leaderboard import READING
from harness.report.results import Comparison, Figure

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    for module in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(module, reason=f"{module} is not installed: make dev")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    front = (tmp_path / "index.html").read_text(encoding="utf8")
    assert "how_to/own_score.html" in front and "findings/methods_mnist.html" in front
    assert "recovery_steps" in (tmp_path / "options.html").read_text(encoding="utf8")


def test_every_column_that_is_shown_on_request_is_among_the_words() -> None:
    words = set(re.findall(r"\*\*(.*?)\*\*", (ROOT / "docs" / "words.md").read_text(encoding="utf8")))
    tables = harness.load(ROOT / "results").compare().texts()
    folded = {column.name.partition(" / ")[0] for table in tables for column in table.columns if column.folded}
    assert {"parameters left", "non-zero", "effective", "asked", "settings"} <= folded
    for name in folded:
        assert any(name.removesuffix("s") in word for word in words), name


@pytest.mark.parametrize("word", ["non-zero", "parameters left"])
def test_the_pages_of_results_explain_their_words(word: str) -> None:
    assert f"**{word}**" in READING.lower()
    page = (ROOT / "harness" / "report" / "html" / "page.html").read_text(encoding="utf8")
    assert f'<dt id="word-{word.replace(" ", "-")}">{word}</dt>' in page


def test_the_page_on_python_names_what_can_be_given_and_nothing_else() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf8")
    told = {name: set(re.findall(r"(\w+)=", given)) for name, given in re.findall(r"^\| `(\S+)\((.*?)\)`", page, re.M)}
    assert told == {
        "results.compare": set(Selection.__dataclass_fields__),
        "comparison.figure": {*signature(Comparison.figure).parameters} - {"self"},
        "figure.save": {*signature(Figure.save).parameters} - {"self", "path"},
        "comparison.latex": {*signature(Comparison.latex).parameters} - {"self"},
    }
    assert {*re.findall(r'"([\w-]+)"', page.partition("`cost`")[2].partition("`width`")[0])} == {*COSTS}
