import math
from itertools import pairwise

import numpy as np
import pytest

from harness.analysis.density_equivalent import Factor, density_equivalent, density_factor

DENSITIES = np.array([0.01, 0.02, 0.04, 0.08, 0.16])
SCORES = np.array([0.0, 1.0, 2.0, 3.0, 4.0])


def naive_factor(density, score, densities, scores):
    """Pool adjacent violators by loops, then the first crossing, by search in tiny steps of log density."""
    blocks = [[s] for s in scores]
    while any(np.mean(a) > np.mean(b) for a, b in pairwise(blocks)):
        i = next(i for i in range(len(blocks)) if np.mean(blocks[i]) > np.mean(blocks[i + 1]))
        blocks[i : i + 2] = [blocks[i] + blocks[i + 1]]
    curve = [np.mean(block) for block in blocks for _ in block]
    grid = np.linspace(math.log(densities[0]), math.log(densities[-1]), 200_001)
    reached = np.interp(grid, np.log(densities), curve) >= score - 1e-12
    return float(np.exp(grid[np.argmax(reached)]) / density)


def test_by_hand():
    # halfway between 0.02 and 0.04 on logs is 0.02 sqrt(2)
    assert density_factor(0.02, 1.5, DENSITIES, SCORES, "max") == pytest.approx((math.sqrt(2), ""))
    assert density_factor(0.02, 3.0, DENSITIES, SCORES, "max") == pytest.approx((4.0, ""))
    assert density_factor(0.02, -1.5, DENSITIES, -SCORES, "min") == pytest.approx((math.sqrt(2), ""))


def test_outside_the_curve_there_is_only_a_bound():
    assert density_factor(0.02, 4.1, DENSITIES, SCORES, "max") == Factor(8.0, ">")
    assert density_factor(0.02, -0.1, DENSITIES, SCORES, "max") == Factor(0.5, "<")
    assert density_factor(0.02, 4.0, DENSITIES, SCORES, "max") == pytest.approx((8.0, ""))
    assert density_factor(0.02, 0.0, DENSITIES, SCORES, "max") == pytest.approx((0.5, ""))
    assert str(density_factor(0.02, 4.1, DENSITIES, SCORES, "max")) == "> 8"


def test_flat_stretches():
    flat = np.array([0.0, 0.0, 2.0, 2.0, 4.0])
    assert density_factor(0.01, 2.0, DENSITIES, flat, "max") == pytest.approx((4.0, ""))  # the lowest that reaches it
    assert density_factor(0.01, 0.0, DENSITIES, flat, "max") == Factor(1.0, "<")  # chance: lower ones may reach it too


def test_a_fall_is_pooled():
    fallen = np.array([0.0, 2.0, 1.0, 3.0, 4.0])  # 1.5 twice
    assert density_factor(0.01, 1.5, DENSITIES, fallen, "max") == pytest.approx((2.0, ""))
    assert density_factor(0.01, 2.25, DENSITIES, fallen, "max") == pytest.approx((4 * math.sqrt(2), ""))


def test_against_loops():
    draws = np.random.default_rng(0)
    for _ in range(20):
        densities = np.sort(draws.uniform(0.005, 0.5, 7))
        scores = np.log(densities) + draws.normal(0, 0.5, 7)
        order = draws.permutation(7)
        wanted = float(np.median(scores))
        ours = density_factor(0.1, wanted, densities[order], scores[order], "max")
        if not ours.bound:
            assert ours.value == pytest.approx(naive_factor(0.1, wanted, densities, scores), rel=1e-3)


def test_fewer_than_five_densities_are_no_curve():
    missing = np.where(DENSITIES == 0.04, math.nan, SCORES)
    assert density_factor(0.02, 1.5, DENSITIES, missing, "max") is None
    assert density_factor(0.02, 1.5, np.array([0.01, 0.02, 0.02, 0.04, 0.08]), SCORES, "max") is None
    assert density_factor(0.02, math.nan, DENSITIES, SCORES, "max") is None


def test_densities_are_fractions():
    with pytest.raises(ValueError, match="fractions"):
        density_factor(5.0, 1.5, DENSITIES, SCORES, "max")


def test_over_seeds():
    found = density_equivalent([Factor(2.0), Factor(8.0)])
    assert found.mean == pytest.approx(4.0)
    half = 12.706205 * math.log(2)  # t(0.975, 1) std / sqrt(2) = t log(4) / sqrt(2) / sqrt(2)
    assert (math.log(found.low), math.log(found.high)) == pytest.approx((math.log(4) - half, math.log(4) + half))
    assert density_equivalent([Factor(2.0)])[1:] == (2.0, None, None)


def test_one_bound_forbids_a_mean():
    found = density_equivalent([Factor(2.0), Factor(8.0, ">")])
    assert found.factors == (Factor(2.0), Factor(8.0, ">"))
    assert (found.mean, found.low, found.high) == (None, None, None)


def test_without_a_curve_nothing():
    assert density_equivalent([Factor(2.0), None]) is None
    assert density_equivalent([]) is None
