"""Text is shown as it is, by every command."""

from __future__ import annotations

import ast
from pathlib import Path

from harness.cli.console import plain_console

CLI = Path(__file__).parents[3] / "harness" / "cli"


def test_brackets_and_names_of_pictures_are_text(capsys) -> None:
    plain_console().print("results/[bold]x[/bold]/[red] :smile:", soft_wrap=True)
    assert capsys.readouterr().out == "results/[bold]x[/bold]/[red] :smile:\n"


def test_no_command_makes_a_console_of_its_own() -> None:
    made = [
        f"{path.name}:{node.lineno}"
        for path in CLI.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Console"
    ]
    assert len(made) == 1 and made[0].startswith("console.py:")
