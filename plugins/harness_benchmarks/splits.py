"""Fixed divisions of data: the same for every seed, method, machine and library version."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SEED = 20240229


def stratified_order(labels: NDArray[Any]) -> NDArray[np.int64]:
    """A fixed permutation of examples, every prefix of which holds the classes in proportion.

    Within a class the order is random. In the first k of n examples a class of m has k m / n of them,
    give or take one.

    Args:
        labels: (n,) class of each example, non-negative integers.
    """
    # RandomState and not Generator: numpy promises to keep only the former's stream (NEP 19).
    shuffled = np.random.RandomState(_SEED).permutation(len(labels))
    return shuffled[interleaved(labels[shuffled])].astype(np.int64)


def interleaved(labels: NDArray[Any]) -> NDArray[np.int64]:
    """As :func:`stratified_order`, with each class in the order in which it is given."""
    by_class = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    place = (np.arange(len(labels)) - starts + 0.5) / np.repeat(counts, counts)
    return by_class[np.argsort(place, kind="stable")]
