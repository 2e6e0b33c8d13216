"""Who works on what: one holder a name, among all processes on all machines that see a folder."""

from __future__ import annotations

import errno
import json
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.errors import CorruptFile
from harness.machine import machine, started
from harness.storage.atomic_files import storage_error
from harness.storage.reading import read_json, read_object

LARGEST = 100_000
"""Bytes of a lease that are read."""
BEAT = 15.0
"""Seconds between two signs of life of a holder."""
EXPIRY = 90.0
"""Seconds without a sign of life after which a holder is taken for dead."""


class Lease:
    """A name that is held; a thread renews it until it is released.

    Attributes:
        lost: whether somebody else has taken the name, because this process had stood still for too long.
    """

    def __init__(self, path: Path, nonce: str, beat: float, expiry: float) -> None:
        self.lost = False
        self._path, self._nonce = path, nonce
        self._beat, self._expiry = beat, expiry
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="lease")
        self._thread.start()

    def _renew(self) -> None:
        renewed = time.monotonic()
        while not self.lost and not self._end.wait(self._beat):
            try:
                if _nonce(self._path) != self._nonce:
                    self.lost = True
                    return
                os.utime(self._path)
                renewed = time.monotonic()
            except FileNotFoundError:
                self.lost = True
            except OSError:  # a file server that does not answer: others may soon take us for dead
                self.lost = time.monotonic() - renewed > self._expiry / 2

    def release(self) -> None:
        """Give the name back."""
        self._end.set()
        self._thread.join()
        with suppress(OSError):
            if _nonce(self._path) == self._nonce:
                self._path.unlink()


class Leases:
    """Names, each held by one process at a time.

    A lease is a file that appears at once with its whole content (a hard link, which NFS makes atomically), and
    whose time of change is its holder's sign of life. A holder on this machine is dead when its process is; one
    elsewhere when an observer has seen no sign for ``expiry`` seconds of the observer's own clock: clocks of nodes
    differ. Whoever takes over makes the file of the next number, of which there can be only one, and removes the
    dead one's.

    Args:
        folder: where the files are.
        beat, expiry: see :data:`BEAT` and :data:`EXPIRY`.
    """

    def __init__(self, folder: Path, beat: float = BEAT, expiry: float = EXPIRY) -> None:
        self.folder = folder
        self._beat, self._expiry = beat, expiry

    @contextmanager
    def hold(self, name: str, waiting: Callable[[], None]) -> Iterator[Lease]:
        """Hold ``name`` while the block runs.

        ``waiting`` is called about twice a second while somebody else holds it; it may raise.

        Raises:
            StorageError: if the folder cannot be written.
        """
        seen: tuple[str, int] | None = None
        since = 0.0
        while True:
            number, nonce, changed = self._newest(name)
            if (nonce, changed) != seen:
                seen, since = (nonce, changed), time.monotonic()
            if not number or time.monotonic() - since > self._expiry or self._dead(name, number):
                lease = self._take(name, number, nonce)
                if lease is not None:
                    break
            waiting()
            time.sleep(random.uniform(0.3, 0.6))
        try:
            yield lease
        finally:
            lease.release()

    def holder(self, name: str) -> dict[str, Any] | None:
        """What the holder says about itself: {"host", "pid", "job": SLURM's id or null}; None if nobody holds it."""
        number, _, _ = self._newest(name)
        return read_object(self._path(name, number), LARGEST) if number else None

    def files(self, silent: float) -> Iterator[tuple[Path, bool]]:
        """Every lease there is, and whether its holder may be alive.

        On this machine that is whether its process is; elsewhere whether its last sign of life is less than ``silent``
        seconds old, which must be more than clocks differ by.
        """
        for path in sorted(self.folder.glob("*.*")):
            name, _, number = path.name.rpartition(".")
            if not (name and number.isdigit()):
                continue
            with suppress(OSError):
                content = read_object(path, LARGEST) or {}
                here = content.get("machine") == machine()
                recent = time.time() - path.stat().st_mtime < silent
                yield path, not self._dead(name, int(number)) if here else recent

    def _path(self, name: str, number: int) -> Path:
        return self.folder / f"{name}.{number}"

    def _newest(self, name: str) -> tuple[int, str, int]:
        """Highest number there is (0: none), its nonce, and when it changed."""
        numbers = [int(path.suffix[1:]) for path in self.folder.glob(f"{name}.*") if path.suffix[1:].isdigit()]
        for number in sorted(numbers, reverse=True):
            path = self._path(name, number)
            with suppress(OSError):
                nonce = _nonce(path)  # opened: NFS then asks the server
                return number, nonce or "", path.stat().st_mtime_ns
        return 0, "", 0

    def _dead(self, name: str, number: int) -> bool:
        """Whether the holder was a process of this machine that is no more."""
        content = read_object(self._path(name, number), LARGEST)
        if content is None or content.get("machine") != machine():
            return False
        pid = content.get("pid")
        return not isinstance(pid, int) or started(pid) != content.get("started")

    def _take(self, name: str, number: int, nonce: str) -> Lease | None:
        """Make the next lease after ``number``, unless somebody else was faster."""
        mine = uuid.uuid4().hex
        content = {
            "nonce": mine,
            "host": socket.gethostname(),
            "machine": machine(),
            "pid": os.getpid(),
            "started": started(os.getpid()),
            "job": slurm_job(),
        }
        path = self._path(name, number + 1)
        if not _create(path, json.dumps(content)):
            return None
        # It may have been given back in the meantime, and the low numbers been used again.
        newest = self._newest(name)[0]
        before = read_object(self._path(name, number), LARGEST) if number else None
        if newest != number + 1 or (before is not None and before.get("nonce") != nonce):
            path.unlink(missing_ok=True)
            return None
        if number:
            self._path(name, number).unlink(missing_ok=True)
        return Lease(path, mine, self._beat, self._expiry)


def slurm_job() -> str | None:
    """SLURM's id of the job that this process belongs to, as ``squeue`` shows it; None outside of SLURM."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def _create(path: Path, text: str) -> bool:
    """Make a file with its content at once; whether it was us who made it."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text)
        try:
            os.link(temporary, path)
        except FileExistsError:
            # Over NFS the answer may have been lost and the request repeated.
            return temporary.stat().st_nlink == 2
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                raise
            return _create_exclusively(path, text)  # no hard links here
        return True
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _create_exclusively(path: Path, text: str) -> bool:
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _nonce(path: Path) -> str | None:
    """Raises OSError if the file is gone or cannot be read."""
    try:
        found = read_json(path, LARGEST)
    except CorruptFile:
        return None
    nonce = found.get("nonce") if isinstance(found, dict) else None
    return nonce if isinstance(nonce, str) else None
