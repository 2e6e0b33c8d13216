"""Hands jobs in to SLURM, through submitit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.executors.base import Job
from harness.executors.job_batches import Batch, pack
from harness.executors.slurm_job import SlurmJob
from harness.executors.submissions import Element, Submissions
from harness.suites.slurm_options import Request, SlurmOptions


class Submitter:
    """How jobs of a suite are handed in.

    Args:
        results: the results folder, which the nodes see under the same path.
        suite: its name.
        options: what to ask of the cluster.
        seconds: expected time per stage hash.
        plugins: single-file plugins.
        checkpoint_seconds: time between checkpoints of a running stage.
    """

    def __init__(
        self,
        results: Path,
        suite: str,
        options: SlurmOptions,
        seconds: Mapping[str, float],
        plugins: Sequence[Path] = (),
        checkpoint_seconds: float = 300,
    ) -> None:
        self.results = results
        self.suite = suite
        self.options = options
        self.plugins = tuple(path.resolve() for path in plugins)
        self.checkpoint_seconds = checkpoint_seconds
        self._seconds = seconds

    def batches(self, jobs: Sequence[Job], outside: Mapping[str, str]) -> list[Batch]:
        """The jobs as they are handed in; ``outside`` are SLURM's ids of what they may wait for."""
        return pack(jobs, self.options.request, self._seconds, 60 * self.options.min_job_minutes, outside)

    def submit(self, request: Request, batches: Sequence[Batch], after: Sequence[str]) -> list[Element]:
        """Hand in batches that ask for the same and wait for the same, as one array.

        Raises:
            HarnessError: with what ``sbatch`` says.
        """
        import submitit

        submissions = Submissions(self.results / ".work", self.suite)
        threads = max(job.work.cell.training.threads for batch in batches for job in batch.jobs)
        workers = request.cells_per_gpu or 1
        executor = submitit.SlurmExecutor(submissions.logs, max_num_timeout=1_000_000)
        executor.update_parameters(**self._parameters(request, after, request.cpus or threads * workers))
        settings: dict[str, Any] = {
            "results": self.results,
            "suite": self.suite,
            "plugins": self.plugins,
            "processes": request.processes,
            "workers": workers,
            "checkpoint_seconds": self.checkpoint_seconds,
            "attempts": self.options.retries + 1,
            "signal_seconds": self.options.signal_seconds,
        }
        try:
            with redirect_stderr(StringIO()), executor.batch():  # submitit prints what it then raises
                handed = [executor.submit(SlurmJob.pack(batch.jobs, **settings)) for batch in batches]
        except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
            for pattern in ("[0-9a-f]" * 32 + ".pkl", ".submission_file_*.sh"):
                for left in submissions.logs.glob(pattern):  # what is handed in has names with its id
                    left.unlink(missing_ok=True)
            raise HarnessError(_said(str(error))) from error
        elements = [
            Element(job.job_id, tuple(one.id for one in batch.jobs), tuple(after), request.minutes)
            for job, batch in zip(handed, batches, strict=True)
        ]
        submissions.add(elements)
        return elements

    def _parameters(self, request: Request, after: Sequence[str], cpus: int) -> dict[str, Any]:
        """Submitit's names for what is asked."""
        more: dict[str, Any] = {"kill-on-invalid-dep": "yes", "requeue": True}
        more |= {key: value for key, value in (request.sbatch or {}).items() if value is not False}
        # srun of newer versions does not look at what sbatch was asked for.
        srun = [f"--cpus-per-task={cpus}"]
        if request.processes > 1:
            srun.append("--kill-on-bad-exit=1")
        return {
            "job_name": f"harness-{self.suite}",
            "partition": request.partition,
            "account": request.account,
            "qos": request.qos,
            "constraint": request.constraint,
            "time": request.minutes,
            "nodes": request.nodes or 1,
            "ntasks_per_node": request.processes_per_node,
            "cpus_per_task": cpus,
            "gpus_per_node": request.gpus_per_node or None,
            "mem": request.mem,
            "setup": request.setup,
            "signal_delay_s": self.options.signal_seconds,
            "array_parallelism": self.options.array_parallelism,
            "dependency": f"afterok:{':'.join(after)}" if after else None,
            "additional_parameters": more,
            "srun_args": srun,
            "stderr_to_stdout": True,
            "wckey": None,
        }


def _said(text: str) -> str:
    """What ``sbatch`` printed in one line: its own lines where there are some, and its name once."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line.startswith("sbatch: ")] or lines
    return "; ".join([*lines[:1], *(line.removeprefix("sbatch: error: ") for line in lines[1:])])
