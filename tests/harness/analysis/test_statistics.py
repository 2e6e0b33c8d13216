import math

import numpy as np
import pytest
from scipy import stats

from harness.analysis.statistics import holm, summarise

NAN = math.nan


def test_summary_by_hand():
    # 1, 2, 3: mean 2, standard deviation 1; t(0.975, 2) = 4.302653, so half the interval is 4.302653 / sqrt(3).
    summary = summarise(np.array([[1.0, 2.0, 3.0]]))
    assert (summary.n[0], summary.mean[0], summary.std[0]) == (3, 2.0, 1.0)
    assert summary.high[0] - summary.mean[0] == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert summary.mean[0] - summary.low[0] == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


def test_summary_agrees_with_scipy_and_skips_missing_seeds():
    values = np.array([[0.9, NAN, 0.7, 0.85, 0.6], [NAN, 3.0, 3.5, NAN, NAN]])
    summary = summarise(values)
    for i, row in enumerate(values):
        present = row[~np.isnan(row)]
        low, high = stats.t.interval(0.95, len(present) - 1, np.mean(present), stats.sem(present))
        assert summary.n[i] == len(present)
        assert summary.std[i] == pytest.approx(np.std(present, ddof=1), rel=1e-12)
        assert (summary.low[i], summary.high[i]) == pytest.approx((low, high), rel=1e-10)


def test_one_seed_has_no_interval_and_none_no_mean():
    summary = summarise(np.array([[NAN, 5.0], [NAN, NAN]]))
    assert summary.n.tolist() == [1, 0]
    assert summary.mean[0] == 5.0 and math.isnan(summary.mean[1])
    assert np.isnan([summary.std, summary.low, summary.high]).all()


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04, made non-decreasing.
    adjusted = holm(np.array([0.04, 0.01, NAN, 0.03, 0.02]))
    np.testing.assert_allclose(adjusted, [0.06, 0.04, NAN, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.6, 0.9])), [1.0, 1.0])
    assert np.isnan(holm(np.array([NAN]))).all()


def test_holm_against_its_definition():
    p = np.random.default_rng(0).uniform(size=20) ** 3
    ordered = sorted(p)
    for ours, raw in zip(holm(p), p, strict=True):
        steps = [(len(p) - i) * q for i, q in enumerate(ordered) if q <= raw]
        assert ours == pytest.approx(min(1.0, max(steps)))
