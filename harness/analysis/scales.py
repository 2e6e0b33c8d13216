"""The scales on which scores are averaged, compared and given intervals, and which metric has which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

Array = NDArray[np.float64]
UNKNOWN_EXAMPLES = 1000.0
"""Taken as n where a proportion does not say of how many examples: moves none by more than 0.0005."""
SMALLEST_LOSS = 1e-6
"""What a lower loss counts as on logs, where zero has no place: rounding of a mean loss in float32."""
LARGEST_CORRELATION = 1 - 1e-6
"""What a higher one counts as, in size, on Fisher's scale, where 1 has no place."""


@dataclass(frozen=True, slots=True)
class ScoreScale:
    """One increasing transformation of scores.

    Attributes:
        name: as tables name it.
        low, high: the possible range of scores.
        transform: (values, numbers of examples) -> values on the scale.
        inverse: (values on the scale, numbers of examples) -> scores, of any real number.
        slope: (values, numbers of examples) -> derivative of ``transform``.
    """

    name: str
    low: float
    high: float
    transform: Callable[[Array, Array], Array]
    inverse: Callable[[Array, Array], Array]
    slope: Callable[[Array, Array], Array]

    def forward(self, values: ArrayLike, n: ArrayLike | None = None) -> Array:
        """Scores on the scale; ``n``, test examples, matters to proportions only and broadcasts; nan stays nan."""
        return self.transform(np.asarray(values, np.float64), _examples(n))

    def derivative(self, values: ArrayLike, n: ArrayLike | None = None) -> Array:
        """Of :meth:`forward` by the score: what turns influences of examples on a score into those on the scale."""
        return self.slope(np.asarray(values, np.float64), _examples(n))

    def back(self, scaled: ArrayLike, n: ArrayLike | None = None) -> Array:
        """Centres and ends of intervals as scores, within the possible range; the inverse of :meth:`forward`."""
        return np.clip(self.inverse(np.asarray(scaled, np.float64), _examples(n)), self.low, self.high)

    def shift(self, reference: ArrayLike, difference: ArrayLike, n: ArrayLike | None = None) -> Array:
        """What a difference on the scale is in scores, from a reference on the scale: never leaves the range."""
        return self.back(np.add(reference, difference), n) - self.back(reference, n)

    def distance(self, reference: ArrayLike, difference: ArrayLike, n: ArrayLike | None = None) -> Array:
        """What a difference in scores is on the scale, from a reference score; cut where the range ends."""
        start: Array = np.asarray(reference, np.float64)
        return self.forward(np.clip(np.add(start, difference), self.low, self.high), n) - self.forward(start, n)


def _examples(n: ArrayLike | None) -> Array:
    given = np.asarray(np.nan if n is None else n, np.float64)
    return np.where(given > 0, given, UNKNOWN_EXAMPLES)


def _empirical(values: Array, n: Array) -> Array:
    """(k + 1/2) / (n + 1) with k = value n."""
    return (values * n + 0.5) / (n + 1)


def _empirical_slope(values: Array, n: Array) -> Array:
    share = _empirical(values, n)
    return n / (n + 1) / (share * (1 - share))


def _share(scaled: Array, n: Array) -> Array:
    """The proportion whose empirical logit it is."""
    found: Array = (expit(scaled) * (n + 1) - 0.5) / n
    return found


def _correlation(values: Array) -> Array:
    return np.clip(values, -LARGEST_CORRELATION, LARGEST_CORRELATION)


def _loss(values: Array) -> Array:
    return np.maximum(values, SMALLEST_LOSS)


def _exp(scaled: Array, n: Array) -> Array:
    with np.errstate(over="ignore"):  # an interval without end
        return np.exp(scaled)


LOGIT = ScoreScale("logit", 0.0, 1.0, lambda x, n: logit(_empirical(x, n)), _share, _empirical_slope)
"""Proportions, by the empirical logit: Anscombe 1956; Cox and Snell 1989, "Analysis of Binary Data", 2."""
FISHER = ScoreScale(
    "fisher",
    -1.0,
    1.0,
    lambda x, n: np.arctanh(_correlation(x)),
    lambda x, n: np.tanh(x),
    lambda x, n: 1 / (1 - _correlation(x) ** 2),
)
"""Correlations; Fisher 1921, "On the probable error of a coefficient of correlation"."""
LOG = ScoreScale("log", 0.0, np.inf, lambda x, n: np.log(_loss(x)), _exp, lambda x, n: 1 / _loss(x))
"""Losses that are bounded by zero."""
LOG_PERPLEXITY = ScoreScale("log", 1.0, np.inf, LOG.transform, _exp, LOG.slope)
"""Perplexities, which begin at one."""
IDENTITY = ScoreScale("identity", -np.inf, np.inf, lambda x, n: x + 0.0, lambda x, n: x, lambda x, n: np.ones_like(x))
"""What is none of these, such as gains in log-likelihood or fractions of a noise ceiling."""

_UNITS = {
    "fraction": LOGIT,
    "correlation": FISHER,
}
_UNSAID = ("per token", "per word")
"""Units of perplexities in records of before they said what is per token."""


def unit_of(metric: str, unit: str) -> str:
    """A record's unit; where it only says per what a perplexity is, as it once was, with that word."""
    known = f"{metric}/".endswith("perplexity/")
    return f"perplexity/{unit.removeprefix('per ')}" if known and unit in _UNSAID else unit


def scale_of(unit: str, direction: str) -> ScoreScale:
    """The scale of a metric, by what its record says.

    ============================================  =================================================================
    unit                                          scale
    ============================================  =================================================================
    ``fraction``                                  logit
    ``correlation``                               fisher
    ``perplexity``, alone or per anything         log, from 1
    ``nats``, ``bits``, alone or per anything     log where less is better; a gain in nats may be negative: identity
    ``squared ...``                               log where less is better
    any other, ``per token`` alone among them     identity
    ============================================  =================================================================

    "Per anything" is with a slash: ``nats/token``, ``perplexity/word``.
    """
    kind = f"{unit}/"
    if kind.startswith("perplexity/"):
        return LOG_PERPLEXITY
    if kind.startswith(("nats/", "bits/", "squared ")) and direction == "min":
        return LOG
    return _UNITS.get(unit, IDENTITY)
