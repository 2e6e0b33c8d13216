"""What random seeds and random test examples together leave unknown of a score, or of a difference of two.

Model: a score on its scale is that of all seeds and examples, plus an effect of the seed, plus the mean over the test
examples of an effect of the example and of what this example is to this seed. Seeds and examples are drawn at random.
Sources: Searle, Casella and McCulloch 1992, "Variance Components", 4; Brennan 2001, "Generalizability Theory", 6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from harness.analysis.statistics import CONFIDENCE, Array, summarise

ROUNDING = 1e-12
"""Smaller mean differences count as none."""
SHARE_POWER = 1.25
"""Between 1, conservative, and Satterthwaite's 2, which trusts shares that few seeds have estimated."""


class ExamplesPart(NamedTuple):
    """What the test sample leaves unknown of a mean over seeds.

    Attributes:
        variance: that it adds to the seeds' own.
        freedom: degrees of freedom of that.
        interaction: least variance of the seeds' part: what chance on single examples makes of equal networks.
    """

    variance: float
    freedom: float
    interaction: float


NO_EXAMPLES = ExamplesPart(math.nan, math.nan, math.nan)


class Estimate(NamedTuple):
    """Each row's mean over seeds on its scale; nan where nothing can be said.

    Attributes:
        n: seeds.
        centre: mean over them.
        standard_error: root of ``seeds + examples``.
        freedom: of the t distribution.
        low, high: 95 % interval, over other seeds and other test examples.
        p: two-sided, of a centre of zero: for differences.
        seeds: the part of the variance that seeds explain (nan with one seed); all there is on a fixed test set.
        examples: the part that test examples explain; nan where their results are not known.
    """

    n: NDArray[np.int64]
    centre: Array
    standard_error: Array
    freedom: Array
    low: Array
    high: Array
    p: Array
    seeds: Array
    examples: Array

    @property
    def over(self) -> list[str]:
        """What each interval is over: ``seeds and examples``, ``seeds``, ``examples`` (one seed) or nothing."""
        known = zip(np.isfinite(self.seeds).tolist(), np.isfinite(self.examples).tolist(), strict=True)
        return [" and ".join(compress(("seeds", "examples"), there)) for there in known]


def influence(sums: Array, sizes: Array | float = 1.0) -> Array:
    """(seeds, examples) -> what each example adds to its seed's score, less the mean, times their number.

    The score is ``sum(sums) / sum(sizes)`` over examples: with sizes of one a mean, with tokens of documents a loss
    per token. First-order for ratios (Cochran 1977, "Sampling Techniques", 6.4). Multiply by the derivative of a
    function of the score to get those on it: the score itself for a perplexity, ``ScoreScale.derivative`` for a scale.
    """
    total: Array = np.broadcast_to(sizes, sums.shape)
    score = sums.sum(axis=-1, keepdims=True) / total.sum(axis=-1, keepdims=True)
    found: Array = (sums - score * total) / total.mean(axis=-1, keepdims=True)
    return found


def examples_part(influences: Array) -> ExamplesPart:
    """The test sample's part in the variance of the mean over seeds, from (seeds, examples) influences on the scale.

    ``(MS_examples - MS_interaction) / (seeds x examples)``, at least zero: the interaction divided by seeds is
    already in the spread between seeds, which their noise on this test sample is part of. With one seed the two cannot
    be told apart, and need not: the variance over examples divided by their number. For a difference of two rows, give
    the difference of their influences: paired by seed and by example.

    Raises:
        ValueError: for fewer than two examples or none of the seeds.
    """
    seeds, examples = influences.shape
    if seeds < 1 or examples < 2:
        raise ValueError(f"influences of shape {influences.shape}: give (seeds, examples), at least (1, 2)")
    centred = influences - influences.mean(axis=-1, keepdims=True)
    means = centred.mean(axis=0)
    between = seeds * float(means @ means) / (examples - 1)
    if seeds == 1:
        return ExamplesPart(between / examples, examples - 1.0, 0.0)
    within = max(float(np.einsum("se,se->", centred, centred)) - between * (examples - 1), 0.0)
    interaction = within / ((seeds - 1) * (examples - 1))
    net = max(between - interaction, 0.0)
    spread = between**2 / (examples - 1) + interaction**2 / ((seeds - 1) * (examples - 1))
    freedom = net**2 / spread if net > 0 else examples - 1.0
    return ExamplesPart(net / (seeds * examples), max(freedom, 1.0), interaction / (seeds * examples))


