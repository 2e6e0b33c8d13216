"""What a run is doing now, in a file, so that other terminals and machines can say so."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from harness.errors import StorageError
from harness.executors.live_files import Beat, read_live
from harness.machine import machine, started
from harness.storage.atomic_files import write_text

EVERY = 1.0
STALE = 60.0
"""Seconds after which a heartbeat's writer is taken for dead."""


class Heartbeat:
    """Writes ``.work/running/<suite>.<host>.<pid>.json`` every few seconds; removed by :meth:`close`.

    Content: {"suite", "host", "machine", "pid", "started": the process's beginning, "time", "total", "done", "failed":
    numbers of results, "part": of the work, in [0, 1], "left": seconds or null, "jobs": rows of
    :class:`harness.executors.progress.Progress`}.

    Args:
        work: the results folder's folder of work.
        suite: its name.
        content: gives what changes; called in a thread, because an evaluation may be silent for an hour.
    """

    def __init__(self, work: Path, suite: str, content: Callable[[], Mapping[str, Any]]) -> None:
        host = socket.gethostname()
        self._head = {
            "suite": suite,
            "host": host,
            "machine": machine(),
            "pid": os.getpid(),
            "started": started(os.getpid()),
        }
        self._path = work / "running" / f"{suite}.{host}.{os.getpid()}.json"
        self._content = content
        self._closed = Event()
        self._thread = Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while True:
            with suppress(StorageError):  # a disk that is full does not end a run here
                write_text(self._path, json.dumps({**self._head, "time": time.time(), **self._content()}))
            if self._closed.wait(EVERY):
                return

    def close(self) -> None:
        """The run has ended."""
        self._closed.set()
        self._thread.join(EVERY)
        with suppress(OSError):
            self._path.unlink()


def running(work: Path, suite: str) -> Iterator[dict[str, Any]]:
    """Live heartbeats of a suite, in order of file name."""
    for path in sorted((work / "running").glob(f"{suite}.*.json")):
        beat = read_live(path, Beat)
        if beat is not None and beat["suite"] == suite and alive(beat):
            yield beat


def alive(beat: Mapping[str, Any], silent: float = STALE) -> bool:
    """Whether a heartbeat's run lives: of this machine's processes it is known, of others' by the time."""
    if beat.get("machine") == machine():
        now = started(beat["pid"])
        if now is None or now != beat.get("started", now):  # its number may be another's by now
            return False
    return bool(time.time() - beat["time"] < silent)
