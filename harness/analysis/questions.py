"""Every question of a comparison with its answer, as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness.analysis.averages import number
from harness.analysis.comparison_row import ComparisonRow

_TABLE = ("suite", "experiment", "architecture", "benchmark", "metric", "unit", "direction", "protocol")
_ANSWER = {
    "asked": "asked",
    "n": "n",
    "difference": "difference",
    "ci_low": "low",
    "ci_high": "high",
    "fixed_low": "fixed_low",
    "fixed_high": "fixed_high",
    "p_value": "p",
    "p_adjusted": "p_adjusted",
    "family": "family",
    "over": "over",
    "disputed": "disputed",
    "broken": "broken",
    "detectable": "detectable",
    "smallest": "smallest",
}
"""Keys, and what a contrast calls them."""
KEYS = (
    *_TABLE,
    "question",
    "method",
    "density_mask",
    "control_experiment",
    "control_architecture",
    "control",
    "control_density_mask",
    *_ANSWER,
    "seeds_needed",
)


def questions(table: Sequence[ComparisonRow]) -> Iterator[dict[str, Any]]:
    """What is asked of the rows of a table, or of networks, with exactly ``KEYS``; docs/statistics.md explains them."""
    rows = {row.id: row for row in table}
    for row in table:
        for found in row.contrasts:
            other = rows[found.other]
            yield {
                **{key: getattr(row, key) for key in _TABLE},
                "question": found.name or None,
                "method": found.method,
                "density_mask": row.density_mask,
                "control_experiment": other.experiment,
                "control_architecture": other.architecture,
                "control": found.control,
                "control_density_mask": other.density_mask,
                **{key: getattr(found, name) for key, name in _ANSWER.items()},
                "seeds_needed": None if found.needed is None else number(found.needed.seeds),
            }
