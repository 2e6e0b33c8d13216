"""`harness verify`: every page is what the results give, or it is named with its difference."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.verify import command

ROOT = Path(__file__).parents[3]


def verify(results: Path) -> tuple[int, str]:
    claims = ["--claims", str(ROOT / "claims"), "--suites", str(ROOT / "suites")]
    found = CliRunner(env={"COLUMNS": "80"}).invoke(command, ["--results", str(results), *claims])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.output


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The committed results of one suite, with pages of their own."""
    from harness.report.leaderboard import write_leaderboards
    from harness.results.store import ResultStore

    shutil.copytree(ROOT / "results" / "quickstart", tmp_path / "results" / "quickstart")
    write_leaderboards(ResultStore(tmp_path / "results"))
    return tmp_path / "results"


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pages_that_are_what_the_results_give(results: Path) -> None:
    before = files(results)
    code, said = verify(results)
    assert code == 0 and "Everything agrees" in said
    figures = len(list((results / "quickstart/figures").iterdir()))
    assert f"{figures + 1} equal" in said and "1 equal" in said
    assert max(map(len, said.splitlines())) <= 80
    assert files(results) == before


def test_what_differs_is_named_with_its_difference_and_the_repair(results: Path) -> None:
    page = results / "quickstart/leaderboard.md"
    page.write_text(page.read_text().replace("# Leaderboard: quickstart", "# Leaderboard: quickstarT"))
    gone = sorted((results / "quickstart/figures").iterdir())[0]
    gone.unlink()
    (results / "quickstart/figures/old.svg").write_text("<svg/>")
    overview = results / "LEADERBOARD.md"
    overview.write_text(f"{overview.read_text()}more\n")
    code, said = verify(results)
    assert code == 1 and "Everything agrees" not in said
    assert "quickstart/leaderboard.md\n" in said
    assert "- ...aderboard: quickstarT\n" in said and "+ ...aderboard: quickstart\n" in said
    assert f"quickstart/figures/{gone.name}\n    it is missing" in said
    assert "quickstart/figures/old.svg\n    these results give no such file" in said
    assert "  LEADERBOARD.md\n    - more\n" in said
    assert f"harness leaderboard --results {results} writes them again" in said
    assert "1 not" in said and "3 not" in said


def test_damage_is_named_and_the_exit_code_is_1(results: Path) -> None:
    archive = results / "quickstart/archive/masks_and_samples.zip"
    content = bytearray(archive.read_bytes())
    content[200] ^= 0xFF
    archive.write_bytes(content)
    code, said = verify(results)
    assert code == 1 and "masks" in said and "from version control" in said


def test_nothing_to_verify_is_a_users_error(tmp_path: Path) -> None:
    found = CliRunner().invoke(command, ["--results", str(tmp_path)])
    assert "no results in" in str(found.exception)


@pytest.mark.slow
def test_the_committed_results_agree() -> None:
    code, said = verify(ROOT / "results")
    assert code == 0, said
