"""One row of a comparison: a method at a density, over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any

import numpy as np

from harness.analysis.contrast import Contrast
from harness.analysis.density_equivalent import DensityEquivalent
from harness.analysis.frame import SPENT
from harness.analysis.per_example import PerExample
from harness.analysis.scales import IDENTITY, ScoreScale
from harness.analysis.statistics import Array
from harness.suites.comparisons import Comparisons

KEYS = (
    "suite",
    "experiment",
    "architecture",
    "benchmark",
    "method",
    "density_requested",
    "density_asked",
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
    "mask_mean",
    "mixed",
    "broken",
    "rank",
    "rank_worst",
    "baseline",
    "difference",
    "difference_ci_low",
    "difference_ci_high",
    "control",
    "control_difference",
    "control_ci_low",
    "control_ci_high",
    "p_value",
    "p_adjusted",
    "detectable",
    "over",
    "program",
    "settings",
    *SPENT,
    "speedup_theoretical",
    "speedup_measured",
    "cells",
)
"""What a row says of itself, for programs."""


@dataclass(slots=True, kw_only=True, eq=False)
class ComparisonRow:
    """Averages over seeds, with intervals of 95 %; None where a number cannot be had.

    Attributes:
        id: number of the row among all that were compared; ``reference`` is that of the baseline's row.
        match: the row whose density it takes, "" if none.
        density_asked: what the suite asks for, of a matched row that of what it is matched to; None if nobody asked.
        density_low, density_high: extremes of the mask density over seeds. ``mixed`` says that they, or the sizes of
            smaller networks, are too far apart for a mean of scores: ``mean`` then only sorts, and there is no
            interval.
        mask_mean: mean value of the soft masks that it was tested with; density is 1 then.
        values: (seeds of all rows,), nan where a seed is missing; ``seeds`` are its own, ``n`` counts them, ``cells``
            are their names in the same order. ``densities``, ``mask_means``, ``lefts`` (parameters that are not
            zero) and ``sample`` are of the same seeds as ``values``.
        mean: of seeds on ``scale``, taken back; so are the ends of the interval, which is over ``over``.
            ``fixed_low`` and ``fixed_high`` are those for this very test set, over seeds alone.
        std: over seeds. ``stderr`` is the standard error of one seed's score over the test examples.
        effective: weights that can change the output, of those in scope.
        dead_low, dead_high: extremes over seeds of how many of the network's ``units``, such as neurons, carry nothing.
        broken: seeds whose output tells nothing of their input, with the reason.
        program: how optimizer steps are spread over trainings: ``5,372 + 5,371``.
        recovery_lr: the constant learning rate of the last recovery after a pruning; None without one.
        mask_updates: how often masks changed in training at most; None for a method that does not, or if not known.
        norms_estimated: training batches over which batch norms were estimated anew for scoring, 0 if they were not.
        references: what can be had without a network, by the primary metric, in words.
        settings: those that tuning has chosen, in words: ``lr 0.003 (trial 4 of 6)``; "" where nothing is tuned.
        contrasts: the questions of the table in which it is the method asked about. ``all_tests`` counts those that are
            tested in the whole table, with rows that are not shown.
        factors: by control, how many times this row's weights that one needs for its score.
        baseline: the method that it is compared with; ``difference`` is the row minus that, paired by seed.
            It is tested only where it is a question.
        timed: whether a clock was read for the metric.
        speedup_theoretical: of inference, dense over sparse FLOPs: no time is measured.
        speedup_measured: how many times as fast as the dense network, by the table of these networks that a clock was
            read for, whose protocol is ``measured_by``.
        group: counts the table's densities from high to low, and training budgets within them; ``rival`` says whether
            the row can be ranked within it. ``small`` is a smaller network without a mask.
        rank, rank_worst: the range of ranks within the group that the data allows.
        leading: whether it may be the best of its group, see :func:`harness.analysis.ranking.rank`.
        failed: seeds without a result, with the reason.
        absent: what the table has no row of because all its seeds failed: method -> density asked for ("" if none) ->
            a reason; the same for all rows of a table.
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
    density_scope: str = "maskable"
    density_requested: float | None = None
    density_asked: float | None = None
    density_mask: float
    density_low: float
    density_high: float
    mixed: bool = False
    mask_mean: float | None = None
    density_nonzero: float | None = None
    density_total: float | None = None
    mean: float
    scale: ScoreScale = IDENTITY
    over: str = "seeds"
    fixed_low: float | None = None
    fixed_high: float | None = None
    std: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    stderr: float | None = None
    n: int
    seeds: list[int] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    values: Array = field(default_factory=lambda: np.zeros(0))
    densities: Array = field(default_factory=lambda: np.zeros(0))
    mask_means: Array = field(default_factory=lambda: np.zeros(0))
    lefts: Array = field(default_factory=lambda: np.zeros(0))
    sample: list[PerExample | None] = field(default_factory=list)
    n_examples: float | None = None
    effective: float | None = None
    dead_low: float | None = None
    dead_high: float | None = None
    units: float | None = None
    broken: dict[int, str] = field(default_factory=dict)
    program: str = ""
    recovery_lr: float | None = None
    settings: str = ""
    mask_updates: float | None = None
    norms_estimated: float = 0.0
    references: str = ""
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
    comparisons: Comparisons | None = None
    contrasts: list[Contrast] = field(default_factory=list)
    all_tests: int = 0
    factors: dict[str, DensityEquivalent] = field(default_factory=dict)
    timed: bool = False
    speedup_theoretical: float | None = None
    speedup_measured: float | None = None
    measured_by: str = ""
    group: int = 0
    rival: bool = False
    small: bool = False
    rank: int | None = None
    rank_worst: int | None = None
    leading: bool = False
    failed: Mapping[int, str] = field(default_factory=dict)
    absent: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def take(self, *names: str) -> tuple[Any, ...]:
        """The values of some attributes."""
        return tuple(getattr(self, name) for name in names)

    @property
    def whole(self) -> bool:
        """Whether nothing is masked in it: neither hard, nor softly, nor by being smaller."""
        return self.density_mask == 1 and self.mask_mean is None and not self.small

    @property
    def asked(self) -> float | None:
        """The density that the suite asks for of this row itself; None for a matched one."""
        return None if self.match else self.density_asked

    @property
    def left(self) -> float:
        """Parameters that are not zero; nan if that is not known."""
        known = self.parameters is not None and self.density_total is not None
        return (self.parameters or 0.0) * (self.density_total or 0.0) if known else nan

    @property
    def bypassed(self) -> bool:
        """Whether all units are dead in every seed, although the output of some depends on the input."""
        return bool(self.units) and self.dead_low == self.units and len(self.broken) < self.n

    @property
    def contrast(self) -> Contrast | None:
        """Its first question."""
        return next(iter(self.contrasts), None)

    def told(self) -> dict[str, Any]:
        """As plain values, with exactly ``KEYS``; ``control_...`` and p are of the first question."""
        asked = self.contrast
        found = {
            "control": asked.control if asked else None,
            "control_difference": asked.difference if asked else None,
            "control_ci_low": asked.low if asked else None,
            "control_ci_high": asked.high if asked else None,
            "p_value": asked.p if asked else None,
            "p_adjusted": asked.p_adjusted if asked else None,
            "detectable": asked.detectable if asked else None,
            "mean": None if self.mixed else self.mean,
        }
        return {key: found[key] if key in found else getattr(self, key) for key in KEYS}
