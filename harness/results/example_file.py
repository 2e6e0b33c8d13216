"""What the metrics of a cell are made of, as it is kept beside its record: small, and equal for equal results."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from math import floor, log2
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from harness.core.examples import Examples
from harness.errors import CorruptFile

BITS = 12
"""Numbers are rounded to 2^-12 of the mean magnitude, or less: no mean changes by more than 1 in 8,192 of that."""
LIMIT = 1e300
"""Numbers are below it, so that their sum is one."""


def packed(examples: Mapping[str, Examples]) -> bytes:
    """A file of safetensors, in which a metric's values and sizes are steps of one width; not compressed yet.

    Zeros and ones are one bit each and whole numbers are kept as they are. Others are rounded to steps of a power of
    two: relative to the mean and not each to so many digits, because nobody needs the digits of losses near zero, and
    these take most of the room. The bytes of the steps lie in planes, lowest first, which compress well.
    """
    tensors: dict[str, NDArray[np.uint8]] = {}
    described: dict[str, Any] = {}
    for metric, found in examples.items():
        described[metric] = {"transform": found.transform, "unit": found.unit, "n": len(found)}
        for name, numbers in (("values", found.values), ("sizes", found.sizes)):
            if numbers is not None:
                tensors[f"{metric}/{name}"], described[metric][name] = _coded(numbers)
    return save(tensors, {"examples": json.dumps(described)})


def compressed(content: bytes) -> bytes:
    """The file as it is written; equal content gives equal bytes."""
    return gzip.compress(content, compresslevel=9, mtime=0)


def unpacked(content: bytes) -> bytes:
    """The inverse of :func:`compressed`.

    Raises:
        CorruptFile: if it is cut or damaged.
    """
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptFile(f"it cannot be unpacked ({error})") from error


def read(content: bytes) -> dict[str, Examples]:
    """Metric -> what it is made of, from what :func:`packed` gave.

    Raises:
        CorruptFile: if it is not one of these.
    """
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        described = json.loads(header["__metadata__"]["examples"])
        return {metric: _metric(metric, about, tensors) for metric, about in described.items()}
    except (SafetensorError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CorruptFile(f"it holds no examples that can be read ({error})") from error


def _metric(metric: str, about: Mapping[str, Any], tensors: Mapping[str, NDArray[np.uint8]]) -> Examples:
    n = int(about["n"])
    values, sizes = (
        _decoded(tensors[f"{metric}/{name}"], about[name], n) if name in about else None for name in ("values", "sizes")
    )
    if values is None or about["transform"] not in ("mean", "ratio", "exp_mean", "exp_ratio"):
        raise ValueError(
            f"{metric} has transform {about['transform']!r:.40} and {'no' if values is None else ''} values"
        )
    return Examples(values, sizes, about["transform"], str(about["unit"]))


def keepable(found: Examples) -> bool:
    """Whether there are numbers, and all of them are finite."""
    parts = [numbers for numbers in (found.values, found.sizes) if numbers is not None]
    return len(found) > 0 and all(bool((np.abs(numbers) < LIMIT).all()) for numbers in parts)


def _step(numbers: NDArray[np.float64]) -> float:
    """1 for whole numbers, else the power of two at or below the mean magnitude over 2^12."""
    size = np.abs(numbers)
    if (numbers == np.rint(numbers)).all() and size.max() < 2**53:
        return 1.0
    return float(2.0 ** max(-1070, floor(log2(float(size.mean()))) - BITS))


def _coded(numbers: NDArray[np.float64]) -> tuple[NDArray[np.uint8], float | Literal["bits"]]:
    """Bytes, and the width of a step, or that they are bits."""
    if np.isin(numbers, (0, 1)).all():
        return np.packbits(numbers.astype(bool)), "bits"
    step = _step(numbers)
    steps = np.rint(numbers / step).astype(np.int64)
    # Signs go to the lowest bit, so that small negative numbers are small as well.
    folded = ((steps << 1) ^ (steps >> 63)).astype("<u8")
    planes = folded.view(np.uint8).reshape(-1, 8).T
    used = 8 - int(np.argmax(planes[::-1].any(1)))
    return np.ascontiguousarray(planes[:used]), step


def _decoded(stored: NDArray[np.uint8], step: float | str, n: int) -> NDArray[np.float64]:
    if stored.dtype != np.uint8:
        raise ValueError(f"numbers are stored as {stored.dtype}")
    if step == "bits":
        if stored.shape != (-(-n // 8),):
            raise ValueError(f"{stored.shape} bytes of {n} bits")
        return np.unpackbits(stored, count=n).astype(np.float64)
    if stored.ndim != 2 or stored.shape[1] != n or len(stored) > 8 or isinstance(step, str) or not step > 0:
        raise ValueError(f"{stored.shape} bytes of {n} numbers in steps of {step!r:.40}")
    planes = np.zeros((8, n), np.uint8)
    planes[: len(stored)] = stored
    folded = np.ascontiguousarray(planes.T).view("<u8").reshape(n)
    steps = (folded >> 1).astype(np.int64) ^ -(folded & 1).astype(np.int64)
    return steps.astype(np.float64) * float(step)
