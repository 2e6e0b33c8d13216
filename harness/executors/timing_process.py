"""A process in which steps are tried: whatever a plugin does there, and however long it takes, ends nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import torch

from harness.executors.fork_server import starting, workers_context, workers_environment
from harness.executors.short_timing import SECONDS, Timed, short_timing
from harness.executors.signals import SIGNALS, die_with_parent
from harness.registry.plugins import load
from harness.training.allocator import keep_freed_memory

if TYPE_CHECKING:
    from harness.executors.step_kind import StepKind
    from harness.stages.graph import Stage
    from harness.suites.suite import Suite

GRACE = 5.0
"""Seconds beyond its time that the process has for the last step that it began."""


def short_timings(stages: Mapping[StepKind, Stage], suite: Suite, device: torch.device) -> dict[StepKind, float]:
    """Mean seconds of an optimizer step of each kind, as far as they can be tried; see :func:`short_timing`.

    Args:
        stages: one of each kind, the most important ones first.
        suite: that they belong to.
        device: to take the steps on.
    """
    kinds = list(stages)
    found: dict[StepKind, float] = {}
    if not kinds:
        return found
    steps = [
        Timed(stages[kind], suite.spec(stages[kind].cell.training_part), kind.composed, bool(kind.method))
        for kind in kinds
    ]
    context = workers_context()
    ours, theirs = context.Pipe()
    arguments = (theirs, workers_environment(), suite.registry.files, str(device))
    process = context.Process(target=main, args=arguments, daemon=True, name="timing")
    with starting():
        process.start()
    theirs.close()
    try:
        ours.recv()
        ours.send(steps)
        end = monotonic() + SECONDS + GRACE
        while ours.poll(max(0.0, end - monotonic())):
            index, taken = ours.recv()
            found[kinds[index]] = taken
    except (EOFError, OSError):  # it has come to its end, whichever
        pass
    finally:
        process.kill()
        process.join()
        ours.close()
    return found


def main(pipe: Connection, environment: Mapping[str, str], plugins: Sequence[Path], device: str) -> None:
    """Say that it is there, be told :class:`Timed` steps, and tell the time of one after another."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()
    keep_freed_memory()
    os.environ.clear()
    os.environ.update(environment)
    registry = load(plugins)  # before what is told, which holds options of theirs
    import torch._dynamo  # every optimizer imports it at its first step, which takes a second

    pipe.send("ready")
    steps: Sequence[Timed] = pipe.recv()
    for timing in short_timing(steps, registry, torch.device(device)):
        pipe.send(timing)
