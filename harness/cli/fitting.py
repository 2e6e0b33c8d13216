"""Text that fits into the terminal, and stays in whole lines elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap


def terminal_width() -> int | None:
    """Columns of the terminal, or as COLUMNS says; None where stdout is a file or a pipe and nobody says so."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return None


def fitted(text: str, width: int | None, hanging: int = 2) -> str:
    """The same with lines that are too long broken between words, and what follows indented by ``hanging`` more."""
    if width is None:
        return text
    lines = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip()) + hanging)
        fits = len(line) <= width
        lines += [line] if fits else textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False)
    return "\n".join(lines)
