"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep

from harness.storage.atomic_files import storage_error


@contextmanager
def claim(folder: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold ``folder`` against other processes; freed when the process dies.

    ``waiting`` is told once who holds it, if anybody does.

    Raises:
        StorageError: if the folder cannot be written.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+")
    except OSError as error:
        raise storage_error(path, error) from error
    with handle:
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    handle.seek(0)
                    waiting(handle.read().strip() or "another process")
                    told = True
                sleep(0.2)
        with suppress(OSError):  # only for those who wait: a full disk is met where it matters
            os.ftruncate(handle.fileno(), 0)
            os.write(handle.fileno(), f"process {os.getpid()} on {platform.node()}".encode())
        yield
