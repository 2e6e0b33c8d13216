"""Which cells of two folders are the same, and what is said of each."""

from __future__ import annotations

from typing import Any

import pytest
from result_files import small_record

from harness.results.cell_pairs import CellPair, Fate, cell_pairs
from harness.results.cell_record import CellRecord
from harness.results.upgrading import upgrade

MACHINE = {"device": "cpu", "device_name": "X", "machine": "m", "cpu_capability": "AVX2", "torch": "2.6", "threads": 1}


def record(end: str = "00", seed: int = 0, value: float = 0.9, method: str = "dense", **changes: Any) -> CellRecord:
    cell = f"main.mlp.digits.{method}.s{seed}.{end}"
    told = small_record("small", cell, method, seed, value, **{"environment": MACHINE, **changes})
    return CellRecord.model_validate(upgrade(told))


def failed(**changes: Any) -> CellRecord:
    return record(status="failed", metrics={}, failure={"type": "OSError"}, **changes)


def only(first: list[CellRecord], second: list[CellRecord]) -> CellPair:
    (pair,) = cell_pairs("small", first, second)
    return pair


def scored(value: float, timed: bool = False) -> dict[str, Any]:
    return {"value": value, "n": 100, "stderr": 0.01, "direction": "max", "primary": True, "timed": timed}


def test_the_same_cell() -> None:
    assert only([record()], [record()]).fate is Fate.EQUAL
    pair = only([record(value=0.9)], [record(value=0.9 + 1e-12)])
    assert pair.fate is Fate.CHANGED and [one.name for one in pair.changed] == ["test accuracy"]


@pytest.mark.parametrize(("value", "fate"), [(0.9, Fate.EQUAL), (0.929, Fate.CLOSE), (0.931, Fate.CHANGED)])
def test_another_machine_is_judged_as_a_repetition_is(value: float, fate: Fate) -> None:
    """Three standard errors of 0.01."""
    other = {**MACHINE, "cpu_capability": "AVX512"}
    was = record(metrics={"accuracy": scored(0.9)})
    pair = only([was], [record(metrics={"accuracy": scored(value)}, environment=other)])
    assert pair.fate is fate


def test_clocks_and_accounts_are_no_change() -> None:
    was, now = (record(metrics={"accuracy": scored(0.9), "ms": scored(value, timed=True)}) for value in (1.0, 2.0))
    assert only([was], [now]).fate is Fate.EQUAL
    was, now = (record(spent={"flops": {"training": flops}}) for flops in (1, 2))
    assert only([was], [now]).fate is Fate.EQUAL  # of revisions that nobody knows to be equal


def test_a_score_that_is_gone_is_a_change() -> None:
    both = {"accuracy": scored(0.9), "loss": scored(0.1) | {"primary": False}}
    assert only([record(metrics=both)], [record(metrics={"accuracy": scored(0.9)})]).fate is Fate.CHANGED


def test_another_configuration_is_told_by_its_keys() -> None:
    was = record("00", training={"steps": 10, "lr": 0.1})
    now = record("01", training={"steps": 20, "lr": 0.1, "clip": 1, "pack": None})
    pair = only([was], [now])
    assert pair.fate is Fate.RECONFIGURED
    assert pair.keys == {"training.steps": ("10", "20"), "training.clip": ("not there", "1")}
    assert only([record("00")], [record("01")]).keys == {"hash": ("00", "01")}


def test_another_code_of_a_plugin_is_told_by_its_digests() -> None:
    def coded(end: str, digest: str) -> CellRecord:
        return record(end, environment={**MACHINE, "plugins": {"sparsity-harness": "0.2.0", "mine": digest}})

    pair = only([coded("00", "a" * 64)], [coded("01", "b" * 64)])
    assert pair.keys == {"code of plugin 'mine'": ("a" * 10, "b" * 10)}


def test_a_matched_cell_keeps_its_labels() -> None:
    def matched(end: str, target: str, requested: float) -> CellRecord:
        match = {"cell": f"main.mlp.digits.genome.s0.{target}", "by": "hard"}
        return record(end, method="random", density={"mask": requested, "requested": requested, "match": match})

    pair = only([matched("00", "aa", 0.1)], [matched("01", "bb", 0.2)])
    assert pair.fate is Fate.RECONFIGURED
    assert pair.keys == {"density.match": ("A's run", "B's run")}  # the same text for every seed


def test_what_is_on_one_side_only() -> None:
    assert only([record()], []).fate is Fate.ONLY_A
    assert only([], [record()]).fate is Fate.ONLY_B
    assert only([failed()], []).fate is Fate.NO_RESULT
    fates = [pair.fate for pair in cell_pairs("small", [record(seed=0)], [record(seed=1)])]
    assert fates == [Fate.ONLY_B, Fate.ONLY_A]  # another seed is another cell


def test_failures() -> None:
    assert only([failed()], [record()]).fate is Fate.FINISHED
    assert only([record()], [failed()]).fate is Fate.FAILED
    assert only([failed()], [failed()]).fate is Fate.NO_RESULT
    pair = only([failed(end="00", training={"steps": 1})], [record("01", training={"steps": 2})])
    assert pair.fate is Fate.FINISHED and pair.keys == {"training.steps": ("1", "2")}


def test_equal_names_go_before_equal_labels() -> None:
    """Two cells of one label: the one that both have is paired with itself."""
    pairs = list(cell_pairs("small", [record("00"), record("01")], [record("01"), record("02")]))
    assert [(pair.fate, pair.a and pair.a.cell[-2:], pair.b and pair.b.cell[-2:]) for pair in pairs] == [
        (Fate.EQUAL, "01", "01"),
        (Fate.RECONFIGURED, "00", "02"),
    ]
