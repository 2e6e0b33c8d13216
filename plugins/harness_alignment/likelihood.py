"""What surprisal adds to a regression of reading times."""

from __future__ import annotations

from math import log, pi

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def likelihood_gain(baseline: Floats, added: Floats, times: Floats, stories: NDArray[np.int64]) -> Floats:
    """Log-likelihood of each reading time with the added predictors minus that without them, (n,) in nats.

    Two linear regressions with normal errors are fitted by least squares to all stories but one, and the one that
    was left out is scored, in turn; so predictors of no use lose, and those that the baseline implies change nothing.
    After Goodkind and Bicknell 2018, "Predictive power of word surprisal for reading times is a linear function of
    language model quality".

    Args:
        baseline: (n, k) predictors of both regressions, besides a constant.
        added: (n, p) what only the second one has.
        times: (n,) in milliseconds.
        stories: (n,) which story a word is from; at least two different ones.
    """
    constant = np.ones((len(times), 1))
    without = np.hstack([constant, baseline])
    full = np.hstack([without, added])
    gain = np.empty(len(times))
    for story in np.unique(stories):
        held = stories == story
        gain[held] = _log_likelihood(full, times, held) - _log_likelihood(without, times, held)
    return gain


def _log_likelihood(design: Floats, times: Floats, held: NDArray[np.bool_]) -> Floats:
    weights = np.linalg.lstsq(design[~held], times[~held], rcond=None)[0]
    errors = (times - design @ weights) ** 2
    variance = errors[~held].mean()
    value: Floats = -0.5 * (log(2 * pi * variance) + errors[held] / variance)
    return value
