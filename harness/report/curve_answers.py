"""What is said of two methods that are compared at several densities: one sentence for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.contrast import Contrast
from harness.formatting import listed
from harness.report.tables import decimals, fraction, rounded

LEAST = 3
"""Densities from which on a pair of methods is told as a whole."""


def pairs(contrasts: Sequence[Contrast], rows: Mapping[int, ComparisonRow]) -> list[list[Contrast]]:
    """Questions about the same two methods at three densities or more, from the highest down.

    Only those of which no more is to be said than which is better, or that they cannot be told apart.
    """
    found: dict[tuple[str, str], list[Contrast]] = {}
    for contrast in contrasts:
        found.setdefault((contrast.method, contrast.control), []).append(contrast)
    plain = [group for group in found.values() if len(group) >= LEAST and all(_is_plain(c, rows) for c in group)]
    return [sorted(group, key=lambda c: -rows[c.row].density_mask) for group in plain]


def sentence(
    contrasts: Sequence[Contrast],
    winners: Sequence[ComparisonRow | None],
    rows: Mapping[int, ComparisonRow],
    power: str,
) -> str:
    """``a beats b at 0.1 (0.957 against 0.936) and 0.02 (0.877 against 0.490); not told apart at 0.5 and 0.2; ...``.

    Args:
        contrasts: of one pair, from the highest density down.
        winners: the better row of each, None where nothing is claimed.
        power: what is said of those that nothing is claimed of.
    """
    parts: list[str] = []
    for first, second in ((contrasts[0].method, contrasts[0].control), (contrasts[0].control, contrasts[0].method)):
        won = [(c, row) for c, row in zip(contrasts, winners, strict=True) if row is not None and row.method == first]
        if won:
            parts.append(f"{first} beats {second} at {listed([_scores(c, row, rows) for c, row in won])}")
    if apart := [fraction(rows[c.row].density_mask) for c, row in zip(contrasts, winners, strict=True) if row is None]:
        names = "" if parts else f"{contrasts[0].method} and {contrasts[0].control} are "
        parts.append(f"{names}not told apart at {listed(apart)}{power}")
    return "; ".join(parts) + "."


def _scores(contrast: Contrast, better: ComparisonRow, rows: Mapping[int, ComparisonRow]) -> str:
    worse = rows[contrast.row + contrast.other - better.id]
    places = max(0, decimals([better.mean, worse.mean]) - 1)
    return f"{fraction(better.density_mask)} ({rounded(better.mean, places)} against {rounded(worse.mean, places)})"


def _is_plain(contrast: Contrast, rows: Mapping[int, ComparisonRow]) -> bool:
    both = (rows[contrast.row], rows[contrast.other])
    fixed = all(not (row.mixed or row.small or row.broken or row.mask_mean is not None) for row in both)
    alike = both[0].density_mask < 1 and fraction(both[0].density_mask) == fraction(both[1].density_mask)
    tested = contrast.p_adjusted is not None and not contrast.disputed and not contrast.broken
    return fixed and alike and tested and both[0].direction != "none"
