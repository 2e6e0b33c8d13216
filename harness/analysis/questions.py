"""Every question of a comparison with its answer, as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness.analysis.averages import number
from harness.analysis.comparison_row import ComparisonRow

KEYS = (
    "suite",
    "experiment",
    "architecture",
    "benchmark",
    "metric",
    "unit",
    "direction",
    "protocol",
    "question",
    "asked",
    "method",
    "density_mask",
    "control_experiment",
    "control_architecture",
    "control",
    "control_density_mask",
    "n",
    "difference",
    "ci_low",
    "ci_high",
    "fixed_low",
    "fixed_high",
    "p_value",
    "p_adjusted",
    "family",
    "over",
    "disputed",
    "broken",
    "detectable",
    "smallest",
    "seeds_needed",
)


def questions(table: Sequence[ComparisonRow]) -> Iterator[dict[str, Any]]:
    """What is asked of the rows of a table, or of networks, with exactly ``KEYS``; docs/statistics.md explains them."""
    rows = {row.id: row for row in table}
    for row in table:
        for found in row.contrasts:
            other = rows[found.other]
            yield {
                **{key: getattr(row, key) for key in KEYS[: KEYS.index("question")]},
                "question": found.name or None,
                "asked": found.asked,
                "method": found.method,
                "density_mask": row.density_mask,
                "control_experiment": other.experiment,
                "control_architecture": other.architecture,
                "control": found.control,
                "control_density_mask": other.density_mask,
                "n": found.n,
                "difference": found.difference,
                "ci_low": found.low,
                "ci_high": found.high,
                "fixed_low": found.fixed_low,
                "fixed_high": found.fixed_high,
                "p_value": found.p,
                "p_adjusted": found.p_adjusted,
                "family": found.family,
                "over": found.over,
                "disputed": found.disputed,
                "broken": found.broken,
                "detectable": found.detectable,
                "smallest": found.smallest,
                "seeds_needed": None if found.needed is None else number(found.needed.seeds),
            }
