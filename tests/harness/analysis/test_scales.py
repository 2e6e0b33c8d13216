import math

import numpy as np
import pytest

from harness.analysis.scales import FISHER, IDENTITY, LOG, LOG_PERPLEXITY, LOGIT, ScoreScale, scale_of, unit_of

ALL = [LOGIT, FISHER, LOG, LOG_PERPLEXITY, IDENTITY]


def test_scales_by_hand():
    # 357 of 360: logit of 357.5 / 361 = log(357.5 / 3.5)
    assert LOGIT.forward(357 / 360, 360) == pytest.approx(math.log(357.5 / 3.5), rel=1e-12)
    assert LOGIT.forward([0.0, 1.0], 10).tolist() == pytest.approx([-math.log(21), math.log(21)], rel=1e-12)
    assert LOGIT.forward(0.5) == LOGIT.forward(0.5, math.nan) == 0
    assert LOGIT.forward(1.0) == pytest.approx(math.log(1000.5 / 0.5))  # of how many is unknown: of 1,000
    assert FISHER.forward(0.5) == pytest.approx(0.5 * math.log(3))
    assert LOG.forward(math.e) == LOG_PERPLEXITY.forward(math.e) == pytest.approx(1)
    assert IDENTITY.forward(-3.0) == -3


def test_numbers_of_examples_broadcast_and_missing_seeds_stay_missing():
    found = LOGIT.forward([[0.9, math.nan], [0.9, 0.8]], np.array([[10], [1000]]))
    assert found[0, 0] == pytest.approx(math.log(9.5 / 1.5)) and found[1, 0] == pytest.approx(math.log(900.5 / 100.5))
    assert math.isnan(found[0, 1])


@pytest.mark.parametrize("scale", ALL, ids=lambda scale: f"{scale.name}-{scale.low}")
def test_the_derivative_is_that_of_the_scale(scale: ScoreScale):
    for value in (0.2, 0.5, 0.97):
        step = 1e-6
        slope = (scale.forward(value + step, 360) - scale.forward(value - step, 360)) / (2 * step)
        assert scale.derivative(value, 360) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("scale", ALL, ids=lambda scale: f"{scale.name}-{scale.low}")
def test_nothing_leaves_the_possible_range(scale: ScoreScale):
    ends = scale.back([-1e3, -5.0, 0.0, 5.0, 1e3])
    assert (np.diff(ends) >= 0).all() and ends[0] >= scale.low and ends[-1] <= scale.high
    assert np.isfinite(scale.forward([0.0, 1.0], 360)).all()  # the ends themselves have a place
    start = scale.forward(0.95, 360)
    assert scale.low <= scale.back(start, 360) + scale.shift(start, 50.0, 360) <= scale.high


def test_back_is_the_inverse():
    assert LOGIT.back(LOGIT.forward(0.3, 360), 360) == pytest.approx(0.3)
    assert FISHER.back(FISHER.forward(-0.3)) == pytest.approx(-0.3)
    assert LOG.back(LOG.forward(0.3)) == pytest.approx(0.3)
    assert LOG_PERPLEXITY.back(LOG_PERPLEXITY.forward(30.0)) == pytest.approx(30)
    assert LOG_PERPLEXITY.back(-1.0) == 1  # no perplexity is below one


def test_a_difference_there_and_back():
    start = LOGIT.forward(0.9, 360)
    assert LOGIT.shift(start, LOGIT.distance(0.9, 0.05, 360), 360) == pytest.approx(0.05)
    assert LOGIT.distance(0.98, 0.5, 100) == LOGIT.forward(1.0, 100) - LOGIT.forward(0.98, 100)


@pytest.mark.parametrize(
    ("unit", "direction", "scale"),
    [
        ("fraction", "max", LOGIT),
        ("fraction", "none", LOGIT),
        ("correlation", "max", FISHER),
        ("nats", "min", LOG),
        ("nats/token", "min", LOG),
        ("bits/byte", "min", LOG),
        ("nats/word", "max", IDENTITY),  # a gain
        ("perplexity/token", "min", LOG_PERPLEXITY),
        ("per token", "min", IDENTITY),  # of what is not said: seconds, errors
        ("perplexity", "min", LOG_PERPLEXITY),
        ("perplexity/target", "min", LOG_PERPLEXITY),
        ("squared points", "min", LOG),
        ("squared points", "none", IDENTITY),
        ("fraction of ceiling", "max", IDENTITY),
        ("score", "max", IDENTITY),
        ("", "none", IDENTITY),
    ],
)
def test_which_metric_has_which_scale(unit: str, direction: str, scale: ScoreScale):
    assert scale_of(unit, direction) is scale


@pytest.mark.parametrize(
    ("metric", "unit", "found"),
    [
        ("perplexity", "per token", "perplexity/token"),
        ("word_perplexity", "per word", "perplexity/word"),
        ("perplexity", "perplexity/token", "perplexity/token"),
        ("seconds", "per token", "per token"),
        ("perplexity", "nats", "nats"),
    ],
)
def test_records_that_only_say_per_what_a_perplexity_is(metric: str, unit: str, found: str):
    assert unit_of(metric, unit) == found
