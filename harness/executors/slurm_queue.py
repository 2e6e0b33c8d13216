"""What SLURM says about jobs: states, reasons, limits."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, UserError
from harness.formatting import listed

LIVE = frozenset({"PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED",
                  "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED", "SPECIAL_EXIT"})  # fmt: skip
"""States of jobs that run or will run."""
PROGRAMS = ("sbatch", "srun", "squeue", "scancel", "scontrol")
"""What has to be in PATH where jobs are handed in; ``sacct`` is used where it is."""
_AT_ONCE = 500
_SECONDS = 60


@dataclass(frozen=True, slots=True)
class State:
    """A job's state (``RUNNING``), SLURM's reason for it or "", and its exit code and signal ("1:0") where known."""

    name: str
    reason: str = ""
    code: str = ""

    @property
    def live(self) -> bool:
        """Whether it runs or will run."""
        return self.name in LIVE and not self.stuck

    @property
    def stuck(self) -> bool:
        """Whether SLURM could not start it and holds it back until somebody with the right releases it."""
        return self.name in ("PENDING", "REQUEUE_HOLD") and "launch failed" in self.reason.lower()

    def __str__(self) -> str:
        reason = "" if self.reason.lower() == self.name.replace("_", "").lower() else self.reason
        extra = [reason, f"exit code {self.code}" if self.code not in ("", "0:0") else ""]
        shown = ", ".join(part for part in extra if part)
        return f"{self.name} ({shown})" if shown else self.name


def available() -> bool:
    """Whether this machine can talk to a cluster."""
    return shutil.which("squeue") is not None and shutil.which("sbatch") is not None


def check(results: Path) -> None:
    """Whether jobs can be handed in from here that write into a results folder.

    Raises:
        UserError: if a program of SLURM's is missing, or it would read the folder's path as a pattern.
    """
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise UserError(f"there is no {listed(missing, 'and no')} in PATH: hand jobs in from a machine of the cluster")
    if found := re.search(r"[%\\\x00-\x1f]", str(results)):
        raise UserError(
            f"SLURM cannot write logs below {str(results)!r}: {found[0]!r} has a meaning of its own in its paths; "
            "choose another folder with --results"
        )


def states(jobs: Iterable[str]) -> dict[str, State]:
    """State per id (``123`` or ``123_4``); ids that SLURM does not know any more are left out.

    The controller is asked first, which knows what runs and what ended a moment ago, then the accounting for the rest.

    Raises:
        HarnessError: if the controller does not answer.
    """
    wanted = set(jobs)
    masters = sorted({job.partition("_")[0] for job in wanted})
    found: dict[str, State] = {}
    for some in _chunks(masters):
        found.update(_squeue(some))
    rest = sorted({job.partition("_")[0] for job in wanted - found.keys()})
    for some in _chunks(rest):
        for job, state in _sacct(some).items():
            found.setdefault(job, state)
    return {job: found[job] for job in wanted if job in found}


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs; those that have ended are left as they are.

    Raises:
        HarnessError: if the controller does not answer.
    """
    for some in _chunks(list(jobs)):
        done = _call("scancel", *some)
        if done.returncode and "Invalid job id" not in done.stderr:
            raise HarnessError(f"scancel says: {done.stderr.strip()}")


def max_array_size() -> int:
    """Most elements of an array on this cluster.

    Raises:
        UserError: if there is no SLURM here.
        HarnessError: if the controller does not answer.
    """
    done = _call("scontrol", "show", "config")
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", done.stdout)
    if done.returncode or found is None:
        said = done.stderr.strip().splitlines()
        raise HarnessError(f"SLURM does not answer: {said[-1] if said else 'scontrol says nothing'}; try again later")
    return max(1, int(found[1]) - 1)


def _squeue(masters: Sequence[str]) -> dict[str, State]:
    asked = f"--jobs={','.join(masters)}"
    done = _call("squeue", "--noheader", "--array", "--states=all", "--format=%F|%K|%i|%T|%r", asked)
    if done.returncode:
        if "Invalid job id" in done.stderr:  # the only one asked for is long gone
            return {}
        raise HarnessError(f"squeue says: {done.stderr.strip() or f'exit code {done.returncode}'}")
    found = {}
    for line in done.stdout.splitlines():
        master, task, whole, name, reason = line.split("|", 4)
        for job in _ids(master, task, whole):
            found[job] = State(name, "" if reason == "None" else reason)
    return found


def _ids(master: str, task: str, whole: str) -> Iterator[str]:
    if task.isdigit():
        yield f"{master}_{task}"
    elif "[" in whole:  # elements that wait together
        for part in whole.partition("[")[2].partition("]")[0].partition("%")[0].split(","):
            first, _, last = part.partition("-")
            for number in range(int(first), int(last or first) + 1):
                yield f"{master}_{number}"
    else:
        yield master


def _sacct(masters: Sequence[str]) -> dict[str, State]:
    """Nothing where there is no accounting."""
    if shutil.which("sacct") is None:
        return {}
    asked = f"--jobs={','.join(masters)}"
    done = _call("sacct", "-X", "--noheader", "--parsable2", "--format=JobID,State,ExitCode", asked)
    found = {}
    for line in done.stdout.splitlines() if not done.returncode else []:
        job, name, code = line.split("|", 2)
        state = State(name.split()[0], name.partition(" ")[2], code)
        master, _, task = job.partition("_")
        for one in _ids(master, task, job):
            found[one] = state
    return found


def _call(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except FileNotFoundError as error:
        raise UserError(f"there is no '{command[0]}' here: run this on a machine of the cluster") from error
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"{command[0]} has not answered for {_SECONDS} s") from error


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]
