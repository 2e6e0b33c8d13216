"""Where a row stands among densities, and what it is called there."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from harness.analysis.comparison_row import ComparisonRow
from harness.report.tables import fraction


def place(row: ComparisonRow, table: Sequence[ComparisonRow]) -> float:
    """The density at which a row is compared, in [0, 1].

    Its mask's, which is 1 where masks are soft. A smaller network's is the one at which a mask leaves the whole network
    as many parameters: those left are linear in density, and the masked row with the most similar number says how.
    """
    if not row.small or isnan(row.left):
        return row.density_mask
    masked = [other for other in table if other.density_mask < 1 and other.left > 0]
    if not masked:
        return row.left / max(other.parameters or 0.0 for other in table)
    other = min(masked, key=lambda other: (abs(other.left - row.left), other.id))
    whole = other.parameters or 0.0
    per_density = (whole - other.left) / (1 - other.density_mask)
    return min(max(1 - (whole - row.left) / per_density, 0.0), 1.0) if per_density > 0 else row.density_mask


def label(row: ComparisonRow) -> str:
    """The method, and what its density does not say: ``genome (soft masks, mean 0.11)``."""
    if row.mask_mean is not None:
        return f"{row.method} (soft masks, mean {fraction(row.mask_mean, 2)})"
    return f"{row.method} (smaller network)" if row.small else row.method


def lost(row: ComparisonRow) -> bool:
    """Whether no seed's network tells anything of its input."""
    return len(row.broken) >= row.n
