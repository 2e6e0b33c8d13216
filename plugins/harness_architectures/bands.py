"""The bands of a fully connected network."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from harness import Band, DataSpec


def bands(data: DataSpec, hidden: Sequence[int]) -> list[Band]:
    """Bands input, hidden1, hidden2, ..., output at depths 0, 1, 2, ...; the input is flattened."""
    names = ["input", *(f"hidden{i}" for i in range(1, len(hidden) + 1)), "output"]
    sizes = [prod(data.inputs), *hidden, data.outputs]
    return [Band(name, size, depth) for depth, (name, size) in enumerate(zip(names, sizes, strict=True))]
