"""How good a trial is: the validation scores of its cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.results.cell_record import CellRecord


@dataclass(frozen=True, slots=True)
class TrialScore:
    """The primary metric on validation data, over the seeds of tuning.

    Attributes:
        values: of each seed; nan where training diverged, or no number can hold the score.
        broken: seeds whose network does not depend on its input.
        sign: 1 where more is better, -1 where less is.
    """

    values: tuple[float, ...]
    broken: int
    sign: int

    @classmethod
    def of(cls, records: Sequence[CellRecord]) -> TrialScore:
        """From the records of a trial's cells, done or diverged."""
        primary = [
            next((metric for metric in record.validation.values() if metric.primary), None) for record in records
        ]
        judged = [metric for record in records for metric in record.metrics.values() if metric.primary]
        sign = -1 if any(metric.direction == "min" for metric in judged) else 1
        broken = sum(bool(record.connectivity and record.connectivity.broken) for record in records)
        return cls(tuple(metric.value if metric else math.nan for metric in primary), broken, sign)

    @property
    def mean(self) -> float:
        """Over seeds; nan where one of them has none, which is the worst that there is."""
        return sum(self.values) / len(self.values)


def best(scores: Sequence[TrialScore]) -> int:
    """Number, from 1, of the trial to choose; of equal ones the first.

    Intact networks come before broken ones and these before diverged training, whatever the scores: neither is left
    out, or methods that often fail would be chosen for among fewer trials than others.
    """

    def worse(index: int) -> tuple[bool, bool, float]:
        score = scores[index]
        lost = math.isnan(score.mean)
        return lost, score.broken > 0, 0.0 if lost else -score.sign * score.mean

    return 1 + min(range(len(scores)), key=worse)
