"""The cells of a report: what each is called, and where its other files are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from harness.results.store import Record

_HASH = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True)
class Cell:
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
    frame: pd.DataFrame, numbers: Mapping[tuple[str, str], int], records: Mapping[tuple[str, str], Record]
) -> list[Cell]:
    """Every counted cell of a frame, in the frame's order.

    Args:
        frame: as :func:`harness.analysis.frame.load` returns it.
        numbers: (suite, cell) -> number of its record in the page.
        records: (suite, cell) -> at least ``stages`` and ``program`` of its record.
    """
    found = []
    columns = ("suite", "cell", "experiment", "architecture", "trained_on", "benchmark", "method", "match")
    names = [*columns, "density_requested", "seed", "density_mask"]
    for values in frame.drop_duplicates(["suite", "cell"])[names].itertuples(index=False, name=None):
        suite, cell, experiment, architecture, trained_on, benchmark, method, match = map(str, values[:8])
        asked, seed, density = values[8:]
        wanted = f" as {match}" if match else "" if asked != asked else f" {asked:g}"
        row, key = method + wanted, (suite, cell)
        stage, phases = stage_and_phases(records.get(key, {}))
        run = (suite, experiment, architecture, trained_on, row)
        found.append(
            Cell(suite, cell, run, benchmark, method, row, int(seed), float(density), numbers.get(key), stage, phases)
        )
    return found


def networks(found: Iterable[Cell]) -> dict[str, list[Cell]]:
    """One cell for each network, grouped by run, each group in order of seeds; runs go by their titles."""
    seen: dict[tuple[str, str], Cell] = {}
    for cell in found:
        seen.setdefault((cell.suite, cell.stage or cell.name), cell)
    groups: dict[tuple[str, ...], list[Cell]] = {}
    # By run, not by density: a run matched to another has a density of its own for each seed.
    for cell in sorted(seen.values(), key=lambda cell: (cell.run[:4], -cell.density, cell.row, cell.seed, cell.name)):
        groups.setdefault(cell.run, []).append(cell)
    return {title(run): sorted(group, key=lambda cell: (cell.seed, cell.name)) for run, group in groups.items()}


def evaluations(found: Iterable[Cell]) -> dict[str, list[Cell]]:
    """All cells that evaluate equal architectures on one benchmark, by seed, then from dense to sparse."""
    groups: dict[str, list[Cell]] = {}
    for cell in sorted(found, key=lambda cell: (cell.seed, -cell.density, cell.row, cell.name)):
        suite, experiment, architecture, _, _ = cell.run
        groups.setdefault(title((suite, experiment, architecture, cell.benchmark)), []).append(cell)
    return dict(sorted(groups.items()))


def title(names: tuple[str, ...]) -> str:
    """``suite: experiment, architecture on data, row``."""
    suite, experiment, architecture, data, *row = names
    return f"{suite}: " + ", ".join(filter(None, (experiment, f"{architecture} on {data}", *row)))


def stage_and_phases(record: Record) -> tuple[str | None, tuple[str, ...]]:
    """Last stage and phases of a record, whatever is in it."""
    stages, program = record.get("stages"), record.get("program")
    last = stages[-1] if isinstance(stages, list) and stages else None
    phases = program if isinstance(program, list) else []
    names = tuple(str(phase.get("type") or "phase") if isinstance(phase, dict) else "phase" for phase in phases)
    return (last if isinstance(last, str) and _HASH.fullmatch(last) else None), names
