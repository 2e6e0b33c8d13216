"""One row of a comparison: a method at a density, over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.analysis.frame import SPENT
from harness.analysis.statistics import Array

KEYS = (
    "suite",
    "architecture",
    "benchmark",
    "method",
    "density_requested",
    "density_mask",
    "density_low",
    "density_high",
    "density_scope",
    "metric",
    "unit",
    "direction",
    "protocol",
    "n",
    "seeds",
    "mean",
    "std",
    "ci_low",
    "ci_high",
    "stderr",
    "baseline",
    "difference",
    "difference_ci_low",
    "difference_ci_high",
    "p_value",
    "p_adjusted",
    "mde",
    "seeds_needed",
    *SPENT,
    "speedup_theoretical",
    "cells",
)
"""What a row says of itself, for programs."""


@dataclass(slots=True, kw_only=True, eq=False)
class ComparisonRow:
    """Averages over seeds, with intervals of 95 %; None where a number cannot be had.

    Attributes:
        id: number of the row among all that were compared; ``reference`` is that of the row it is compared with.
        match: the row whose density it takes, "" if none; ``asked`` is the density that the suite asks for.
        density_low, density_high: extremes of the mask density over seeds.
        values: (seeds of all rows,), nan where a seed is missing; ``seeds`` are its own, ``n`` counts them, ``cells``
            are their names in the same order.
        std: over seeds. ``stderr`` is the standard error of one seed's score over the test examples.
        baseline: the method that it is compared with; ``difference`` is the row minus that, paired by seed.
        p_adjusted: ``p_value`` by Holm's correction over the table.
        mde: the smallest true difference to the baseline that this many seeds find with 80 % power; ``seeds_needed``
            is how many would find the difference seen.
        speedup_theoretical: of inference, dense over sparse FLOPs: no time is measured.
        group: counts the table's densities from high to low, and training budgets within them.
        rank, rank_worst: the range of ranks within the group that the data allows.
        failed: seeds without a result, with the reason.
        made_with: versions and devices of its cells.
        steps, ..., peak_memory, parameters, published: as a :class:`~harness.analysis.result_row.ResultRow` has them.
    """

    suite: str
    experiment: str
    architecture: str
    benchmark: str
    trained_on: str
    method: str
    metric: str
    unit: str
    direction: str
    protocol: str
    primary: bool = True
    match: str = ""
    asked: float | None = None
    density_scope: str = "maskable"
    density_requested: float | None = None
    density_mask: float
    density_low: float
    density_high: float
    density_nonzero: float | None = None
    density_total: float | None = None
    mean: float
    std: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    stderr: float | None = None
    n: int
    seeds: list[int] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    values: Array = field(default_factory=lambda: np.zeros(0))
    made_with: set[str] = field(default_factory=set)
    parameters: float | None = None
    steps: float | None = None
    examples: float | None = None
    tokens: float | None = None
    flops: float | None = None
    flops_sparse: float | None = None
    inference_flops: float | None = None
    inference_flops_sparse: float | None = None
    seconds: float | None = None
    peak_memory: float | None = None
    published: float | None = None
    id: int = 0
    reference: int | None = None
    baseline: str | None = None
    difference: float | None = None
    difference_ci_low: float | None = None
    difference_ci_high: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    mde: float | None = None
    seeds_needed: int | None = None
    speedup_theoretical: float | None = None
    group: int = 0
    rank: int | None = None
    rank_worst: int | None = None
    failed: Mapping[int, str] = field(default_factory=dict)

    def take(self, *names: str) -> tuple[Any, ...]:
        """The values of some attributes."""
        return tuple(getattr(self, name) for name in names)

    def told(self) -> dict[str, Any]:
        """As plain values, with exactly ``KEYS``."""
        return {key: getattr(self, key) for key in KEYS}
