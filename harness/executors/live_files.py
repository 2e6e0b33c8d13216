"""What running jobs say of themselves in files: checked where it is read, since anybody may write there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.storage.reading import read_object

Count = Annotated[int, Field(ge=0, lt=2**63)]
LARGEST = 10_000_000


class LiveFile(BaseModel):
    """Base: types are as written, and what is not listed means nothing."""

    model_config = ConfigDict(strict=True, extra="allow")


class JobRow(LiveFile):
    """A running job, see :class:`harness.executors.progress.Progress`."""

    id: str = ""
    label: str
    step: Count
    steps: Count
    phase: Annotated[list[int | str], Field(min_length=2, max_length=2)] | None = None
    loss: float | None
    lr: float | None = None
    rate: float | None = None
    left: float | None = None
    validation: dict[str, float] | None = None
    density: float | None = None
    losses: list[float] = []


class Beat(LiveFile):
    """A run, see :class:`harness.executors.run_status.Heartbeat`."""

    suite: str
    host: str
    machine: str = ""
    pid: Count
    started: str | None = None
    time: float
    total: Count = 0
    done: Count = 0
    failed: Count = 0
    left: float | None = None
    jobs: list[JobRow]


class SlurmProgress(LiveFile):
    """A SLURM job, see :meth:`harness.executors.submissions.Submissions.write_progress`."""

    host: str
    time: float
    restarts: Count = 0
    jobs: list[JobRow]
    ended: bool


class JobFailure(LiveFile):
    """Why a job could not be done."""

    type: str = ""
    message: str


class Handed(LiveFile):
    """One SLURM job of those that were handed in together."""

    slurm: str
    jobs: list[str]
    after: list[str]
    minutes: Count


def read_live(path: Path, model: type[LiveFile]) -> dict[str, Any] | None:
    """A file's content; None if it is not there or not as ``model`` says."""
    found = read_object(path, LARGEST)
    try:
        return None if found is None else model.model_validate(found).model_dump(exclude_unset=True)
    except ValidationError:
        return None
