"""Records of renamed methods, and of those that are matched to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from result_files import small_record, write_plan, write_record

from harness.analysis.comparison import compare
from harness.analysis.frame import load
from harness.core.examples import Examples
from harness.results.cell_record import CellRecord
from harness.results.packing import pack
from harness.results.store import ResultStore


def records(root: Path, method: str, matched: str) -> ResultStore:
    """Two densities of ``method``, and random masks whose records name the cells of ``matched``, by one hash."""
    store, cells = ResultStore(root), []
    for number, density in enumerate((0.3, 0.1)):
        kept = {"scope": "maskable", "mask": density, "nonzero": density}
        for seed in range(2):
            digest = f"{number}{seed}"
            cell, other = (
                f"main.mlp.digits.{method}.d{density}.s{seed}.a{digest}",
                f"main.mlp.digits.random.s{seed}.b{digest}",
            )
            match = {"cell": f"main.mlp.digits.{matched}.d{density}.s{seed}.a{digest}", "by": "hard"}
            write_record(store, small_record("small", cell, method, seed, 0.9, density={**kept, "requested": density}))
            write_record(store, small_record("small", other, "random", seed, 0.8, density={**kept, "match": match}))
            cells += [cell, other]
    write_plan(store, "small", {"suite": "small", "cells": cells})
    return store


def test_a_control_follows_the_method_that_it_is_matched_to_under_its_new_name(tmp_path: Path) -> None:
    frame, left = load(records(tmp_path, "magnitude", "mag"))
    assert left == [] and len(frame) == 8
    assert set(frame.loc[frame["method"] == "random", "match"]) == {"magnitude 0.3, hard", "magnitude 0.1, hard"}


def test_controls_of_what_is_gone_stay_apart(tmp_path: Path) -> None:
    store = records(tmp_path, "magnitude", "magnitude")
    plan = store.plan("small")
    assert plan
    write_plan(store, "small", {"suite": "small", "cells": [cell for cell in plan.cells if "random" in cell]})
    frame, _ = load(store)
    assert len(frame) == 4
    assert set(frame["match"]) == {f"main.mlp.digits.magnitude.d{density}, hard" for density in (0.3, 0.1)}


def test_controls_of_what_is_damaged_stay_in_their_row(tmp_path: Path) -> None:
    store = records(tmp_path, "magnitude", "magnitude")
    whole = load(store)[0]
    store.file("small", "cells", "main.mlp.digits.magnitude.d0.3.s1.a01").path.write_text('{"schema": "two"}')
    frame, _ = load(store)
    controls = [of.loc[of["method"] == "random", ["cell", "match", "density_asked"]] for of in (whole, frame)]
    assert len(frame) == len(whole) - 1 and controls[0].equals(controls[1].set_axis(controls[0].index))


def test_a_renamed_cell_is_found_by_its_hash(tmp_path: Path) -> None:
    store = records(tmp_path, "magnitude", "mag")
    now = "main.mlp.digits.magnitude.d0.3.s1.a01"
    assert store.renamed("small", "main.mlp.digits.mag.d0.3.s1.a01") == now == store.renamed("small", now)
    assert store.renamed("small", "main.mlp.digits.mag.d0.3.s1.ffff") == "main.mlp.digits.mag.d0.3.s1.ffff"


@pytest.mark.parametrize(
    "other",
    [
        {"training": {"steps": 250}},
        {"spent": {"steps": 350}},  # what it goes on from was trained longer
        {"method": {"label": "rigl", "plugin": "rigl", "version": "1", "options": {"interval": 5}}},
        {"seed": 0},
    ],
)
def test_a_row_is_never_made_of_two_programs_where_no_plan_says_which_counts(
    tmp_path: Path, other: dict[str, object]
) -> None:
    """Seeds 0 and 1 of before and seed 2 of the present suite: as well a row by its labels."""
    store, plan = ResultStore(tmp_path), tmp_path / "s" / "suite.json"
    for seed in range(2):
        write_record(store, small_record("s", f"dense{seed}", "dense", seed, 0.9))
        write_record(store, small_record("s", f"rigl{seed}", "rigl", seed, 0.8, training={"steps": 100}))
    record = small_record("s", "rigl2", "rigl", 2, 0.8, training={"steps": 100})
    write_record(store, record | other)
    write_plan(store, "s", {"suite": "s", "cells": ["dense0", "dense1", "rigl2"]})
    assert sorted(load(store)[0]["cell"]) == ["dense0", "dense1", "rigl2"]

    plan.unlink()
    frame, left = load(store)
    assert sorted(frame["cell"]) == ["dense0", "dense1"]
    assert [item.cell for item in left if item.cell] == ["rigl0", "rigl1", "rigl2"]
    assert all("suite.json is" in item.reason and "run the suite again" in item.reason for item in left if item.cell)
    assert all(item.cell for item in left)

    plan.write_text('{"cells": ')
    frame, (damaged,) = load(store)
    assert frame.empty and damaged.path == plan


def test_rows_of_one_program_are_counted_without_a_plan(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for seed in range(3):
        write_record(store, small_record("s", f"rigl{seed}", "rigl", seed, 0.8, training={"steps": 100}))
    frame, left = load(store)
    assert len(frame) == 3 and left == []


@pytest.mark.parametrize("packed", [False, True])
def test_lost_results_by_example_are_told_and_the_cells_are_counted(tmp_path: Path, packed: bool) -> None:
    store, values = ResultStore(tmp_path), np.random.default_rng(0).random((3, 50))
    for seed, own in enumerate(values):
        kept = store.write_examples("s", f"a{seed}", {"accuracy": Examples(own)})
        record = CellRecord.model_validate(small_record("s", f"a{seed}", "a", seed, float(own.mean())) | {"schema": 2})
        store.write(record.model_copy(update={"examples": kept}))
    assert load(store)[1] == [] and compare(load(store)[0])[0].over == "seeds and examples"
    if packed:
        pack(store, "s")
    path = store.file("s", "examples", "a1").where
    path.write_bytes(path.read_bytes()[:30])
    frame, left = load(ResultStore(tmp_path))
    assert sorted(frame["cell"]) == ["a0", "a1", "a2"] and compare(frame)[0].over == "seeds"
    (lost,) = left  # once, whatever is in an archive
    assert lost.path == path and lost.cell is None
    assert "over seeds alone" in lost.reason and "from version control" in lost.reason


def test_scores_of_validation_stand_beside_those_of_the_test(tmp_path: Path) -> None:
    """What may choose among rows; without such data it is not known, whatever the test says."""
    store = ResultStore(tmp_path)
    one = small_record("small", "main.mlp.digits.dense.s0.a0", "dense", 0, 0.9)
    metric = {**one["metrics"]["accuracy"], "value": 0.7, "split": "validation"}
    write_record(store, {**one, "validation": {"accuracy": metric}})
    write_record(store, small_record("small", "main.mlp.digits.dense.s1.a1", "dense", 1, 0.8))
    frame, _ = load(store)
    assert frame.sort_values("seed")[["value", "validation"]].to_numpy().ravel() == pytest.approx(
        [0.9, 0.7, 0.8, np.nan], nan_ok=True
    )
