"""The rules by which a measurement is set beside a published number. Pure functions.

Tolerances and selections of cells stand in files, with reasons that use no results; nothing is chosen afterwards.

``value``: a number that depends on the seed. The paper's is the mean of ``runs`` runs (mostly one) and carries
their seed noise as ours carries ours. With our n seeds of mean m and standard deviation s, the difference between
the paper's protocol and ours is d = m - published, with the 95 % interval

    d +- (t(0.975, n - 1) s sqrt(1 / n + 1 / runs) + rounding / 2):

for one run that is the prediction interval of a further run (Hahn and Meeker 1991, Statistical Intervals, section
4.7), seen from the published number; it assumes normal seeds and that the authors' vary as ours. Against the
tolerance T:

    wholly within [-T, T]     reproduced        (an equivalence test, stricter than TOST at 5 %, whose interval is 90 %)
    wholly outside            not reproduced
    else                      inconclusive

So noise can never make a claim ``reproduced``: a wide interval is inconclusive. One seed has no interval, and seeds
without any spread give none either, unless all of them are the published number: reproduced.

``order``: A better than B (``better``), or not worse by more than T (``not_worse``; T = 0 for ``better``), by the
difference A - B paired by seed, its sign so that more is better, and its 95 % t interval:

    low > -T       reproduced
    high < -T      not reproduced
    else           inconclusive

An order over several others (better than both controls) is one claim for each, and holds if all do: no correction
is needed for that (intersection-union test, Berger 1982).

``count``: a number that no seed changes: reproduced if every measurement is within T + rounding / 2, T mostly 0.

Before all of that: without a measurement the verdict is ``not run``; if the measurement names differences to the
paper's protocol it is ``differs in protocol``, whatever the numbers are; and while a planned seed has failed,
diverged or not finished it is ``inconclusive``, because those that are left may be a selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from harness.analysis.statistics import CONFIDENCE

Verdict = Literal["reproduced", "not reproduced", "inconclusive", "differs in protocol", "not run"]
VERDICTS: tuple[Verdict, ...] = ("reproduced", "not reproduced", "inconclusive", "differs in protocol", "not run")


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and what it rests on.

    Attributes:
        reason: why, where the numbers alone do not say it.
        low, high: 95 % interval of the difference to the published number, or between the cells of an order;
            None where there is none.
    """

    verdict: Verdict
    reason: str = ""
    low: float | None = None
    high: float | None = None


def judge_value(
    values: Sequence[float], published: float, tolerance: float, rounding: float = 0.0, runs: int = 1
) -> Judgement:
    """The rule for ``value``; ``values`` has one number a seed, at least one."""
    n = len(values)
    if n == 1:
        return Judgement("inconclusive", "one seed: no interval")
    spread = _spread(values)
    difference = float(np.mean(values)) - published
    if not spread:
        if abs(difference) <= rounding / 2 + _rounding(values, published):
            return Judgement("reproduced", "every seed gives the published number")
        return Judgement("inconclusive", "no spread between seeds: no interval")
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * spread * sqrt(1 / n + 1 / runs) + rounding / 2
    low, high = difference - half, difference + half
    if -tolerance <= low and high <= tolerance:
        return Judgement("reproduced", "", low, high)
    if low > tolerance or high < -tolerance:
        return Judgement("not reproduced", "", low, high)
    return Judgement("inconclusive", "", low, high)


def judge_order(differences: Sequence[float], tolerance: float = 0.0) -> Judgement:
    """The rule for ``order``; ``differences`` has one number a seed, positive where the claimed side is better."""
    n = len(differences)
    if n == 1:
        return Judgement("inconclusive", "one seed: no interval")
    spread = _spread(differences)
    if not spread:
        return Judgement("inconclusive", "the same difference in every seed: not tested")
    mean = float(np.mean(differences))
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * spread / sqrt(n)
    low, high = mean - half, mean + half
    if low > -tolerance:
        return Judgement("reproduced", "", low, high)
    if high < -tolerance:
        return Judgement("not reproduced", "", low, high)
    return Judgement("inconclusive", "", low, high)


def judge_count(values: Sequence[float], published: float, tolerance: float = 0.0, rounding: float = 0.0) -> Judgement:
    """The rule for ``count``; ``values`` are all measurements, at least one."""
    allowed = tolerance + rounding / 2 + _rounding(values, published)
    same = all(abs(value - published) <= allowed for value in values)
    return Judgement("reproduced" if same else "not reproduced")


def _spread(values: Sequence[float]) -> float:
    """Standard deviation (n - 1); 0 if it is no more than rounding of the numbers."""
    spread = float(np.std(values, ddof=1))
    return spread if spread > _rounding(values, 0.0) else 0.0


def _rounding(values: Sequence[float], other: float) -> float:
    """What float64 arithmetic may do to numbers of this size."""
    return 8 * float(np.finfo(np.float64).eps) * max(map(abs, (*values, other)))
