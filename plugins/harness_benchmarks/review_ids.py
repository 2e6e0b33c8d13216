"""The token ids of reviews in their fixed order, made once and kept beside them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from harness.errors import StorageError
from harness.storage.atomic_files import write_atomic
from harness.storage.digests import digest as file_digest
from harness_benchmarks.reviews import LINE_BREAK, Review, digest
from harness_benchmarks.splits import interleaved
from harness_benchmarks.word_pieces import WordPieces

Part = tuple[Sequence[NDArray[np.int32]], NDArray[np.int64]]
"""The ids of each review, and the labels (n,)."""


def review_ids(
    files: Sequence[Path], read: Callable[[int], list[Review]], pieces: WordPieces, line_breaks: bool
) -> Sequence[Part]:
    """The reviews of each file in the order of :func:`ordered`, as ids.

    Tokenising takes a minute, and every process needs it: ids are kept in the folder of the first file, where that can
    be written, under a name that depends on all that they do.

    Args:
        files: on which they depend, besides the rest.
        read: gives the reviews of the file of this number.
        pieces: the tokenizer.
        line_breaks: whether to leave them in.
    """
    inputs = [*map(file_digest, files), pieces.identity, pieces.length, line_breaks]
    path = files[0].parent / f"ids_{hashlib.sha256(repr(inputs).encode()).hexdigest()[:16]}.npz"
    damaged = EOFError, ValueError, KeyError, BadZipFile
    with suppress(OSError, *damaged), path.open("rb") as file, np.load(file) as kept:
        return [_unpacked(kept, part) for part in range(len(files))]
    found = []
    for part in range(len(files)):
        reviews = ordered(read(part))
        texts = [text if line_breaks else text.replace(LINE_BREAK, "") for text, _ in reviews]
        found.append((pieces.encode(texts), np.array([label for _, label in reviews], np.int64)))
    arrays = {name: array for part, one in enumerate(found) for name, array in _packed(one, part, pieces).items()}

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    with suppress(StorageError):  # it only spares time: a folder that others own is as good
        write_atomic(path, save)
    return found


def ordered(reviews: Sequence[Review]) -> list[Review]:
    """Within a class by their digests without line breaks, last those that come repeatedly; the classes alternate.

    A review that another copy has differently moves no other review to another split, nor does the order in a file.
    """
    names = [digest((text.replace(LINE_BREAK, ""), label)) for text, label in reviews]
    counts = Counter(names)
    found = [reviews[i] for i in sorted(range(len(reviews)), key=lambda i: (counts[names[i]] > 1, names[i]))]
    return [found[i] for i in interleaved(np.array([label for _, label in found], np.int64))]


def _packed(part: Part, number: int, pieces: WordPieces) -> dict[str, NDArray[Any]]:
    ids, labels = part
    return {
        f"ids{number}": np.concatenate(ids).astype(np.min_scalar_type(pieces.vocabulary)),
        f"stops{number}": np.cumsum([len(one) for one in ids])[:-1],
        f"labels{number}": labels,
    }


def _unpacked(kept: Any, number: int) -> Part:
    ids = kept[f"ids{number}"].astype(np.int32)
    return np.split(ids, kept[f"stops{number}"]), kept[f"labels{number}"]
