"""``harness cancel``: end SLURM jobs."""

from __future__ import annotations

from pathlib import Path

import click

EXAMPLES = """\b
Examples:
  harness cancel quickstart
  harness cancel quickstart/digits.skip_mlp.digits.genome.s0
"""


@click.command(epilog=EXAMPLES, short_help="End the SLURM jobs of a suite or a run.")
@click.argument("what", metavar="SUITE|RUN")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def command(what: str, results: Path) -> None:
    """End the SLURM jobs of a SUITE or a RUN; running stages write a checkpoint first.

    Jobs that other runs need as well are left alone when a RUN is named. Nothing finished is lost: harness run
    goes on from there.
    """
    from harness.cli.find import find_cell, find_suite, is_file
    from harness.executors import slurm_queue
    from harness.executors.submissions import Submissions
    from harness.formatting import count
    from harness.results.store import ResultStore

    store = ResultStore(results)
    if what in store.suites() or is_file(what):
        suite, cells = find_suite(store, what), None
    else:
        suite, name = find_cell(store, what)
        cells = {name}
    submissions = Submissions(store.work, suite)
    elements = submissions.elements()
    states = slurm_queue.states(element.slurm for element in elements)
    live = [element for element in elements if element.slurm in states and states[element.slurm].live]
    if cells is not None:
        plan = store.plan(suite)
        records = set(plan.cells if plan else ())
        touching = [element for element in live if cells & set(element.jobs)]
        shared = [element for element in touching if set(element.jobs) & (records - cells)]
        live = [element for element in touching if element not in shared]
        for element in shared:
            others = sorted(set(element.jobs) & (records - cells))
            click.echo(f"left alone: SLURM job {element.slurm} also does {', '.join(others[:5])}", err=True)
    for element in live:
        submissions.cancel(element.slurm)
    slurm_queue.cancel([element.slurm for element in live])
    click.echo(f"cancelled: {count(len(live), 'SLURM job')}" if live else "no SLURM job to cancel")
