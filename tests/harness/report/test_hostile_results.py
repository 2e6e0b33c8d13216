"""Results that somebody else wrote, in bad faith or with a bad disk: every command says what it leaves out."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.analysis.frame import load
from harness.cli import claims, compare, leaderboard, show
from harness.report.tables import escape
from harness.results.store import ResultStore


@pytest.fixture
def folder(hostile_results: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(hostile_results.root, tmp_path / "results"))


def test_what_is_sound_is_counted_and_the_rest_is_named(hostile_results: Any) -> None:
    frame, left = load(ResultStore(hostile_results.root))
    assert frame["cell"].nunique() == hostile_results.counted
    assert {item.path.name for item in left} == hostile_results.left.keys()
    for item in left:
        assert hostile_results.left[item.path.name] in item.reason


class Tags(HTMLParser):
    """The elements that a browser would make of a page, code and escaped characters left out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.add(tag)


def test_leaderboards_show_markup_as_text(hostile_results: Any, folder: Path) -> None:
    result = CliRunner().invoke(leaderboard.command, ["--results", str(folder)], catch_exceptions=False)
    assert result.exit_code == 0
    pages = [Path(line) for line in result.stdout.splitlines()]
    assert len(pages) == 2
    for page in pages:
        tags = Tags()
        text = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", page.read_text())
        tags.feed(re.sub(r"\\(.)", lambda found: f"&#{ord(found[1])};", text))
        assert tags.found <= {"details", "summary"}
    listed = pages[0].read_text()
    assert all(escape(name.removesuffix(".json")) in listed for name in hostile_results.left)
    for figure in folder.rglob("*.svg"):
        assert "<script" not in figure.read_text()


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json"])
def test_compare(hostile_results: Any, folder: Path, form: str) -> None:
    arguments = ["--results", str(folder), "--format", form]
    result = CliRunner().invoke(compare.command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert sum("not counted" in line for line in result.stderr.splitlines()) > 5


def test_show_and_claims(hostile_results: Any, folder: Path) -> None:
    for cell in ("<b>cell0.s0", "failed", "diverged"):
        result = CliRunner().invoke(show.command, [cell, "--results", str(folder)], catch_exceptions=False)
        assert result.exit_code == 0 and "Traceback (most recent" not in result.output
    root = Path(__file__).parents[3] / "claims"
    arguments = ["--results", str(folder), "--claims", str(root)]
    assert CliRunner().invoke(claims.command, arguments, catch_exceptions=False).exit_code == 0
