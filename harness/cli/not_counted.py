"""What commands say of files that are not counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from harness.cli.fitting import terminal_width

if TYPE_CHECKING:
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
