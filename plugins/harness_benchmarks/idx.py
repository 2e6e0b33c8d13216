"""Reader for the idx files of MNIST and its relatives."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np

from harness import UserError
from harness_benchmarks.images import Bytes


def read_idx(path: Path, shape: tuple[int, ...]) -> Bytes:
    """The bytes of an idx file, which must have exactly ``shape``.

    Format (LeCun, http://yann.lecun.com/exdb/mnist/): two zero bytes, the type (8 = unsigned byte), the
    number of axes, each axis's length as a big-endian 32-bit integer, then the values, last axis fastest.

    Raises:
        UserError: if the file is truncated, or is something else.
    """
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, dtype=">u4").tobytes()
    with path.open("rb") as file:
        found = file.read(len(header))
        values = np.fromfile(file, dtype=np.uint8)
    if found != header or len(values) != prod(shape):
        raise UserError(
            f"{path} is damaged or another file: expected an idx file of unsigned bytes of shape {shape}, found "
            f"{len(found) + len(values)} bytes that begin with {found.hex()}. Delete it and get it again."
        )
    return values.reshape(shape)
