"""What was handed in to SLURM, in files beside the results: the only state there is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.errors import CorruptFile
from harness.executors.live_files import Handed, JobFailure, SlurmProgress, read_live
from harness.storage.atomic_files import write_json, write_text
from harness.storage.reading import read_json

_HANDED = TypeAdapter(list[Handed])


@dataclass(frozen=True, slots=True)
class Element:
    """One SLURM job, or one element of an array.

    Attributes:
        slurm: its id as ``squeue`` shows it: ``123`` or ``123_4``.
        jobs: ids of what it does: stage hashes and cell ids.
        after: ids of the SLURM jobs that it waits for.
        minutes: time limit.
    """

    slurm: str
    jobs: tuple[str, ...]
    after: tuple[str, ...]
    minutes: int


class Submissions:
    """The SLURM side of one suite, under ``.work/slurm/<suite>/``.

    submitted/<time>-<first id>.json    [Element, ...] of one ``sbatch``
    progress/<slurm id>.json            written by the job while it runs
    cancelled/<slurm id>                by harness cancel: not to be handed in again by a run that still watches
    failures/<job id>.json              why a stage or a cell could not be done; deleted when it is handed in again
    logs/                               submitit's: scripts, output of the jobs
    """

    def __init__(self, work: Path, suite: str) -> None:
        self.folder = work / "slurm" / suite

    @property
    def logs(self) -> Path:
        """Where the output of jobs goes."""
        return self.folder / "logs"

    def log(self, slurm: str) -> Path:
        """Output of one SLURM job."""
        return self.logs / f"{slurm}_0_log.out"

    def add(self, elements: Sequence[Element]) -> None:
        """Note what was handed in."""
        name = f"{time.time_ns():020d}-{elements[0].slurm}.json"
        write_text(self.folder / "submitted" / name, json.dumps([asdict(element) for element in elements]))

    def elements(self) -> list[Element]:
        """Everything that was handed in, oldest first; files that cannot be read are left out."""
        found: list[Element] = []
        for path in sorted((self.folder / "submitted").glob("*.json")):
            with suppress(OSError, CorruptFile, ValidationError):
                for row in _HANDED.validate_python(read_json(path)):
                    found.append(Element(row.slurm, tuple(row.jobs), tuple(row.after), row.minutes))
        return found

    def cancel(self, slurm: str) -> None:
        """Note that a SLURM job was cancelled on purpose; SLURM itself forgets an array's element that never ran."""
        write_text(self.folder / "cancelled" / slurm, "")

    def cancelled(self) -> set[str]:
        """Ids of the SLURM jobs that were cancelled on purpose."""
        return {path.name for path in (self.folder / "cancelled").glob("[0-9]*")}

    # --- failures ----------------------------------------------------------------------------

    def fail(self, job: str, failure: Mapping[str, Any]) -> None:
        """Note why a stage or a cell could not be done."""
        write_json(self.folder / "failures" / f"{job}.json", dict(failure))

    def failure(self, job: str) -> dict[str, Any] | None:
        """Why it could not be done, or None."""
        return read_live(self.folder / "failures" / f"{job}.json", JobFailure)

    def forget_failures(self, jobs: Iterable[str]) -> None:
        """These are tried again."""
        for job in jobs:
            (self.folder / "failures" / f"{job}.json").unlink(missing_ok=True)

    # --- progress ----------------------------------------------------------------------------

    def write_progress(self, slurm: str, progress: Mapping[str, Any]) -> None:
        """Say how far a SLURM job is.

        {"host", "time", "restarts", "jobs": rows of :class:`harness.executors.progress.Progress`,
        "ended": whether the job has come to its end}; jobs are those that run at the moment.
        """
        write_text(self.folder / "progress" / f"{slurm}.json", json.dumps(progress))

    def progress(self, slurm: str) -> dict[str, Any] | None:
        """What a SLURM job last said, or None."""
        return read_live(self.folder / "progress" / f"{slurm}.json", SlurmProgress)
