"""What commands say of files and runs that are not counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.fitting import terminal_width

if TYPE_CHECKING:
    from rich.console import Console

    from harness.results.store import LeftOut

_LISTED = 10  # files named before the rest is only counted


def tell(left: Sequence[LeftOut], what: str = "not counted") -> None:
    """Files that are ``what``, on stderr; of those that a changed suite has superseded the number."""
    from harness.formatting import fitted
    from harness.results.store import OBSOLETE

    def say(text: str, what: str = what) -> None:
        click.echo(fitted(f"{what}: {text}", terminal_width()), err=True)

    counts = Counter(item.reason.startswith(OBSOLETE) for item in left)
    named = [item for item in left if not item.reason.startswith(OBSOLETE)]
    for item in named[:_LISTED]:
        say(f"{item.path}: {item.reason}", "counted in part" if item.in_part else what)
    if len(named) > _LISTED:
        say(f"{len(named) - _LISTED} more (see the suite's leaderboard.md)")
    if counts[True]:
        say(f"{counts[True]} files of runs that are no longer in their suite's plan")


def list_runs(console: Console, runs: Mapping[str, str], lack: str, tracebacks: Path | None = None) -> None:
    """Names of runs that ``lack`` something, each with the reason and the record that has the traceback."""
    from harness.formatting import count, fitted

    what = f"{count(len(runs), 'run')} {'has' if len(runs) == 1 else 'have'} {lack}"
    console.print(f"\n{what}:", style="red", highlight=False)
    for name, message in runs.items():
        text = fitted(f"  {name}: {message.splitlines()[0]}", console.width if console.is_terminal else None)
        console.print(text, highlight=False, soft_wrap=True)
        if tracebacks is not None and (path := tracebacks / f"{name}.json").is_file():
            console.print(f"    traceback: {path}", highlight=False, soft_wrap=True)
