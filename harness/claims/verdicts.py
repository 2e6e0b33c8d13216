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

What more of our seeds can do is limited. Both sides are scored on the same test examples, so that the draw of these
cancels in d; at n = infinity our mean is known, and what remains is the paper's own noise and the last digit:

    R = 1.96 s / sqrt(runs) + rounding / 2

If R > T, no interval ever lies within the tolerance: the claim cannot be reproduced on this test set, whatever d is. It
can still be refuted if |d| > T + R is possible, which it is if the end of the 95 % interval of m, |d| + t s / sqrt(n),
is farther than that. If it is not, no number of seeds decides. s is the measured one, and uncertain itself: with five
seeds the true one lies within 0.6 to 2.9 times it.

``bound``: the published number is the least or the most that is claimed (``at_least``, ``at_most``). Only the side
beyond it counts: with d signed so that the claimed side is positive, low > -T is reproduced, high < -T is not.

``order``: A better than B (``better``), or not worse by more than T (``not_worse``; T = 0 for ``better``), by the
difference A - B paired by seed, its sign so that more is better, and its 95 % t interval:

    low > -T       reproduced
    high < -T      not reproduced
    else           inconclusive

Like a value it is about this test set, on which enough seeds decide it.

An order over several others (better than both controls) is one claim for each, and holds if all do: no correction
is needed for that (intersection-union test, Berger 1982).

``count``: a number that no seed changes: reproduced if every measurement is within T + rounding / 2, T mostly 0.

An order that a paper states of methods as such, and not of one network (``general``), is judged by the same interval on
whatever network and protocol it was tried. What was tried otherwise than published reproduces nothing, so that its
verdicts have names of their own: ``holds here``, ``does not hold here``, ``undecided here``.

Before all of that: without a measurement the verdict is ``not run``; if all that was run is of another size than the
claim's (network, data, steps), it is ``not run at that size``, and no number stands beside the claim; if the
measurement names differences to the paper's protocol it is ``differs in protocol``, whatever the numbers are (neither
of general orders); and while a planned seed has failed, diverged or not finished it is ``inconclusive``, because those
that are left may be a selection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal, get_args

import numpy as np
from scipy.special import ndtri, stdtrit

from harness.analysis.statistics import CONFIDENCE

Verdict = Literal[
    "reproduced",
    "not reproduced",
    "inconclusive",
    "holds here",
    "does not hold here",
    "undecided here",
    "differs in protocol",
    "not run at that size",
    "not run",
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
HERE: Mapping[Verdict, Verdict] = {
    "reproduced": "holds here",
    "not reproduced": "does not hold here",
    "inconclusive": "undecided here",
}
"""What a verdict is called where a general order was tried otherwise than published."""
Bound = Literal["at_least", "at_most"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and what it rests on.

    Attributes:
        reason: why, where the numbers alone do not say it.
        low, high: 95 % interval of the difference to the published number, or between the cells of an order;
            None where there is none.
        undecidable: no number of our seeds would give another verdict.
    """

    verdict: Verdict
    reason: str = ""
    low: float | None = None
    high: float | None = None
    undecidable: bool = False


def judge_value(
    values: Sequence[float],
    published: float,
    tolerance: float,
    rounding: float = 0.0,
    runs: int = 1,
    bound: Bound | None = None,
) -> Judgement:
    """The rule for ``value``; ``values`` has one number a seed, at least one."""
    n = len(values)
    if n == 1:
        return Judgement("inconclusive", "one seed: no interval")
    spread = _spread(values)
    difference = float(np.mean(values)) - published
    if not spread:
        if _agrees(difference, rounding / 2 + _rounding(values, published), bound):
            return Judgement("reproduced", "in every seed" if bound else "every seed gives the published number")
        return Judgement("inconclusive", "no spread between seeds: no interval")
    t = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * spread
    half = t * sqrt(1 / n + 1 / runs) + rounding / 2
    low, high = difference - half, difference + half
    if bound is not None:
        below = -high if bound == "at_most" else low
        above = -low if bound == "at_most" else high
        return Judgement(_side(below, above, tolerance), "", low, high)
    if -tolerance <= low and high <= tolerance:
        return Judgement("reproduced", "", low, high)
    if low > tolerance or high < -tolerance:
        return Judgement("not reproduced", "", low, high)
    remains = remaining(spread, rounding, runs)
    if remains <= tolerance:
        return Judgement("inconclusive", "", low, high)
    undecidable = abs(difference) + t / sqrt(n) <= tolerance + remains
    reason = (
        f"no number of seeds would {'decide' if undecidable else 'reproduce'} it: the published run's own noise leaves "
        f"± {remains:.3g}, and {tolerance:.3g} is allowed"
    )
    return Judgement("inconclusive", reason, low, high, undecidable)


def remaining(spread: float, rounding: float = 0.0, runs: int = 1) -> float:
    """Half of the interval of a ``value`` after infinitely many of our seeds: 1.96 s / sqrt(runs) + rounding / 2."""
    return float(ndtri((1 + CONFIDENCE) / 2)) * spread / sqrt(runs) + rounding / 2


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
    return Judgement(_side(low, high, tolerance), "", low, high)


def here(judgement: Judgement) -> Judgement:
    """The same of an order that was tried on another network, or by another protocol, than the paper's."""
    return replace(judgement, verdict=HERE[judgement.verdict])


def judge_count(
    values: Sequence[float],
    published: float,
    tolerance: float = 0.0,
    rounding: float = 0.0,
    bound: Bound | None = None,
) -> Judgement:
    """The rule for ``count``; ``values`` are all measurements, at least one."""
    allowed = tolerance + rounding / 2 + _rounding(values, published)
    same = all(_agrees(value - published, allowed, bound) for value in values)
    return Judgement("reproduced" if same else "not reproduced")


def _side(low: float, high: float, tolerance: float) -> Verdict:
    """Whether an interval lies on the claimed side of -T, on the other, or on both."""
    if low > -tolerance:
        return "reproduced"
    return "not reproduced" if high < -tolerance else "inconclusive"


def _agrees(difference: float, allowed: float, bound: Bound | None) -> bool:
    """Whether a number is the published one, or on the claimed side of it."""
    if bound is None:
        return abs(difference) <= allowed
    return (difference if bound == "at_least" else -difference) >= -allowed


def _spread(values: Sequence[float]) -> float:
    """Standard deviation (n - 1); 0 if it is no more than rounding of the numbers."""
    spread = float(np.std(values, ddof=1))
    return spread if spread > _rounding(values, 0.0) else 0.0


def _rounding(values: Sequence[float], other: float) -> float:
    """What float64 arithmetic may do to numbers of this size."""
    return 8 * float(np.finfo(np.float64).eps) * max(map(abs, (*values, other)))
