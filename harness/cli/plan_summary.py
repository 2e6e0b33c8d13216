"""What a plan is and takes, in lines: before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from harness.cli import show_warnings
from harness.executors.cost import REFERENCE, Cost, estimate
from harness.executors.planning import Plan, summary
from harness.executors.shortage import shortage_in_jobs, shortage_of_disk, shortage_of_memory
from harness.formatting import count, duration
from harness.machine import gpus

if TYPE_CHECKING:
    from rich.console import Console

    from harness.results.store import ResultStore
    from harness.suites.slurm_options import SlurmOptions
    from harness.suites.suite import Suite


def cost_of(suite: Suite, plan: Plan, store: ResultStore, here: bool, timed: bool = False) -> Cost | None:
    """About what it takes, ``here`` or on a cluster; None where nothing is to be trained.

    ``timed`` takes some seconds to try what nothing is known of: where nobody waits for a run to begin.
    """
    if not plan.steps:
        return None
    from harness.training.distributed import Substrate

    return estimate(plan, suite, store, Substrate.detect().device if here else None, timed)


def show_plan(
    console: Console,
    suite: Suite,
    plan: Plan,
    store: ResultStore,
    cost: Cost | None,
    workers: int,
    options: SlurmOptions | None,
    unplanned: int = 0,
) -> None:
    """Say what will run, about what it takes, and what there may be too little of, a line each."""
    lines = list(summary(plan.graph, plan, unplanned))
    if suite.pending:
        lines.append(waiting(suite))
    if plan.damaged:
        damaged = f"{', '.join(map(str, plan.damaged[:3]))}{' ...' if len(plan.damaged) > 3 else ''}"
        lines.append(f"{count(len(plan.damaged), 'stage')} to be run again, damaged or of an older version: {damaged}")
    if cost is not None:
        name, _, efficiency = REFERENCE
        lines.append(f"about {cost.tokens:.2e} training tokens or examples, {cost.flops:.1e} FLOPs")
        if cost.gpu_hours >= 1:
            lines.append(f"about {cost.gpu_hours:,.0f} GPU-hours on {name} at {efficiency:.0%}")
        if options is None and cost.guessed:
            lines.append("how long it takes is not known yet: no such network was timed here")
        elif options is None:
            taken, on = duration(cost.seconds(workers)), count(workers, "worker")
            lines.append(f"about {taken} on {on} here (from {cost.basis})")
        lines.append(f"about {cost.disk_bytes / 1e6:,.0f} MB of stages in {store.work}")
    for indent, line in zip([f"{suite.name}: ", *["  "] * len(lines)], lines, strict=False):
        console.print(Text.assemble((indent, "bold"), line), soft_wrap=True)
    if cost is not None:
        show_warnings(shortage_of_disk(cost, store.work, workers))
        show_warnings(shortage_in_jobs(cost, plan, options) if options else shortage_of_memory(cost, workers, gpus()))


def waiting(suite: Suite) -> str:
    """``12 cells wait for the trials of dense and random, which choose their settings``."""
    from harness.report.answers import few  # brings pandas and scipy, which workers need not wait for

    methods = sorted({cell.method for cell in suite.pending if cell.tuned not in suite.choices})
    whose = few(methods) if methods else "methods that they refer to"
    return f"{count(len(suite.pending), 'run')} wait for the trials of {whose}, which choose their settings"
