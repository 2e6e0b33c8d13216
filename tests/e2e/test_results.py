"""What is computed from the committed result files is up to date, and the same whenever it is computed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MADE = ("LEADERBOARD.md", "CLAIMS.md", "*/leaderboard.md", "*/figures/*.svg")


@pytest.mark.slow
def test_make_results_gives_what_is_committed(tmp_path: Path) -> None:
    """The commands of ``make results`` on a copy without what they write; twice, with all there, for one suite."""
    results = tmp_path / "results"
    shutil.copytree(ROOT / "results", results, ignore=shutil.ignore_patterns(".work", "figures", "*.md", "*.html"))
    recipe = (ROOT / "Makefile").read_text().partition("\nresults: install\n")[2].partition("\n\n")[0]
    commands = [line.removeprefix("\t$(BIN)/harness ").split() for line in recipe.splitlines()]
    assert [command[0] for command in commands] == ["claims", "leaderboard", "report"]
    report = results / "report.html"

    def make(*suites: str) -> dict[str, bytes]:
        for name, *options in commands:
            if suites and name == "claims":  # it also writes a file of the checkout, of all suites
                continue
            given = ["-o", str(report), *suites] if options else []
            command = [sys.executable, "-m", "harness", name, *given, "--results", str(results)]
            subprocess.run(command, check=True, capture_output=True, cwd=ROOT, timeout=600)
        return {str(path.relative_to(results)): path.read_bytes() for path in files(results)}

    built = ROOT / "claims/counts.json"
    before = built.read_bytes()
    first = make()
    assert built.read_bytes() == before
    committed = {str(path.relative_to(ROOT / "results")): path.read_bytes() for path in files(ROOT / "results")}
    assert first.keys() == committed.keys()
    assert [name for name in first if first[name] != committed[name]] == []
    for suite in results.iterdir():
        if suite.is_dir() and suite.name != "quickstart":
            shutil.rmtree(suite)
    again, page = make("quickstart"), report.read_bytes()
    assert again == make("quickstart") and report.read_bytes() == page
    assert all(again[name] == first[name] for name in again if name.startswith("quickstart/"))


def files(results: Path) -> list[Path]:
    return sorted(path for pattern in MADE for path in results.glob(pattern))
