"""How wide what is printed may be: as the terminal, and in whole lines elsewhere."""

from __future__ import annotations

import os
import shutil
import sys

import click

wide_option = click.option("--wide", is_flag=True, help="Every column of a table in full, wider than the terminal.")
"""For commands that print tables."""


def terminal_width(wide: bool = False) -> int | None:
    """Columns of the terminal, or as COLUMNS says; None where stdout is a file or a pipe, or ``wide`` is wanted."""
    if not wide and (sys.stdout.isatty() or "COLUMNS" in os.environ):
        return shutil.get_terminal_size().columns
    return None
