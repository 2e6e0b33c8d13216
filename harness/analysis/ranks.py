"""Who is better than whom among rows of which some seeds are broken, and the ranks that this leaves possible.

A seed is broken where its network's output does not depend on the input.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.analysis.statistics import CONFIDENCE, Array, holm

Flags = NDArray[np.bool_]


def wins(difference: Array, p: Array, broken: NDArray[np.int64], n: NDArray[np.int64]) -> Flags:
    """(rows, rows): whether row j is better than row i, with 95 % confidence in all that is said.

    Args:
        difference: (rows, rows) mean paired difference, row j less row i, positive where j is better. Broken seeds are
            in it: dropping them would reward a method for the networks that it cuts.
        p: (rows, rows) of the paired test, symmetric, before correction; nan where nothing can be tested, or nothing
            claimed (:func:`harness.analysis.crossed.sign_depends`).
        broken, n: (rows,) numbers of broken seeds and of all.

    Rules, in this order:

    1. Rows of broken seeds alone have no order among each other: their scores say which constant was predicted.
    2. Every row that has an intact seed beats every row that has none: by what they are, without a test.
    3. Between others p < 0.05 after Holm's correction over all these pairs decides, but the better row must not have
       the larger share of broken seeds: a mean over intact and broken networks is no mean of a normal distribution,
       the t test is then unreliable, and what it says against the count of broken networks is not said.
    """
    lost = broken >= np.maximum(n, 1)
    share = broken / np.maximum(n, 1)
    tested = ~lost[:, None] & ~lost[None, :]
    upper = np.triu_indices(len(p), 1)
    adjusted = np.full(p.shape, np.nan)
    adjusted[upper] = adjusted.T[upper] = holm(np.where(tested, p, np.nan)[upper])
    shown = (difference > 0) & (adjusted < 1 - CONFIDENCE) & (share[None, :] <= share[:, None])
    found: Flags = np.where(tested, shown, lost[:, None] & ~lost[None, :])
    return found


def rank_ranges(better: Flags) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows, rows) of :func:`wins` -> best and worst possible rank of each row, from 1.

    Source: Mogstad et al. 2024, "Inference for ranks with applications to mobility across neighbourhoods".
    """
    return 1 + better.sum(axis=1), len(better) - better.sum(axis=0)
