"""Names of cells: labels, density, seed and, last, the hash of all that determines the cell, which labels do not."""

from __future__ import annotations

import re

_SEED = re.compile(r"\.s\d+\.[0-9a-f]+$")


def hash_of(cell: str) -> str:
    """What stays where a label is changed."""
    return cell.rpartition(".")[2]


def without_seed(cell: str) -> str:
    """What the cells of one row have in common: ``main.mlp.digits.random.d0.1``."""
    return _SEED.sub("", cell)
