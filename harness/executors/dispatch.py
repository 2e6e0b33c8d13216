"""Follows one run on a cluster: what is open, what runs where, what was lost."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.executors import slurm_queue
from harness.executors.admission import TRIES, Admission, Verdict
from harness.executors.base import Job, Outcome, View
from harness.executors.completion import Completion, recorded_failure
from harness.executors.job_batches import Batch
from harness.executors.refusal import Refusal
from harness.executors.slurm_job import blocked
from harness.executors.slurm_queue import State
from harness.executors.submissions import Element, Submissions
from harness.executors.submitter import Submitter
from harness.formatting import count
from harness.results.store import ResultStore
from harness.stages.graph import PlannedCell, Stage
from harness.stages.store import StageStore
from harness.storage.leases import Leases

LOOK = 1.0
"""Seconds between two looks at the files of running jobs."""
UNKNOWN = 60.0
"""Seconds after which a job that SLURM has never heard of is taken for lost."""
FORGOTTEN = 60.0
"""Seconds after its last word after which a job that SLURM takes for running is ended."""
ORDINARY = {"", "Priority", "Resources", "Dependency", "JobArrayTaskLimit", "BeginTime", "Prolog", "Cleaning"}
"""Reasons for which jobs wait that need no words."""


class Dispatch:
    """One run: what is open, what runs where, what was lost.

    Raises:
        UserError: if there is no SLURM here.
        HarnessError: if it does not answer.
    """

    def __init__(
        self, submitter: Submitter, jobs: Sequence[Job], view: View, max_failures: int | None, detach: bool = False
    ) -> None:
        self.outcome = Outcome()
        self._submitter = submitter
        self._detach = detach
        self._view = view
        self._max_failures = max_failures
        self._results = ResultStore(submitter.results)
        self._stages = StageStore(self._results.work)
        self._submissions = Submissions(self._results.work, submitter.suite)
        self._jobs = {job.id: job for job in jobs}
        self._open = dict.fromkeys(self._jobs)
        self._dependents: dict[str, list[str]] = {}
        for job in jobs:
            for need in job.needs:
                self._dependents.setdefault(need, []).append(job.id)
        self._live: dict[str, Element] = {}
        self._begun: dict[str, float] = {}
        self._of: dict[str, str] = {}
        self._states: dict[str, State] = {}
        self._seen: dict[str, float] = {}
        self._shown: set[str] = set()
        self._losses: Counter[str] = Counter()
        self._reached: dict[str, str | None] = {}
        self._own_failures = 0
        self._array_size = submitter.options.max_array_size or slurm_queue.max_array_size()
        self._admissions: dict[str, Admission] = {}
        self._ended: dict[str, float] = {}
        self._told: set[str] = set()

    def begin(self) -> None:
        """Attach to what is queued or runs, hand in the rest.

        Who does not stay to try again later tries a few times now, unless the queue is full.
        """
        self._hand_over(anew=True)
        if not self._detach:
            return
        for _ in range(TRIES - 1):
            if waits := [admission.wait for admission in self._admissions.values() if admission.puzzled]:
                time.sleep(max(waits))
                self._hand_over(anew=False)
        self.outcome.detached = True
        self.outcome.left = len(self._missing())

    def follow(self) -> None:
        """Watch until nothing is open."""
        asked = 0.0
        while self._open:
            self._look()
            if time.monotonic() - asked >= self._submitter.options.poll_seconds:
                asked = time.monotonic()
                try:
                    self._ask()
                except HarnessError as error:
                    self._tell(f"{error}; asking again")
                missing = self._missing()
                if missing and not self._closing():
                    try:
                        self._hand_over(anew=False)
                    except HarnessError as error:
                        self._tell(f"{error}; trying again")
                elif missing and not self._live:
                    self._view.note(
                        f"stopped after {count(self._own_failures, 'failure')}; {count(len(missing), 'job')} left"
                    )
                    return
            if self._open:
                time.sleep(LOOK)

    # --- handing in --------------------------------------------------------------------------

    def _missing(self) -> list[Job]:
        """What is open and of which no SLURM job is known."""
        return [job for name, job in self._jobs.items() if name in self._open and name not in self._of]

    def _hand_over(self, anew: bool) -> None:
        """Hand in what is open and neither queued nor running, whoever handed that in; one run at a time does so.

        ``anew`` forgets what went wrong before.
        """
        told = False

        def waiting() -> None:
            nonlocal told
            if not told:
                told = True
                self._view.note("another harness run is handing in jobs of this suite; waiting for it")

        with Leases(self._results.work / "leases").hold(f"submit-{self._submitter.suite}", waiting):
            self._attach_to_others()
            if anew and self._live:
                self._view.note(f"queued or running already: {count(len(self._live), 'SLURM job')} of this suite")
            todo = self._missing()
            if anew:
                self._submissions.forget_failures(job.id for job in todo)
                for job in todo:
                    if isinstance(job.work, Stage):
                        self._stages.forget_attempts(job.id)
            self._hand_in(todo)

    def _attach_to_others(self) -> None:
        """Find the SLURM jobs that do what nobody does as far as we know."""
        latest: dict[str, Element] = {}
        elements = self._submissions.elements()
        for element in elements:
            latest |= dict.fromkeys((job for job in element.jobs if job in self._open and job not in self._of), element)
        states = slurm_queue.states({element.slurm for element in latest.values()})
        slurm_queue.cancel([slurm for slurm, state in states.items() if state.stuck])
        for name, element in latest.items():
            state = states.get(element.slurm)
            if state is not None and state.live:
                self._states[element.slurm] = state
                self._attach(element, [name])
        self._attach_to_what_is_waited_for({element.slurm: element for element in elements})

    def _attach_to_what_is_waited_for(self, known: Mapping[str, Element]) -> None:
        """Watch also those SLURM jobs that others wait for, though their own work is done: see :meth:`_forgotten`."""
        asked: set[str] = set()
        while (
            behind := {slurm for element in self._live.values() for slurm in element.after if slurm in known}
            - self._live.keys()
            - asked
        ):
            asked |= behind
            for slurm, state in slurm_queue.states(behind).items():
                if state.live:
                    self._states[slurm] = state
                    self._attach(known[slurm], [])

    def _hand_in(self, jobs: Sequence[Job]) -> None:
        """As arrays: batches that ask for the same and wait for the same."""
        outside = {name: slurm for name, slurm in self._of.items() if name in self._open}
        groups: dict[tuple[Any, ...], list[Batch]] = {}
        for batch in self._submitter.batches(jobs, outside):
            key = (batch.request.model_dump_json(), tuple(map(id, batch.after)), batch.outside)
            groups.setdefault(key, []).append(batch)
        names: dict[int, str] = {}
        arrays = number = done = 0
        for (asked, _, _), group in groups.items():
            admission = self._admissions.setdefault(
                asked, Admission(self._array_size, self._submitter.options.poll_seconds)
            )
            while group and not admission.wait:
                some = group[: admission.size]
                parents = [names.get(id(parent)) for parent in some[0].after]
                if None in parents:  # refused, or to be handed in later
                    break
                after = [*some[0].outside, *(name for name in parents if name)]
                try:
                    elements = self._submitter.submit(some[0].request, some, after)
                except HarnessError as error:
                    self._refused(admission, group, len(some), str(error))
                    continue
                admission.taken()
                arrays, number = arrays + 1, number + len(elements)
                for batch, element in zip(some, elements, strict=True):
                    names[id(batch)] = element.slurm
                    done += len(batch.jobs)
                    self._attach(element, [job.id for job in batch.jobs])
                del group[: len(some)]
        if number:
            what = f"{done} stages and evaluations as {count(number, 'job')} in {count(arrays, 'array')}"
            self._view.note(f"handed in to SLURM: {what}")

    def _refused(self, admission: Admission, group: list[Batch], size: int, message: str) -> None:
        """What SLURM will not take now is offered again later; what it will never take has failed."""
        match admission.refused(Refusal.of(message), size, bool(self._live)):
            case Verdict.FAIL:
                for job in (job for batch in group for job in batch.jobs):
                    self._fail(job.id, {"type": "Refused", "message": f"SLURM refuses the job: {message}"})
                group.clear()
            case Verdict.LATER:
                self._tell(f"SLURM takes no more jobs now ({message}){'' if self._detach else '; trying again'}")

    def _tell(self, text: str) -> None:
        """A note, once: what is asked again is often answered alike."""
        if text not in self._told:
            self._told.add(text)
            self._view.note(text)

    def _attach(self, element: Element, jobs: Iterable[str]) -> None:
        self._live[element.slurm] = element
        self._begun.setdefault(element.slurm, time.monotonic())
        self._of |= dict.fromkeys(jobs, element.slurm)

    # --- following ---------------------------------------------------------------------------

    def _look(self) -> None:
        """Read what running jobs say, and what they have finished."""
        for slurm, element in list(self._live.items()):
            state = self._states.get(slurm)
            if state is None or state.name == "PENDING":  # thousands may wait, on a file system far away
                continue
            progress = self._submissions.progress(slurm)
            if progress is None or progress["time"] == self._seen.get(slurm):
                continue
            self._seen[slurm] = progress["time"]
            for row in progress["jobs"]:
                job = self._jobs.get(row["id"])
                if job is None or job.id not in self._open:
                    continue
                if job.id not in self._shown:
                    self._shown.add(job.id)
                    self._view.started(job)
                if row["loss"] is not None:
                    self._view.progress(job, row["step"], row["loss"], row)
            self._collect(element)

    def _collect(self, element: Element) -> None:
        """What of a SLURM job is done, and what has failed."""
        for name in element.jobs:
            if name not in self._open:
                continue
            job = self._jobs[name]
            completion = Completion.of(job.work, self._results, self._stages)
            failure: Mapping[str, Any] | None = self._submissions.failure(name)
            if completion is Completion.DIVERGED and failure is None:  # of another run: this one's job found it so
                record = self._results.read(job.work.cell.suite, name)
                failure = None if record is None else recorded_failure(record)
            if completion is Completion.DONE:
                del self._open[name]
                self._view.finished(job)
            elif failure is not None:
                self._fail(name, failure)

    def _ask(self) -> None:
        """Ask SLURM about what was handed in, and see to what has ended."""
        self._states = slurm_queue.states(self._live)
        self._say_why_they_wait()
        cancelled = self._submissions.cancelled()
        for slurm, element in list(self._live.items()):
            state = self._states.get(slurm)
            if state is None and slurm in cancelled:
                state = State("CANCELLED")
            if state is None:
                if time.monotonic() - self._begun[slurm] < UNKNOWN:
                    continue
                state = State("UNKNOWN", "SLURM does not know it")
            if state.live and not (state.name == "RUNNING" and self._forgotten(slurm)):
                continue
            if state.live or state.stuck:
                slurm_queue.cancel([slurm])
            self._collect(element)
            del self._live[slurm]
            for admission in self._admissions.values():
                admission.room()
            left = [name for name in element.jobs if name in self._open and self._of.get(name) == slurm]
            for name in left:
                del self._of[name]
            if left:
                self._lost(element, left, state)
        if self._closing():
            pending = [slurm for slurm in self._live if self._states.get(slurm, State("")).name == "PENDING"]
            slurm_queue.cancel(pending)

    def _forgotten(self, slurm: str) -> bool:
        """Whether SLURM takes a job for running that said long ago that it is done.

        A controller that was killed may forget that a job has ended; what waits for it would wait for ever.
        """
        progress = self._submissions.progress(slurm)
        if progress is None or not progress["ended"]:
            self._ended.pop(slurm, None)
            return False
        return time.monotonic() - self._ended.setdefault(slurm, time.monotonic()) > FORGOTTEN

    def _say_why_they_wait(self) -> None:
        """Once for every reason that time alone may not remove."""
        waiting: dict[str, list[str]] = {}
        for slurm, state in self._states.items():
            if state.name == "PENDING" and state.reason not in ORDINARY:
                waiting.setdefault(state.reason, []).append(slurm)
        for reason in waiting.keys() - self._told:
            self._told.add(reason)
            self._view.note(
                f"waiting in the queue: {reason} ({', '.join(waiting[reason][:5])}); if the cluster cannot do what is "
                f"asked for: harness cancel {self._submitter.suite}"
            )

    def _lost(self, element: Element, left: Sequence[str], state: State) -> None:
        """A SLURM job has ended and left something undone: try again, or say why not."""
        if state.name == "CANCELLED" and not self._victim(element):
            for name in left:
                message = f"SLURM job {element.slurm} was cancelled"
                self._fail(name, {"type": "Cancelled", "message": message}, record=False)
            return
        progress = self._submissions.progress(element.slurm) or {"jobs": []}
        running = {row["id"] for row in progress["jobs"]} & set(left)
        if not running and self._too_early(left):
            return
        hungry = state.name == "OUT_OF_MEMORY" or self._ran_out_of_memory(element)
        for name in running or left[:1]:
            reached = self._stages.reached(name)
            if self._reached.get(name, "") != reached:
                self._losses[name] = 0
            self._reached[name] = reached
            self._losses[name] += 1
            said = f"SLURM job {element.slurm} ended as {state}"
            if hungry:
                said += f": it needs more than it asked for; raise slurm.mem ({self._log(element)})"
                self._fail(name, {"type": "OutOfMemory", "message": said})
            elif self._losses[name] > self._submitter.options.retries:
                said += f", the last of {self._losses[name]} times ({self._log(element)})"
                self._fail(name, {"type": "JobLost", "message": said})
            else:
                self._view.note(f"{self._jobs[name].label}: {said}; trying again from its last checkpoint")

    def _too_early(self, left: Sequence[str]) -> bool:
        """Whether something was missing that another job has to make; it is handed in again behind that one.

        SLURM starts what waits for an element of an array that was cancelled before it ran.
        """
        return any(need in self._open and need not in left for name in left for need in self._jobs[name].needs)

    def _ran_out_of_memory(self, element: Element) -> bool:
        """Whether the log says so: of what srun starts, SLURM's state does not."""
        try:
            with self._submissions.log(element.slurm).open("rb") as log:
                log.seek(max(0, log.seek(0, 2) - 4000))
                end = log.read().decode(errors="replace")
        except OSError:
            return False
        return re.search(r"oom-kill event|Out Of Memory|exceeded memory limit", end) is not None

    def _victim(self, element: Element) -> bool:
        """Whether SLURM cancelled it because something that it waits for did not succeed."""
        state = self._states.get(element.slurm)
        if state is not None and "Dependency" in state.reason:
            return True
        before = slurm_queue.states(element.after)
        return any(not s.live and s.name != "COMPLETED" for s in before.values())

    def _log(self, element: Element) -> str:
        return f"log: {self._submissions.log(element.slurm)}"

    def _fail(self, name: str, failure: Mapping[str, Any], record: bool = True) -> None:
        """Also fails what waits for it."""
        if name not in self._open:
            return
        del self._open[name]
        job = self._jobs[name]
        failure = {"traceback": "", "step": None, "label": job.label, **failure}
        self._own_failures += "cause" not in failure
        self.outcome.failures[name] = failure
        if record:
            self._submissions.fail(name, failure)
        if record or not isinstance(job.work, PlannedCell):
            self._view.failed(job, failure)
        for dependent in self._dependents.get(name, ()):
            same = self._jobs[dependent].work.cell is job.work.cell
            self._fail(dependent, blocked(failure, same), record)

    def _closing(self) -> bool:
        return self._max_failures is not None and self._own_failures >= self._max_failures
