"""SHA-256 of files, read again only when they have changed, and what a record says of files."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.storage.data_directory import data_directory


def digest(path: Path) -> str:
    """SHA-256 of a file's content; what is known of a file of this place, size and time is not read again."""
    stat = path.stat()
    return _digest(path.absolute(), stat.st_size, stat.st_mtime_ns)


def digest_now(path: Path) -> str:
    """SHA-256 of a file's content, whatever is known of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def whole(digests: Sequence[str]) -> str:
    """One for several, in order; of one, itself."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def place(path: Path) -> str:
    """A path for records and manifests: relative to the data directory if it is in there, as both may move together."""
    there, data = path.absolute(), data_directory().absolute()
    return str(there.relative_to(data) if there.is_relative_to(data) else there)


def described(path: Path, files: Sequence[Path]) -> dict[str, Any]:
    """What :meth:`harness.Benchmark.data_source` says of files: {path, files: how many, bytes, sha256}."""
    return {
        "path": place(path),
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
        "sha256": whole([digest(file) for file in files]),
    }


@functools.lru_cache(maxsize=4096)
def _digest(path: Path, _size: int, _modified: int) -> str:
    return digest_now(path)
