"""Reviews with their labels: how they lie on disk, what tells them apart, and where they come from."""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Iterable
from pathlib import Path

from harness import CorruptFile
from harness.extras import require
from harness.storage.atomic_files import write_atomic

Review = tuple[str, int]
LINE_BREAK = "<br />"


def read_reviews(path: Path) -> list[Review]:
    """Texts with their labels, from a gzipped table with the columns ``text`` and ``label`` (0 or 1).

    Raises:
        CorruptFile: if it is none.
    """
    try:
        with gzip.open(path, "rt", newline="", encoding="utf8") as file:
            return [(row["text"], ("0", "1").index(row["label"])) for row in csv.DictReader(file, strict=True)]
    except (OSError, EOFError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise CorruptFile(f"{path} is no gzipped table of text and label (0 or 1): {error}") from error


def write_reviews(path: Path, reviews: Iterable[Review]) -> None:
    """The inverse of :func:`read_reviews`."""

    def write(part: Path) -> None:
        with gzip.open(part, "wt", newline="", encoding="utf8") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label"))
            writer.writerows(reviews)

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, write)


def digest(review: Review) -> str:
    """Names a review with its label, whatever its place in a file."""
    text, label = review
    return hashlib.blake2b(f"{label}{text}".encode(), digest_size=16).hexdigest()


def content(reviews: Iterable[Review]) -> str:
    """SHA-256 of the sorted digests."""
    return hashlib.sha256("".join(sorted(map(digest, reviews))).encode()).hexdigest()


def fetch_reviews(split: str, path: Path) -> None:
    """Write an official split, ``train`` or ``test``, from the Hugging Face hub."""
    require("datasets", what="imdb_sentiment")
    from datasets import load_dataset  # late: slow

    rows = load_dataset("stanfordnlp/imdb", split=split)
    write_reviews(path, zip(rows["text"], rows["label"], strict=True))
