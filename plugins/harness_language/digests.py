"""SHA-256 of files, read again only when they have changed."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path


def digest(path: Path) -> str:
    """SHA-256 of a file's content; what is known of a file of this place, size and time is not read again."""
    stat = path.stat()
    return _digest(path.absolute(), stat.st_size, stat.st_mtime_ns)


def digest_now(path: Path) -> str:
    """SHA-256 of a file's content, whatever is known of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.lru_cache(maxsize=4096)
def _digest(path: Path, _size: int, _modified: int) -> str:
    return digest_now(path)
