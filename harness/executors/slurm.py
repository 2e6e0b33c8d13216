"""Runs jobs on a SLURM cluster, through submitit."""

from __future__ import annotations

from collections.abc import Sequence

from harness.executors.base import Executor, Job, Outcome, View
from harness.executors.dispatch import Dispatch
from harness.executors.submitter import Submitter


class SlurmExecutor(Executor):
    """Hands jobs in as arrays that wait for each other, and follows them.

    What it knows is in files (:class:`Submissions`) and in SLURM: it may be killed at any time, and another one goes
    on. What is queued or runs already is not handed in again.

    Args:
        submitter: hands jobs in.
        detach: whether to return as soon as everything has been handed in.
    """

    def __init__(self, submitter: Submitter, detach: bool = False) -> None:
        self.submitter = submitter
        self.detach = detach

    def run(self, jobs: Sequence[Job], view: View, max_failures: int | None = None) -> Outcome:
        """Run all jobs. Ctrl-C ends only this call: what was handed in goes on.

        Raises:
            UserError: if there is no SLURM here.
            HarnessError: if SLURM does not answer at the beginning.
        """
        suite = self.submitter.suite
        dispatch = Dispatch(self.submitter, jobs, view, max_failures, self.detach)
        try:
            dispatch.begin()
            if not self.detach:
                dispatch.follow()
        except KeyboardInterrupt:
            dispatch.outcome.interrupted = True
            view.note(
                f"no longer watching; the SLURM jobs go on. harness status {suite} shows them, "
                f"harness cancel {suite} ends them, the same command watches them again"
            )
        return dispatch.outcome
