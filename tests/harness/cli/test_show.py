"""`harness show A --against B`: in how much the masks of two cells agree."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from harness.cli import show

RESULTS = Path(__file__).parents[3] / "results"
GENOME = "quickstart/digits.skip_mlp.digits.genome"


def shown(*arguments: str) -> str:
    found = CliRunner(env={"COLUMNS": "80"}).invoke(show.command, [*arguments, "--results", str(RESULTS)])
    assert found.exit_code == 0, found.exception
    return found.output


def test_two_cells_are_set_beside_each_other_and_chance() -> None:
    said = shown(f"{GENOME}.s0", "--against", f"{GENOME}.s1")
    assert "Of 6 connections that pass over a band" in said
    assert "by chance" in said and "Left out: 9 connections of neighbouring bands" in said
    assert max(map(len, said.splitlines())) <= 80
    same = shown(f"{GENOME}.s0", "--against", f"{GENOME}.s0")
    assert "Jaccard 1.00" in same


def test_a_cell_without_masks_cannot_be_compared() -> None:
    arguments = [f"{GENOME}.s0", "--against", "quickstart/digits.skip_mlp.digits.dense.s1"]
    found = CliRunner().invoke(show.command, [*arguments, "--results", str(RESULTS)])
    assert "has no masks" in str(found.exception)
