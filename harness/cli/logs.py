"""``harness logs``: what the SLURM jobs of a cell wrote."""

from __future__ import annotations

import time
from pathlib import Path

import click

EXAMPLES = """\b
Examples:
  harness logs genome.s0
  harness logs quickstart/digits.skip_mlp.digits.genome.s0 -f
"""
_LOOK = 0.5


@click.command(epilog=EXAMPLES, short_help="Show the logs of a run's SLURM jobs.")
@click.argument("cell", metavar="RUN")
@click.option("-f", "--follow", is_flag=True, help="Wait for more, until the run has a result or Ctrl-C.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def command(cell: str, follow: bool, results: Path) -> None:
    """Show what the SLURM jobs of RUN wrote, oldest first; of a run that is not done, what it waits for as well."""
    from harness.cli.find import find_cell
    from harness.errors import UserError
    from harness.executors.completion import Completion
    from harness.executors.submissions import Submissions
    from harness.results.store import ResultStore

    store = ResultStore(results)
    suite, name = find_cell(store, cell)
    submissions = Submissions(store.work, suite)
    elements = submissions.elements()
    wanted = {element.slurm for element in elements if name in element.jobs}
    if not wanted:
        raise UserError(f"{suite}/{name} was never handed in to SLURM; the failures of local runs are in harness show")
    for element in reversed(elements):
        if element.slurm in wanted:
            wanted.update(element.after)
    told = {element.slurm: 0 for element in elements if element.slurm in wanted}
    last = ""
    while True:
        for slurm in told:
            path = submissions.log(slurm)
            text = path.read_bytes()[told[slurm] :] if path.is_file() else b""
            if text:
                if last != slurm and len(told) > 1:
                    click.echo(f"==> {path} <==")
                last = slurm
                told[slurm] += len(text)
                click.echo(text.decode(errors="replace"), nl=False)
        record = store.read(suite, name)
        if not follow or Completion.of_record(record).settled:
            break
        time.sleep(_LOOK)
    if not any(told.values()):
        click.echo(f"nothing yet from SLURM jobs {', '.join(told)}", err=True)
