"""Numbers in words, and text that any terminal and any page can show."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters but for line ends and tabs, half characters, and what changes lines or the direction of text."""


def printable(text: str, longest: int | None = None) -> str:
    """Text with control and half characters spelled out, as ``ascii`` does, and the middle left out if too long."""
    if longest is not None and len(text) > longest:
        half = longest // 2
        text = f"{text[:half]}\n[{len(text) - 2 * half:,} characters left out]\n{text[-half:]}"
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def count(number: int, what: str) -> str:
    """``1 SLURM job``, ``2,000 SLURM jobs``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def unit_text(unit: str) -> str:
    """A metric's unit beside its name: ``per token`` for ``perplexity/token``, else as it is."""
    return f"per {unit.removeprefix('perplexity/')}" if unit.startswith("perplexity/") else unit


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 20 s``, ``5 h 10 min``, ``3 d 4 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    if whole > 3650 * 86400:
        return "more than 10 years"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def size(number: float) -> str:
    """``512 B``, ``3.2 MiB``, ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.3g} {unit}" if number < 100 else f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def not_finite(scores: Mapping[str, str]) -> str:
    """Scores that no file of numbers can hold: ``perplexity is inf (too large to write down)``."""
    words = {"inf": "too large to write down", "-inf": "too small to write down", "nan": "not a number"}
    return ", ".join(f"{name} is {text} ({words.get(text, 'no number')})" for name, text in scores.items())


def fitted(text: str, width: int | None, hanging: int = 2) -> str:
    """The same with lines that are too long broken between words, and what follows indented by ``hanging`` more.

    A word that is longer, a path or a name, stays whole.
    """
    if width is None:
        return text
    lines = []
    for line in text.split("\n"):
        if len(line) <= width:
            lines.append(line)
            continue
        indent = " " * (len(line) - len(line.lstrip()) + hanging)
        lines += textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
    return "\n".join(lines)
