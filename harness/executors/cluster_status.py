"""How far a suite is on a cluster, from the files that jobs write and from what SLURM says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.executors import slurm_queue
from harness.executors.slurm_queue import State
from harness.executors.submissions import Element, Submissions


@dataclass(slots=True)
class Survey:
    """What is known about cells that have no result yet.

    Attributes:
        cells: "queued", "running", "requeued" (has run, waits to run again), "blocked", "cancelled" or "lost" per cell;
            cells that were never handed in are left out.
        running: (SLURM id, state, what the job says: see :meth:`Submissions.write_progress`) of those that run.
        waiting: reason -> SLURM ids of those that are queued.
        problems: one line about each SLURM job that has ended and left something undone.
        unknown: why SLURM could not be asked, or "".
    """

    cells: dict[str, str] = field(default_factory=dict)
    running: list[tuple[str, State, dict[str, Any]]] = field(default_factory=list)
    waiting: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unknown: str = ""


def survey(work: Path, suite: str, missing: Iterable[str]) -> Survey:
    """Look into the cells of a suite that have no record yet: those that are to do."""
    submissions = Submissions(work, suite)
    found = Survey()
    latest: dict[str, Element] = {}
    by_id: dict[str, Element] = {}
    for element in submissions.elements():
        latest |= dict.fromkeys(element.jobs, element)
        by_id[element.slurm] = element
    cells: dict[str, list[str]] = {}
    for cell in missing:
        if cell in latest:
            cells.setdefault(latest[cell].slurm, []).append(cell)
    if not cells:
        return found
    states: dict[str, State] = {}
    cancelled = submissions.cancelled()
    if not slurm_queue.available():
        found.unknown = "there is no squeue on this machine"
    else:
        try:
            states = slurm_queue.states(cells)
        except HarnessError as error:
            found.unknown = str(error)
    for slurm, names in cells.items():
        progress = submissions.progress(slurm)
        state = states.get(slurm)
        if state is None and slurm in cancelled:
            state = State("CANCELLED")
        if state is None:
            word = "lost"
            if found.unknown and progress and not progress["ended"]:
                word = "running"
                found.running.append((slurm, State("RUNNING"), progress))
            elif found.unknown:
                word = "queued"
            else:
                found.problems.append(
                    f"SLURM job {slurm} is not known to SLURM any more; run the suite again: {_few(names)}"
                )
        elif state.name == "PENDING":
            word = "requeued" if progress else "queued"
            found.waiting.setdefault(state.reason or "no reason given", []).append(slurm)
        elif state.live:
            word = "running"
            found.running.append((slurm, state, progress or {"jobs": [], "host": "", "restarts": 0}))
        else:
            cause = _cause(submissions, by_id[slurm], by_id) if state.name in ("CANCELLED", "COMPLETED") else None
            word = "blocked" if cause else "cancelled" if state.name == "CANCELLED" else "lost"
            what = f"blocked by {cause}" if cause else "run the suite again to try again"
            found.problems.append(f"SLURM job {slurm} ended as {state}; {what}: {_few(names)}")
        found.cells |= dict.fromkeys(names, word)
    return found


def _cause(submissions: Submissions, element: Element, by_id: dict[str, Element]) -> str | None:
    """What failed of that which a job waited for."""
    for before in element.after:
        for job in by_id[before].jobs if before in by_id else ():
            failure = submissions.failure(job)
            if failure is not None:
                return str(failure.get("cause") or f"{failure.get('label')} ({failure['message']})")
    return None


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
