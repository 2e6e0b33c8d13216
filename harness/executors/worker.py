"""A worker process: what it sets before it serves jobs."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection
from typing import Any

from harness.executors.signals import SIGNALS, die_with_parent
from harness.executors.worker_settings import WorkerSettings
from harness.training.allocator import keep_freed_memory


def main(pipe: Connection, stop: Any, settings: WorkerSettings) -> None:
    """Serve jobs as :func:`harness.executors.serving.serve` does."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()
    keep_freed_memory()
    os.environ.clear()
    os.environ.update(settings.environment)

    from harness.executors.serving import serve  # imports torch, which reads the environment

    serve(pipe, stop, settings)