def estimate(
    scores: Array, parts: Sequence[ExamplesPart | None] | None = None, rounding: Array | float = 0.0
) -> Estimate:
    """The mean over seeds of each row, with an interval over seeds and test examples.

    Args:
        scores: (rows, seeds) on the scale, or differences of such; nan where a seed is missing.
        parts: of each row, from :func:`examples_part` over the same seeds; None where examples are not known.
        rounding: of all rows or of each; standard deviations up to this are none.

    The variance is ``std^2 / n`` plus the examples' part. Seeds of equal scores are no proof that seeds do not matter:
    their part is then the interaction's. Degrees of freedom f combine those of the parts, f_i, by the parts' shares w
    in the variance: ``1/f = sum w^1.25 / f_i``. Satterthwaite 1946 has ``sum w^2 / f_i`` with the true shares; with
    shares that three seeds have estimated such intervals cover 92 %, and with this 94 to 96 % (docs/statistics.md).

    Without any variance p is 1 for a centre of zero and nan for another: a p of 0 would claim too much.
    """
    summary = summarise(scores)
    n, several = summary.n, summary.n > 1
    listed = [NO_EXAMPLES] * len(n) if parts is None else [part or NO_EXAMPLES for part in parts]
    examples, examples_freedom, interaction = np.array(listed, np.float64).reshape(-1, 3).T
    examples = np.where(n > 0, examples, np.nan)
    agree = several & (summary.std <= rounding)
    seeds = np.where(agree, np.nan_to_num(interaction), summary.std**2 / np.maximum(n, 1))
    seeds_freedom = np.where(agree & (interaction > 0), examples_freedom, n - 1.0)
    variances, freedoms = np.stack([seeds, examples]), np.stack([seeds_freedom, examples_freedom])
    known = np.isfinite(variances)
    total = np.where(known.any(axis=0), np.where(known, variances, 0.0).sum(axis=0), np.nan)
    freedom = combined_freedom(np.where(known, variances, 0.0), freedoms)
    freedom = np.where(np.isnan(freedom) & several, n - 1.0, freedom)
    error = np.sqrt(total)
    half = stdtrit(freedom, (1 + CONFIDENCE) / 2) * error
    p = 2 * stdtr(freedom, -np.abs(summary.mean) / np.where(error > 0, error, np.nan))
    p = np.where((error == 0) & (np.abs(summary.mean) <= rounding), 1.0, p)
    low, high = summary.mean - half, summary.mean + half
    return Estimate(n, summary.mean, error, freedom, low, high, p, seeds, examples)


def combined_freedom(variances: Array, freedoms: Array) -> Array:
    """(parts, ...) variances and their degrees of freedom -> those of their sum, (...); nan where it is zero."""
    total = variances.sum(axis=0)
    shares = np.divide(variances, total, out=np.zeros_like(variances), where=total > 0)
    lost = np.divide(shares**SHARE_POWER, freedoms, out=np.zeros_like(shares), where=shares > 0).sum(axis=0)
    found: Array = np.divide(1.0, lost, out=np.full(total.shape, np.nan), where=lost > 0)
    return found


def difference(scores: Array, reference: Array, parts: Sequence[ExamplesPart | None] | None = None) -> Estimate:
    """``scores - reference``, both (rows, seeds) on the scale, paired by seed; see :func:`estimate`."""
    sizes = np.abs(np.stack([scores, reference]))
    largest = np.max(sizes, axis=(0, 2), where=np.isfinite(sizes), initial=0.0)
    return estimate(scores - reference, parts, 8 * np.finfo(np.float64).eps * largest)


def sign_depends(raw: Array, scaled: Array) -> NDArray[np.bool_]:
    """Whether the mean paired difference has another sign in scores than on the scale: nothing is then claimed.

    Args:
        raw, scaled: (rows, seeds) paired differences; nan where a seed is missing.
    """
    one, other = summarise(raw).mean, summarise(scaled).mean
    depends: NDArray[np.bool_] = _sign(one) != _sign(other)
    return depends & np.isfinite(one) & np.isfinite(other)


def _sign(values: Array) -> Array:
    return np.where(np.abs(values) < ROUNDING, 0.0, np.sign(values))
