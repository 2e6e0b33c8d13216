"""Where worker processes come from: one process that has imported what they need, and is forked for each of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext

from harness.executors.signals import SIGNALS

THREADS = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Of workers: set before torch is imported, and so for the server too."""
PRELOADED = "harness.executors.preloaded"


@cache
def workers_context() -> ForkServerContext | SpawnContext:
    """How workers start; the first call starts the server, which imports while its caller goes on.

    New interpreters where forks are not safe after such imports (macOS) or the server cannot start (its socket's path
    is too long, say).
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    with starting():
        try:
            forkserver.ensure_running()
        except OSError:
            return multiprocessing.get_context("spawn")
    return context


def workers_environment() -> dict[str, str]:
    """This process's variables as they are now, which the server does not know, and :data:`THREADS`."""
    return {**os.environ, **THREADS}


@contextmanager
def starting() -> Iterator[None]:
    """Around the start of a worker, and so of the server, which is started anew where it has died.

    Both never see signals of their process group: they may still be importing.
    """
    # Python 3.11 tells the server neither this process's path nor to leave the working directory out of it.
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"}
    given = THREADS | path
    resource_tracker.ensure_running()  # starts before the server in any case, and would unblock the signals again
    mask, before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS), {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():  # one by one: other threads look at the rest meanwhile
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
