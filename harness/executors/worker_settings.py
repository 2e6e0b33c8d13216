"""What a worker needs to know before its first job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker needs to know before its first job.

    Attributes:
        results: the results folder.
        plugins: single-file plugins to load.
        environment: all of its variables, set before torch looks at them: threads, and which GPU.
        checkpoint_seconds: time between checkpoints.
        attempts: times that a stage may be begun without getting further; None for any number.
    """

    results: Path
    plugins: Sequence[Path]
    environment: dict[str, str]
    checkpoint_seconds: float
    attempts: int | None = None
