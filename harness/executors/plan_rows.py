"""A plan in rows: a method at a density each, over all seeds and benchmarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from harness.executors.planning import Plan
from harness.stages.graph import PlannedCell

MANY = 40
"""With more rows than this, the densities of a method share one."""


@dataclass(frozen=True, slots=True)
class PlanRow:
    """Cells that differ in seed and benchmark, and perhaps in density.

    Attributes:
        benchmarks: on which they are tested, in order.
        trained_on: where that is another one than they are tested on.
        densities: as asked for, of them or of the cells whose density they take; empty where methods decide.
        as_method: the method whose cells decide the density; None if no cell does.
        seeds, cells, finished: numbers of them.
        trials: of a tuning that the cells are; 0 for those that are reported.
        steps: least and most optimizer steps of a cell's whole program.
        stages, shared: all stages that the cells need; those that other rows need too.
        seconds: about how long one worker takes for what is to run, each stage in the first row that waits for it.
    """

    experiment: str
    architecture: str
    benchmarks: tuple[str, ...]
    trained_on: str
    method: str
    densities: tuple[float, ...]
    as_method: str | None
    seeds: int
    cells: int
    finished: int
    trials: int
    steps: tuple[int, int]
    stages: int
    shared: int
    seconds: float


def plan_rows(plan: Plan, seconds: Mapping[str, float]) -> list[PlanRow]:
    """The selected cells of a plan, in order of the suite; ``seconds`` by job that is to run."""
    groups = _grouped(plan.selected, by_density=True)
    if len(groups) > MANY:
        groups = _grouped(plan.selected, by_density=False)
    uses = Counter(name for cells in groups for name in {stage.hash for one in cells for stage in one.stages})
    finished = {planned.id for planned in plan.finished}
    counted: set[str] = set()
    rows = []
    for cells in groups:
        first = cells[0].cell
        stages = {stage.hash for one in cells for stage in one.stages}
        left = {stage.hash for one in cells if one.id not in finished for stage in one.stages} - counted
        steps = [one.steps for one in cells]
        rows.append(
            PlanRow(
                experiment=first.tuned.experiment,
                architecture=first.architecture,
                benchmarks=tuple(dict.fromkeys(one.cell.benchmark for one in cells)),
                trained_on=first.training_part.label,
                method=first.method,
                densities=tuple(dict.fromkeys(one.cell.density for one in cells if one.cell.density is not None)),
                as_method=first.match.method if first.match else None,
                seeds=len({one.cell.seed for one in cells}),
                cells=len(cells),
                finished=sum(one.id in finished for one in cells),
                trials=len({one.cell.trial.number for one in cells if one.cell.trial}),
                steps=(min(steps), max(steps)),
                stages=len(stages),
                shared=sum(uses[name] > 1 for name in stages),
                seconds=sum(seconds.get(name, 0.0) for name in [*left, *(one.id for one in cells)]),
            )
        )
        counted |= left
    return rows


def _grouped(cells: list[PlannedCell], by_density: bool) -> list[list[PlannedCell]]:
    groups: dict[tuple[object, ...], list[PlannedCell]] = {}
    for one in cells:
        cell = one.cell
        density = cell.density if by_density else None
        key = (cell.tuned.experiment, cell.trial is None, cell.architecture, cell.method, density)
        groups.setdefault(key, []).append(one)
    return list(groups.values())
