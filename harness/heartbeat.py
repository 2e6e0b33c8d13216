"""What a run is doing now, in a file, so that ``harness status`` can say so from another terminal."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import StorageError
from harness.files import write_text

EVERY = 2.0
STALE = 60.0
"""Seconds after which a heartbeat's writer is taken for dead."""


class Heartbeat:
    """Writes ``.work/running/<suite>.<host>.<pid>.json`` every few seconds; removed by :meth:`close`.

    Content: {"suite", "host", "pid", "time", "left": seconds or null, "jobs": [{"label", "step", "steps", "loss"}]}.
    """

    def __init__(self, work: Path, suite: str) -> None:
        host = socket.gethostname()
        self._head = {"suite": suite, "host": host, "pid": os.getpid()}
        self._path = work / "running" / f"{suite}.{host}.{os.getpid()}.json"
        self._last = 0.0

    def beat(self, left: float | None, jobs: list[Mapping[str, Any]]) -> None:
        """Write, unless the last beat was a moment ago. A disk that is full does not end a run here."""
        if time.monotonic() - self._last >= EVERY:
            self._last = time.monotonic()
            with suppress(StorageError):
                write_text(self._path, json.dumps({**self._head, "time": time.time(), "left": left, "jobs": jobs}))

    def close(self) -> None:
        """The run has ended."""
        self._path.unlink(missing_ok=True)


def running(work: Path, suite: str) -> Iterator[dict[str, Any]]:
    """Live heartbeats of a suite, in order of file name."""
    for path in sorted((work / "running").glob(f"{suite}.*.json")):
        try:
            beat = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(beat, dict) and beat.get("suite") == suite and time.time() - beat.get("time", 0) < STALE:
            yield beat
