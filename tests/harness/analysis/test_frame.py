"""Records of renamed methods, and of those that are matched to them."""

from __future__ import annotations

from pathlib import Path

from result_files import small_record, write_plan, write_record

from harness.analysis.frame import load
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


def test_a_renamed_cell_is_found_by_its_hash(tmp_path: Path) -> None:
    store = records(tmp_path, "magnitude", "mag")
    now = "main.mlp.digits.magnitude.d0.3.s1.a01"
    assert store.renamed("small", "main.mlp.digits.mag.d0.3.s1.a01") == now == store.renamed("small", now)
    assert store.renamed("small", "main.mlp.digits.mag.d0.3.s1.ffff") == "main.mlp.digits.mag.d0.3.s1.ffff"
