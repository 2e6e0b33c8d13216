"""Every claim with what was measured and the verdict: what the page, the table and the exports are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.analysis.statistics import summarise
from harness.claims.counts import Counts
from harness.claims.measuring import Measured, Measuring
from harness.claims.schema import Cells, Claim, Needs, Paper, Section, Tolerance
from harness.claims.verdicts import Judgement, here, judge_count, judge_order, judge_value
from harness.results.store import ResultStore

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
    "other_size",
    "needs",
    "gpu_hours",
    "cells",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim, what was measured of it, and the verdict.

    Attributes:
        measured: at the claim's own size, or, of a general order, at ``size``.
        elsewhere: at another size, which is ``size``; only where nothing was measured at its own.
        size: in what the size is another one than the claim's; empty where it is not.
    """

    paper: str
    section: Section
    claim: Claim
    measured: Measured | None
    judgement: Judgement
    elsewhere: Measured | None = None
    size: str = ""

    @property
    def tolerance(self) -> Tolerance | None:
        """What holds for this claim."""
        return self.section.tolerance_of(self.claim)

    @property
    def needs(self) -> Needs:
        """What a faithful measurement takes."""
        return self.claim.needs or self.section.needs

    @property
    def decided(self) -> bool:
        """Whether the claim holds or does not, be it only here."""
        return self.judgement.verdict in ("reproduced", "not reproduced", "holds here", "does not hold here")

    @property
    def unit(self) -> str:
        """The claim's, else the metric's."""
        return self.claim.unit or (self.measured.unit if self.measured else "")

    def interval(self) -> tuple[float, float | None, float | None] | None:
        """Of what was measured, a count without its interval; None if nothing was that may stand beside the claim."""
        if self.measured is None:
            return None
        found = mean_interval(self.measured)
        return found if self.claim.count is None else (found[0], None, None)

    def row(self) -> dict[str, Any]:
        """As plain values, with exactly ``KEYS``."""
        mean, low, high = self.interval() or (None, None, None)
        claim, measured, judged = self.claim, self.measured, self.judgement
        values: tuple[Any, ...] = (
            self.paper,
            self.section.title,
            claim.id,
            claim.quantity,
            claim.order if claim.number is None else claim.number,
            self.unit,
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
            self.size,
            needs_text(self.needs),
            self.needs.gpu_hours,
            [f"{suite}/{cell}" for suite, _, cell in measured.cells] if measured else [],
        )
        return dict(zip(KEYS, values, strict=True))


def find(papers: Mapping[str, Paper], store: ResultStore, counts: Counts | None = None) -> list[Finding]:
    """Measures and judges every claim, in order of the files."""
    published = {claim: number for paper in papers.values() for claim, number in paper.published().items()}
    measuring = Measuring(store, published, counts)
    return [
        _finding(name, section, claim, measuring)
        for name, paper in papers.items()
        for section in paper.sections
        for claim in section.claims
    ]


def _finding(paper: str, section: Section, claim: Claim, measuring: Measuring) -> Finding:
    own = measuring.find(m for m in claim.measure if section.at_its_size(m))
    if own is not None:
        return Finding(paper, section, claim, own[1], judge(claim, section, own[1]))
    other = measuring.find(m for m in claim.measure if not section.at_its_size(m))
    unmeasured = judge(claim, section, None)
    if other is None:
        return Finding(paper, section, claim, None, unmeasured)
    cells, measured = other
    assert isinstance(cells, Cells) and cells.size is not None and section.size is not None
    size = cells.size.instead_of(section.size)
    if section.general is not None:
        return Finding(paper, section, claim, measured, judge(claim, section, measured, size), size=size)
    elsewhere = Judgement("not run at that size", unmeasured.reason)
    return Finding(paper, section, claim, None, elsewhere, measured, size)


def mean_interval(measured: Measured) -> tuple[float, float | None, float | None]:
    """Mean over seeds with its 95 % t interval, cut where no such number can be; None from one number."""
    summary = summarise(np.array([list(measured.values.values())]))
    known = len(measured.values) > 1
    low, high = max(float(summary.low[0]), measured.lowest), min(float(summary.high[0]), measured.highest)
    return float(summary.mean[0]), low if known else None, high if known else None


def judge(claim: Claim, section: Section, measured: Measured | None, size: str = "") -> Judgement:
    """The rules of :mod:`harness.claims.verdicts`, in their order.

    Args:
        size: in what the size is another one than the claim's; given only for general orders.
    """
    if measured is None:
        return Judgement("not run", f"needs {needs_text(claim.needs or section.needs)}")
    if section.general is not None and (size or measured.differs):
        return here(_compared(claim, section, measured))
    return Judgement("differs in protocol") if measured.differs else _compared(claim, section, measured)


def _compared(claim: Claim, section: Section, measured: Measured) -> Judgement:
    """By the numbers alone."""
    if measured.missing:
        return Judgement("inconclusive", "; ".join(measured.missing))
    values = list(measured.values.values())
    tolerance = section.tolerance_of(claim)
    allowed = tolerance.value if tolerance else 0.0
    if claim.value is not None:
        return judge_value(values, claim.value, allowed, claim.rounding, claim.runs, claim.bound)
    if claim.count is not None:
        return judge_count(values, claim.count, allowed, claim.rounding, claim.bound)
    return judge_order(values, allowed)


def needs_text(needs: Needs) -> str:
    """``148 GPU-hours; data: ...``."""
    parts = [f"{needs.gpu_hours:,g} GPU-hour{'' if needs.gpu_hours == 1 else 's'}"] if needs.gpu_hours else []
    named = (("architecture", needs.architecture), ("data", needs.data), ("", needs.other))
    parts += [f"{what}: {text}" if what else text for what, text in named if text]
    return "; ".join(parts)
