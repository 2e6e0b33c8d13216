"""What options refuse, and what they advise."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from harness.cli import cli


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("compare --pareto flop", "unknown choice 'flop'. Did you mean 'flops'? Known: density, flops, "),
        ("publish s --hub hugingface --repo me/x", "Did you mean 'huggingface'?"),
        ("compare --format jsn", "Did you mean 'json'?"),
        ("new metod x", "Did you mean 'method'?"),
        ("compare --at-density 10%", "a density is a number between 0 and 1, not '10%': for 10 % write 0.1"),
        ("compare --at-density 10", "not '10': for 10 % write 0.1"),
        ("compare --at-density -1", "a density is a number between 0 and 1, not '-1'\n"),
        ("compare --at-density few", "a density is a number between 0 and 1, not 'few'\n"),
        ("compare --latex --format csv", "--latex is --format latex, and --format csv is given too: give one of them"),
    ],
)
def test_what_is_refused(command: str, said: str) -> None:
    found = CliRunner().invoke(cli, command.split())
    assert found.exit_code == 2
    assert said in found.output
