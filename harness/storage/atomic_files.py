"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import StorageError


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary path beside ``path``, flush it to disk, rename it into place.

    Atomic against crashes and concurrent writers on one file system, NFS included (rename within a
    folder); the last writer wins.

    Raises:
        StorageError: if the disk is full or the folder cannot be written; ``path`` is then untouched.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    write_atomic(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; half characters, which it cannot hold, become question marks."""
    write_bytes(path, text.encode("utf8", "replace"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: sorted nothing, two spaces, one final newline; NaN is an error."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def storage_error(path: Path, error: OSError) -> StorageError:
    """The message for a file that cannot be written: what happened and what to do."""
    reasons = {
        errno.ENOSPC: "the disk is full. Free some space",
        errno.EDQUOT: "the disk quota is used up. Free some space",
        errno.EROFS: "the file system is read-only. Choose another folder with --results",
        errno.EACCES: "no permission to write. Choose another folder with --results",
        errno.EPERM: "no permission to write. Choose another folder with --results",
    }
    reason = reasons.get(error.errno or 0, f"{error.strerror or error}. Repair that")
    return StorageError(f"cannot write {path}: {reason} and run the same command again; finished work is kept.")


def no_room(error: OSError) -> StorageError | None:
    """The message for a disk without room, whoever wanted to write there; None if that is not the reason."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return storage_error(Path(os.fsdecode(error.filename)) if error.filename else Path("a file"), error)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
