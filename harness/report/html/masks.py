"""Mask pictures, and how far the masks of different seeds agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from harness.report.html.cells import CountedCell
from harness.report.html.png import png
from harness.report.html.section import DAMAGED, RunSection, fill
from harness.results.mask_pictures import MaskPicture, overlap, read
from harness.results.result_file import ResultFile
from harness.results.store import ResultStore

LIMIT = 8_000_000
"""Bytes of packed pictures in a page."""
NETWORKS = 2_000
"""So many networks are compared at most."""
_CONNECTIONS = 200


def masks(store: ResultStore, groups: Mapping[str, Sequence[CountedCell]]) -> RunSection:
    """Pictures of every network's connections; ``overview`` holds each run's overlap between seeds."""

    def where(cell: CountedCell) -> ResultFile:
        return store.file(cell.suite, "masks", cell.stage or "")

    section = fill(groups, where, pictures, LIMIT)
    section.overview = []
    compared = 0
    for title, group in groups.items():
        shown = [cell for cell in group if cell.stage and where(cell).exists]
        if len(shown) < 2 or all(cell.density == 1 for cell in shown):
            continue
        compared += len(shown)
        if compared > NETWORKS:
            section.notes.append(f"Only the first {NETWORKS:,} networks are compared between seeds.")
            break
        try:
            section.overview.append({"title": title, **convergence([read(where(c).read()) for c in shown], shown)})
        except DAMAGED:
            continue  # the file is already listed as damaged by its picture
    return section


def pictures(file: ResultFile, cell: CountedCell) -> dict[str, Any] | None:
    """Each connection's picture as a data URI, with what it shows.

    Raises:
        CorruptFile: if the file holds no masks.
    """
    found = read(file.read())
    if not any(picture.size for picture in found.values()) or cell.density == 1:
        return None
    shown = [(name, picture) for name, picture in list(found.items())[:_CONNECTIONS] if picture.size]
    return {
        "connections": [
            {
                "name": name,
                "shape": list(picture.shape),
                "kept": picture.kept,
                "size": picture.size,
                "kind": _heading(picture),
                "picture": png(picture.picture),
                "strength": _strength(picture),
            }
            for name, picture in shown
        ],
        "omitted": max(0, len(found) - _CONNECTIONS),
    }


def convergence(found: Sequence[Mapping[str, MaskPicture]], cells: Sequence[CountedCell]) -> dict[str, Any]:
    """Overlap of whole networks, pair by pair, beside what chance would give at the same densities.

    {"seeds", "density": mean, "overlap": square rows, "chance": the same, "connections": [[name, mean overlap,
    mean chance]]}. The overlap of two networks is their Jaccard index: weights kept by both over weights kept by
    either, summed over connections; by chance: the same with the expected counts of independent uniform masks
    that keep as many weights of each connection, both ab/N for a and b of N kept.
    """
    count = len(found)
    whole = [[(1.0, 1.0)] * count for _ in range(count)]
    single: dict[str, list[tuple[float, float]]] = {}
    for i, j in combinations(range(count), 2):
        shared = list(_shared(found[i], found[j]))
        kept = sum(kept for _, _, _, kept in shared)
        both = sum(both for _, both, _, _ in shared), sum(expected for _, _, expected, _ in shared)
        whole[i][j] = whole[j][i] = (_ratio(both[0], kept), _ratio(both[1], kept))
        for name, found_both, expected, of in shared:
            single.setdefault(name, []).append((_ratio(found_both, of), _ratio(expected, of)))
    return {
        "seeds": [cell.seed for cell in cells],
        "density": sum(cell.density for cell in cells) / count,
        "overlap": [[pair[0] for pair in row] for row in whole],
        "chance": [[pair[1] for pair in row] for row in whole],
        "connections": [
            [name, sum(found for found, _ in pairs) / len(pairs), sum(chance for _, chance in pairs) / len(pairs)]
            for name, pairs in single.items()
        ],
    }


def _shared(a: Mapping[str, MaskPicture], b: Mapping[str, MaskPicture]) -> Iterator[tuple[str, float, float, int]]:
    """(connection, weights kept by both, expected by chance, kept by the one plus kept by the other)."""
    for name, jaccard in overlap(a, b).items():
        kept = a[name].kept + b[name].kept
        # From both / either = jaccard and both + either = kept.
        yield name, jaccard * kept / (1 + jaccard), a[name].kept * b[name].kept / max(1, a[name].size), kept


def _ratio(both: float, kept: float) -> float:
    """Both over either, where both + either = kept; two empty masks overlap by 1."""
    return both / (kept - both) if kept > both else 1.0


def _strength(picture: MaskPicture) -> dict[str, Any] | None:
    """How much queries attend to keys by a soft mask; a hard one is seen as it is."""
    if picture.soft is None or picture.attention is None:
        return None
    strength, most = picture.attention, float(picture.attention.max())
    return {"picture": png(np.rint(255 * strength / most).astype(np.uint8)), "most": round(most, 3)}


def _heading(picture: MaskPicture) -> str:
    """What the connection is among: weights, or attention biases by what the architecture says that they are for."""
    return "weights" if picture.kind == "weight" else (picture.role or "attention").replace("_", " ")
