"""Names of cells as ``harness show`` takes them, written short."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NAME = re.compile(r"(.+)\.(s\d+)\.[0-9a-f]+")


def cell_names(cells: Iterable[str]) -> str:
    """The cells of one row, ``main.mlp.digits.random.d0.1.s0 s1 s2``: what is common once, without hashes.

    A name without its hash is one that ``harness show`` finds as long as it fits no other cell.
    """
    seeds: dict[str, list[str]] = {}
    for cell in cells:
        found = _NAME.fullmatch(cell)
        common, seed = found.groups() if found else (cell, "")
        seeds.setdefault(common, []).append(seed)
    return ", ".join(f"{common}.{' '.join(own)}" if any(own) else common for common, own in seeds.items())
