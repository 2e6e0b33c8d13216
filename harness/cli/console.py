"""Where commands print."""

from __future__ import annotations

from rich.console import Console


def plain_console(stderr: bool = False) -> Console:
    """A console that shows text as it is: ``[brackets]`` in names and paths are no markup, ``:smile:`` no picture."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
