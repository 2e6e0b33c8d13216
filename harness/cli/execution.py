"""Running a plan's jobs, shown as they run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.cli.live import RunView
from harness.executors.base import Executor, Job, Outcome
from harness.executors.planning import Plan
from harness.registry.plugins import Registry
from harness.results.record import failed
from harness.results.store import ResultStore
from harness.stages.graph import PlannedCell
from harness.suites.cell import Part
from harness.suites.suite import Suite


def prepare_data(suite: Suite, plan: Plan) -> None:
    """Data that is missing ends a run before it begins; what can be built from what is there is built once, here."""
    for part, _ in lacking(suite, plan):
        with part.files.explained():
            suite.benchmark(part).prepare(download=False)


def lacking(suite: Suite, plan: Plan) -> list[tuple[Part, list[Path]]]:
    """The benchmarks that a plan's jobs need, and their files that are not there."""
    cells = [job.work.cell for job in plan.jobs]
    parts = {suite.benchmark(part): part for cell in cells for part in (cell.training_part, cell.benchmark_part)}
    missing = [(part, [path for path in bench.files() if not path.exists()]) for bench, part in parts.items()]
    return [(part, paths) for part, paths in missing if paths]


def execute(
    executor: Executor,
    console: Console,
    plan: Plan,
    store: ResultStore,
    registry: Registry,
    seconds: Mapping[str, float],
    max_failures: int | None,
    beats: bool,
) -> Outcome:
    """Run the plan's jobs; where nobody else does, this process ``beats`` to tell other terminals what runs."""

    class RecordingView(RunView):
        """Also writes the record of each failed cell at once."""

        def failed(self, job: Job, failure: Mapping[str, Any]) -> None:
            if isinstance(job.work, PlannedCell):
                store.write(failed(job.work, registry, failure))
            super().failed(job, failure)

    told = (store.work, plan.selected[0].cell.suite) if beats else None
    with RecordingView(console, plan.jobs, seconds, told).showing() as view:
        return executor.run(plan.jobs, view, max_failures)
