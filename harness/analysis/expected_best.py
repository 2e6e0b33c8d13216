"""What tuning with fewer trials would have found."""

from __future__ import annotations

import math
from collections.abc import Sequence


def expected_best(scores: Sequence[float], trials: int) -> float:
    """Mean of the best of ``trials`` scores, over all ways to draw these without replacement from those that there are.

    Unbiased for the best of so many new trials (Tang et al. 2020, "Showing Your Work Doesn't Always Work", ACL): the
    sum of the sorted scores x_i by C(i - 1, k - 1) / C(n, k). Drawing with replacement (Dodge et al. 2019, "Show Your
    Work", EMNLP) is biased downwards.

    Args:
        scores: (n,), more is better; -inf for a trial that has none.
        trials: k, 1 to n.
    """
    ordered = sorted(scores)
    ways = math.comb(len(ordered), trials)
    # From the k-th on: the best of k is never one of the k - 1 lowest, which may be infinite.
    return sum(score * (math.comb(rank, trials - 1) / ways) for rank, score in enumerate(ordered) if rank >= trials - 1)
