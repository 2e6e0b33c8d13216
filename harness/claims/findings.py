"""Every claim with what was measured and the verdict: what the page, the table and the exports are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.analysis.statistics import summarise
from harness.claims.measuring import Measured, Measuring
from harness.claims.schema import Claim, Needs, Paper, Section, Tolerance
from harness.claims.verdicts import Judgement, judge_count, judge_order, judge_value

KEYS = (
    "paper",
    "section",
    "claim",
    "quantity",
    "claimed",
    "unit",
    "measured",
    "ci_low",
    "ci_high",
    "n",
    "difference_ci_low",
    "difference_ci_high",
    "tolerance",
    "verdict",
    "reason",
    "differs",
    "needs",
    "gpu_hours",
    "cells",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim, what was measured of it, and the verdict."""

    paper: str
    section: Section
    claim: Claim
    measured: Measured | None
    judgement: Judgement

    @property
    def tolerance(self) -> Tolerance | None:
        """What holds for this claim."""
        return self.section.tolerance_of(self.claim)

    @property
    def needs(self) -> Needs:
        """What a faithful measurement takes."""
        return self.claim.needs or self.section.needs

    @property
    def built(self) -> bool:
        """Whether the number comes from building the network, not from result files."""
        return self.measured is not None and not self.measured.cells

    def interval(self) -> tuple[float, float | None, float | None] | None:
        """Mean over seeds with its 95 % t interval (None from one seed, or without spread); None if not measured."""
        if self.measured is None:
            return None
        summary = summarise(np.array([list(self.measured.values.values())]))
        low, high = float(summary.low[0]), float(summary.high[0])
        known = len(self.measured.values) > 1 and self.claim.count is None
        return float(summary.mean[0]), low if known else None, high if known else None

    def row(self) -> dict[str, Any]:
        """As plain values, with exactly ``KEYS``."""
        mean, low, high = self.interval() or (None, None, None)
        claim, measured, judged = self.claim, self.measured, self.judgement
        given = claim.value if claim.value is not None else claim.count
        values: tuple[Any, ...] = (
            self.paper,
            self.section.title,
            claim.id,
            claim.quantity,
            claim.order if given is None else given,
            claim.unit or (measured.unit if measured else ""),
            mean,
            low,
            high,
            0 if measured is None else len(measured.values),
            judged.low,
            judged.high,
            self.tolerance.value if self.tolerance else None,
            judged.verdict,
            judged.reason,
            list(measured.differs) if measured else [],
            needs_text(self.needs),
            self.needs.gpu_hours,
            [f"{suite}/{cell}" for suite, _, cell in measured.cells] if measured else [],
        )
        return dict(zip(KEYS, values, strict=True))


def find(papers: Mapping[str, Paper], measuring: Measuring) -> list[Finding]:
    """Measures and judges every claim, in order of the files."""
    found = []
    for name, paper in papers.items():
        for section in paper.sections:
            for claim in section.claims:
                measured = measuring.find(claim)
                found.append(Finding(name, section, claim, measured, judge(claim, section, measured)))
    return found


def judge(claim: Claim, section: Section, measured: Measured | None) -> Judgement:
    """The rules of :mod:`harness.claims.verdicts`, in their order."""
    if measured is None:
        return Judgement("not run", f"needs {needs_text(claim.needs or section.needs)}")
    if measured.differs:
        return Judgement("differs in protocol")
    if measured.missing:
        return Judgement("inconclusive", "; ".join(measured.missing))
    values = list(measured.values.values())
    tolerance = section.tolerance_of(claim)
    allowed = tolerance.value if tolerance else 0.0
    if claim.value is not None:
        return judge_value(values, claim.value, allowed, claim.rounding, claim.runs)
    if claim.count is not None:
        return judge_count(values, claim.count, allowed, claim.rounding)
    return judge_order(values, allowed)


def needs_text(needs: Needs) -> str:
    """``148 GPU-hours; data: ...``."""
    parts = [f"{needs.gpu_hours:,g} GPU-hour{'' if needs.gpu_hours == 1 else 's'}"] if needs.gpu_hours else []
    named = (("architecture", needs.architecture), ("data", needs.data), ("", needs.other))
    parts += [f"{what}: {text}" if what else text for what, text in named if text]
    return "; ".join(parts)
