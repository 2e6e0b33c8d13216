import math

import numpy as np
from scipy import stats

from harness.analysis.crossed import difference
from harness.analysis.ranks import rank_ranges, wins


def compared(values, broken):
    rows = len(values)
    j, i = np.indices((rows, rows)).reshape(2, -1)
    pairs = difference(values[i], values[j])  # [j, i] holds i less j
    centre, p = pairs.centre.reshape(rows, rows), pairs.p.reshape(rows, rows)
    return wins(centre, p, np.array(broken), np.full(rows, values.shape[1]))


def test_without_broken_seeds_it_is_the_paired_test():
    draws = np.random.default_rng(0)
    values = np.array([0.5, 0.9, 0.91, 0.7])[:, None] + 0.01 * draws.normal(size=(4, 5))
    found = compared(values, [0, 0, 0, 0])
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    raw = sorted((stats.ttest_rel(values[i], values[j]).pvalue, i, j) for i, j in pairs)
    largest, told = 0.0, set()
    for k, (p, i, j) in enumerate(raw):
        largest = max(largest, (len(raw) - k) * p)
        if largest < 0.05:
            told.add((i, j) if values[i].mean() < values[j].mean() else (j, i))
    assert {(int(i), int(j)) for i, j in np.argwhere(found)} == told
    assert 0 < len(told) < len(pairs)


def test_broken_rows_lose_to_intact_ones_and_have_no_order():
    # Two constants, one of the more frequent class: their difference is exact, and means nothing.
    values = np.array([[0.90, 0.91, 0.92], [0.1135, 0.1136, 0.1134], [0.098, 0.0981, 0.0979]])
    found = compared(values, [0, 3, 3])
    assert found.tolist() == [[False, False, False], [True, False, False], [True, False, False]]
    assert [ranks.tolist() for ranks in rank_ranges(found)] == [[1, 2, 2], [1, 3, 3]]


def test_a_broken_row_loses_even_if_its_constant_scores_better():
    values = np.array([[0.10, 0.11, 0.09], [0.15, 0.15, 0.15]])
    assert compared(values, [0, 3]).tolist() == [[False, False], [True, False]]


def test_broken_pairs_are_not_in_the_family():
    # p = 0.03 between the intact rows is significant alone, and among three it would not be.
    p = np.full((3, 3), 0.03)
    difference = np.array([[0.0, 1, 1], [-1, 0, 1], [-1, -1, 0]])
    n = np.array([5, 5, 5])
    assert wins(difference, p, np.array([0, 0, 5]), n)[0, 1]
    assert not wins(difference, p, np.array([0, 0, 0]), n)[0, 1]


def test_a_row_with_more_broken_seeds_does_not_win():
    p = np.array([[math.nan, 0.001], [0.001, math.nan]])
    ahead = np.array([[0.0, 1.0], [-1.0, 0.0]])  # row 1 is ahead of row 0
    n = np.array([5, 5])
    assert wins(ahead, p, np.array([0, 0]), n)[0, 1]
    assert wins(ahead, p, np.array([2, 2]), n)[0, 1]
    assert wins(ahead, p, np.array([2, 0]), n)[0, 1]
    assert not wins(ahead, p, np.array([0, 2]), n)[0, 1]


def test_what_is_not_tested_is_not_claimed():
    p = np.full((2, 2), math.nan)
    found = wins(np.array([[0.0, 1], [-1, 0]]), p, np.array([0, 0]), np.array([3, 3]))
    assert not found.any()
    assert [ranks.tolist() for ranks in rank_ranges(found)] == [[1, 1], [2, 2]]
