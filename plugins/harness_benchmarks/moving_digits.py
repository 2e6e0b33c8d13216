"""Sequences of two digits that move across a picture and bounce off its edges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from harness_benchmarks.images import Bytes

FRAMES, SIDE, DIGIT = 11, 64, 28
_FURTHEST = SIDE - DIGIT


def sequences(digits: Bytes, count: int, random: RandomState) -> Bytes:
    """(count, 11, 64, 64) bytes, of ``digits`` (n, 28, 28).

    As the released code of "Neural DNA" (Sudarshan 2026) makes them, to the byte: each of the two digits of a sequence
    takes an index, a place (x, y) in [0, 36), and steps (dx, dy) from -3 to 3 that are not both 0, drawn in this order;
    where digits overlap, the brightness is cut off at 255.
    """
    found = np.zeros((count, FRAMES, SIDE, SIDE), np.uint8)
    for sequence in found:
        for _ in range(2):
            digit = digits[random.randint(len(digits))].astype(np.uint16)
            for frame, (x, y) in zip(sequence, _path(random), strict=False):
                part = frame[y : y + DIGIT, x : x + DIGIT]
                part[:] = np.minimum(part + digit, 255)
    return found


def _path(random: RandomState) -> Iterator[tuple[int, int]]:
    """Where a digit is in one frame after the other."""
    place, step = [int(random.randint(0, _FURTHEST)) for _ in range(2)], [0, 0]
    while step == [0, 0]:
        step = [int(random.randint(-3, 4)) for _ in range(2)]
    while True:
        yield place[0], place[1]
        for axis in range(2):
            place[axis] += step[axis]
            if not 0 <= place[axis] <= _FURTHEST:
                place[axis] = -place[axis] if place[axis] < 0 else 2 * _FURTHEST - place[axis]
                step[axis] = -step[axis]


def smaller(frames: Bytes, side: int) -> Bytes:
    """Means of blocks, rounded: (..., 64, 64) to (..., side, side)."""
    block = SIDE // side
    sums: NDArray[np.uint16] = frames.reshape(*frames.shape[:-2], side, block, side, block).sum((-3, -1), np.uint16)
    return ((sums + block * block // 2) // (block * block)).astype(np.uint8)
