"""What the committed suites promise in their comments."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from harness.registry.plugins import load
from harness.results.store import LeftOut, ResultStore
from harness.suites.cell import Cell
from harness.suites.suite import load_suite

ROOT = Path(__file__).parents[2]
TUNED = ("ndna_mnist", "ndna_fashion_transfer")


def split(cell: Cell) -> tuple[int, int]:
    """Steps of training and of recovery."""
    return cell.steps, cell.method_part.options.model_dump()["recovery_steps"]


@pytest.fixture(params=TUNED)
def pruned(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[Cell]]:
    """A suite's name and its cells of magnitude pruning."""
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    suite = load_suite(ROOT / f"suites/{request.param}.yaml", load([]), dry=True)
    return request.param, [cell for cell in suite.cells if cell.method_part.plugin == "magnitude"]


def test_the_split_of_magnitude_is_one_of_three_of_equal_cost_on_seeds_that_are_not_reported(pruned) -> None:
    _, cells = pruned
    tried = [cell for cell in cells if cell.experiment == "tuning"]
    used = [cell for cell in cells if cell.experiment != "tuning"]
    splits = {split(cell) for cell in tried}
    assert len(splits) == 3 and {sum(of) for of in splits} == {10_743}
    assert len({split(cell) for cell in used}) == 1 and split(used[0]) in splits
    assert {cell.seed for cell in tried} == {100, 101} and not {cell.seed for cell in used} & {100, 101}
    assert {cell.evaluation.select for cell in tried} == {"final"}


def test_the_split_of_magnitude_is_the_best_on_validation_data(pruned) -> None:
    name, cells = pruned
    tried = {(cell.method, cell.seed): split(cell) for cell in cells if cell.experiment == "tuning"}
    store = ResultStore(ROOT / "results")
    scores: dict[tuple[int, int], list[float]] = {}
    found = set()
    for record in store.records(name):
        if isinstance(record, LeftOut) or record.status != "done" or record.experiment != "tuning":
            continue
        series = store.series(name, record.cell)
        assert series is not None
        last = max((row for row in series.evaluations if row.split == "validation"), key=lambda row: row[:2])
        found.add((record.method.label, record.seed))
        scores.setdefault(tried[record.method.label, record.seed], []).append(last.scores["accuracy"])
    if found != tried.keys():
        pytest.skip(f"results/{name} does not have the cells of `tuning` yet: run suites/{name}.yaml")
    best = max(scores, key=lambda of: fmean(scores[of]))
    assert {split(cell) for cell in cells if cell.experiment != "tuning"} == {best}
