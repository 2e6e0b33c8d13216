"""Cells whose masks a suite wants to see beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.errors import unknown_name
from harness.suites.schema import Selector

if TYPE_CHECKING:
    from harness.suites.cell import Cell

Pair = tuple["Cell", "Cell"]


def mask_pairs(first: Selector, second: Selector, cells: Sequence[Cell]) -> list[Pair]:
    """The cells of two selectors, by seed; where each fits one cell only, those two.

    Raises:
        ValueError: if one fits no cell, or several of one seed, or they have no seed in common.
    """
    a, b = (_by_seed(selector, cells) for selector in (first, second))
    if len(a) == len(b) == 1:
        return [(next(iter(a.values())), next(iter(b.values())))]
    shared = [seed for seed in a if seed in b]
    if not shared:
        raise ValueError("these runs have no seed in common: name one of each, as seed: 0 and seed: 1")
    return [(a[seed], b[seed]) for seed in shared]


def told(selector: Selector) -> str:
    """A selector in a title: ``learn, genome``."""
    given = selector.model_dump(exclude_none=True).items()
    return ", ".join(f"{key} {value}" if key in ("seed", "density") else str(value) for key, value in given)


def _by_seed(selector: Selector, cells: Sequence[Cell]) -> dict[int, Cell]:
    found: dict[int, Cell] = {}
    for cell in cells:
        if cell.trial is None and selector.matches(cell):
            if cell.seed in found:
                raise ValueError(
                    f"'{told(selector)}' fits several runs of seed {cell.seed}: name experiment, architecture, "
                    "benchmark, method or density, so that it fits one"
                )
            found[cell.seed] = cell
    for key in Selector.model_fields if not found else ():
        known = sorted({str(getattr(cell, key)) for cell in cells})
        for value in map(str, selector.values(key)):
            if value not in known:
                raise ValueError(unknown_name(key, value, known))
    if not found:
        raise ValueError(f"'{told(selector)}' fits no run")
    return found
