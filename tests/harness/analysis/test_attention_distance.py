"""Attention against distance: counted by hand, on a line and in a grid."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.attention_distance import by_distance
from harness.results.mask_pictures import MaskPicture


def test_on_a_line_distances_are_diagonals() -> None:
    attention = np.array([[4, 2, 1], [3, 5, 2], [1, 2, 6]], dtype=np.float32)
    assert by_distance(attention, (3,)) == [(0, 5.0), (1, (2 + 3 + 2 + 2) / 4), (2, 1.0)]


def test_in_a_grid_they_are_steps_along_its_axes() -> None:
    rows, columns = 2, 3
    places = [(row, column) for row in range(rows) for column in range(columns)]
    attention = np.random.RandomState(0).rand(6, 6).astype(np.float32)
    naive: dict[int, list[float]] = {}
    for i, (a, b) in enumerate(places):
        for j, (c, d) in enumerate(places):
            naive.setdefault(abs(a - c) + abs(b - d), []).append(float(attention[i, j]))
    found = by_distance(attention, (rows, columns))
    assert [at for at, _ in found] == sorted(naive) == [0, 1, 2, 3]
    assert [mean for _, mean in found] == pytest.approx([sum(naive[at]) / len(naive[at]) for at in sorted(naive)])


def test_a_hard_mask_shares_attention_among_the_keys_it_leaves() -> None:
    bits = np.array([[1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=bool)
    mask = MaskPicture((4, 4), 7, "attention", None, bits.ravel(), np.zeros((1, 1), np.uint8), grid=(4,))
    assert mask.attention is not None
    assert mask.attention.tolist() == [[2, 0, 0, 2], [1, 1, 1, 1], [1, 1, 1, 1], [0, 4, 0, 0]]  # the third sees all
    weights = MaskPicture((4, 4), 7, "weight", None, bits.ravel(), np.zeros((1, 1), np.uint8))
    assert weights.attention is None
