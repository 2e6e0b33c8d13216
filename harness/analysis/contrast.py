"""One row against another: what is asked, and the answer."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

from harness.analysis.power import SeedsFor


@dataclass(slots=True, kw_only=True, eq=False)
class Contrast:
    """``method`` minus ``control``, paired by seed and, where both kept them, by test example.

    Numbers are in the metric's unit, None where they cannot be had; intervals are of 95 %.

    Attributes:
        row, other: numbers of the two rows; ``method`` and ``control`` are their labels.
        name: what the suite calls the question; "" where it does not.
        asked: whether the suite asks; else it is a default.
        n: seeds that both have.
        difference, low, high: of the centres; the interval is the test's, taken back to the control's centre.
        fixed_low, fixed_high: the interval for this very test set, over seeds alone.
        p: two-sided; ``p_adjusted`` is Holm's over ``family`` questions of the table.
        over: what the interval and the test are over: ``seeds``, or ``seeds and examples``.
        disputed: on the metric itself the sign is another one than on the scale of the test: nothing is claimed.
        broken: every seed of one of them tells nothing of its input: that decides, and no test.
        std, examples, examples_freedom: on the scale, what the test is made of; see :mod:`harness.analysis.power`.
        detectable: the smallest true difference that a test at the family's strictest level finds in 80 % of cases.
        needed: seeds that would find the suite's ``smallest`` difference so.
    """

    row: int
    other: int
    method: str
    control: str
    name: str = ""
    asked: bool = False
    n: int
    difference: float
    low: float | None = None
    high: float | None = None
    fixed_low: float | None = None
    fixed_high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    family: int = 1
    over: str = "seeds"
    disputed: bool = False
    broken: bool = False
    std: float = nan
    examples: float = nan
    examples_freedom: float = nan
    detectable: float | None = None
    smallest: float | None = None
    needed: SeedsFor | None = None
