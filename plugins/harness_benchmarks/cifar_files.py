"""Reader for the batches of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import CorruptFile
from harness_benchmarks.images import Bytes

_LARGEST = 2**28
"""Bytes; the largest file of either set has 155 million."""


def read_batches(paths: Sequence[Path], labels: str) -> tuple[Bytes, NDArray[np.int64]]:
    """Images (n, 3, 32, 32) and labels (n,) of some batches, one after the other.

    A batch is a pickled mapping that has ``data``, uint8 (n, 3072) with red, green and blue planes, and a list of
    ``labels`` (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html). Nothing but arrays is unpickled.

    Raises:
        CorruptFile: if a file holds anything else.
    """
    images, found = [], []
    for path in paths:
        batch = _unpickled(path)
        data, numbers = batch.get(b"data"), batch.get(labels.encode())
        if (
            not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == 3072)
            or not isinstance(numbers, list)
            or len(numbers) != len(data)
        ):
            raise CorruptFile(
                f"{path} is no batch of CIFAR: it must have data, bytes (n, 3072), and {labels}, n numbers"
            )
        images.append(data.reshape(-1, 3, 32, 32))
        found += numbers
    try:
        return np.concatenate(images), np.array(found, np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise CorruptFile(f"the {labels} in {paths[0].parent} are no numbers: {error}") from error


def example_digests(images: Bytes, labels: NDArray[np.int64]) -> NDArray[np.bytes_]:
    """32 hexadecimal digits (n,) that name each image with its label, whatever its place in the files."""
    rows = np.concatenate([labels.astype(np.uint8)[:, None], images.reshape(len(images), -1)], 1)
    return np.array([hashlib.blake2b(row, digest_size=16).hexdigest() for row in rows], "S32")


class _Arrays(pickle.Unpickler):
    """Makes mappings, lists, numbers and arrays, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """What an array of numbers needs."""
        if (module, name) in (("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")):
            return np.ndarray.__reduce__(np.zeros(0))[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for Python 2
            return _latin1
        raise pickle.UnpicklingError(f"it wants {module}.{name}, which is not for arrays")


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it wants {encoding}, which is not for arrays")
    return text.encode("latin1")


def _unpickled(path: Path) -> Mapping[Any, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise pickle.UnpicklingError("it is too large")
        with path.open("rb") as file:
            found = _Arrays(file, encoding="bytes").load()
    except FileNotFoundError:
        raise
    except Exception as error:  # what a damaged pickle raises has no end
        raise CorruptFile(f"{path} is damaged or no batch of CIFAR: {error}") from error
    if not isinstance(found, Mapping):
        raise CorruptFile(f"{path} is no batch of CIFAR: it holds a {type(found).__name__}")
    return found
