"""The cells of a report: what each is called, and where its other files are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from harness.analysis.result_row import asked, from_frame
from harness.results.cell_record import CellRecord


@dataclass(frozen=True, slots=True)
class CountedCell:
    """A counted cell.

    Attributes:
        run: what trained the network, without its seed: suite, experiment, architecture, training data, row.
        row: method and what density it was asked for, as the leaderboard names the row; ``method`` is its label.
        number: of its record in the page; None if the record is not embedded.
        stage: hash of its last stage, which names its masks; None if the record has none.
        phases: names of the program's phases, in order.
    """

    suite: str
    name: str
    run: tuple[str, ...]
    benchmark: str
    method: str
    row: str
    seed: int
    density: float
    number: int | None
    stage: str | None
    phases: tuple[str, ...]


def cells(
    frame: pd.DataFrame, numbers: Mapping[tuple[str, str], int], records: Mapping[tuple[str, str], CellRecord]
) -> list[CountedCell]:
    """Every counted cell of a frame, in the frame's order.

    Args:
        frame: as :func:`harness.analysis.frame.load` returns it.
        numbers: (suite, cell) -> number of its record in the page.
        records: (suite, cell) -> its record, if the page has it.
    """
    found = []
    for one in from_frame(frame.drop_duplicates(["suite", "cell"])):
        wanted = f" as {one.match}" if one.match else f" {asked(one.density_requested)}".rstrip()
        row, key = one.method + wanted, (one.suite, one.cell)
        record = records.get(key)
        found.append(
            CountedCell(
                suite=one.suite,
                name=one.cell,
                run=(one.suite, one.experiment, one.architecture, one.trained_on, row),
                benchmark=one.benchmark,
                method=one.method,
                row=row,
                seed=one.seed,
                density=one.density_mask,
                number=numbers.get(key),
                stage=record.network if record else None,
                phases=tuple(phase.type for phase in record.program) if record else (),
            )
        )
    return found


def networks(found: Iterable[CountedCell]) -> dict[str, list[CountedCell]]:
    """One cell for each network, grouped by run, each group in order of seeds; runs go by their titles."""
    seen: dict[tuple[str, str], CountedCell] = {}
    for cell in found:
        seen.setdefault((cell.suite, cell.stage or cell.name), cell)
    groups: dict[tuple[str, ...], list[CountedCell]] = {}
    # By run, not by density: a run matched to another has a density of its own for each seed.
    for cell in sorted(seen.values(), key=lambda cell: (cell.run[:4], -cell.density, cell.row, cell.seed, cell.name)):
        groups.setdefault(cell.run, []).append(cell)
    return {title(run): sorted(group, key=lambda cell: (cell.seed, cell.name)) for run, group in groups.items()}


def evaluations(found: Iterable[CountedCell]) -> dict[str, list[CountedCell]]:
    """All cells that evaluate equal architectures on one benchmark, by seed, then from dense to sparse."""
    groups: dict[str, list[CountedCell]] = {}
    for cell in sorted(found, key=lambda cell: (cell.seed, -cell.density, cell.row, cell.name)):
        suite, experiment, architecture, _, _ = cell.run
        groups.setdefault(title((suite, experiment, architecture, cell.benchmark)), []).append(cell)
    return dict(sorted(groups.items()))


def title(names: tuple[str, ...]) -> str:
    """``suite: experiment, architecture on data, row``."""
    suite, experiment, architecture, data, *row = names
    return f"{suite}: " + ", ".join(filter(None, (experiment, f"{architecture} on {data}", *row)))
