"""What a metric can be set against: the costs of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.comparison_row import ComparisonRow
from harness.report.places import place
from harness.report.svg import drawable


@dataclass(frozen=True, slots=True)
class CostAxis:
    """One of them, lower is better.

    Attributes:
        words: what it is called in a sentence, and ``title`` on an axis.
        of: its amount for a row of a table, None where that is not known.
    """

    words: str
    title: str
    of: Callable[[ComparisonRow, Sequence[ComparisonRow]], float | None]


COSTS: Mapping[str, CostAxis] = {
    "density": CostAxis("mask density", "mask density", place),
    "flops": CostAxis(
        "sparse-theoretical FLOPs of inference",
        "inference FLOPs, sparse-theoretical",
        lambda row, _: row.inference_flops_sparse,
    ),
    "training-flops": CostAxis(
        "sparse-theoretical FLOPs of training",
        "training FLOPs, sparse-theoretical",
        lambda row, _: row.flops_sparse,
    ),
}
"""Those that ``--pareto`` takes, by name."""

LEFT = CostAxis(
    "parameters left", "parameters left (not zero)", lambda row, _: row.left if drawable(row.left) else None
)
TIME = CostAxis(
    "measured time of inference",
    "inference time, measured (1: dense)",
    lambda row, _: 1 / row.speedup_measured if row.speedup_measured else None,
)
