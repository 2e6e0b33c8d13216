"""Rows of two folders: paired differences against scipy's t test, and honesty where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from result_files import small_record, write_record
from scipy import stats

from harness.analysis.changes import KEYS, RowChange, row_changes
from harness.analysis.frame import load
from harness.results.store import ResultStore


def frame(root: Path, scores: dict[str, Sequence[float]], first: int = 0, **metric: object) -> pd.DataFrame:
    """Rows by method, a score for each seed from ``first`` on, on a scale that is the identity."""
    store = ResultStore(root)
    for method, values in scores.items():
        for seed, value in enumerate(values, first):
            score = {"value": value, "n": 10, "unit": "points", "direction": "max", "primary": True, **metric}
            cell = f"{method}-{seed}"
            write_record(store, small_record("small", cell, method, seed, value, metrics={"score": score}))
    return load(store)[0]


def changes(
    folder: Path, a: dict[str, Sequence[float]], b: dict[str, Sequence[float]], **metric: object
) -> list[RowChange]:
    return row_changes(frame(folder / "a", a, **metric), frame(folder / "b", b, **metric))


def test_paired_by_seed_as_students_t_test(tmp_path: Path) -> None:
    a, b = [1.0, 2.0, 4.0, 3.0, 5.0], [1.2, 2.3, 4.1, 3.3, 5.2]
    (row,) = changes(tmp_path, {"dense": a}, {"dense": b})
    expected = stats.ttest_rel(b, a)
    low, high = expected.confidence_interval(0.95)
    assert row.found.difference == pytest.approx(np.mean(b) - np.mean(a), rel=1e-12)
    assert (row.found.low, row.found.high) == (pytest.approx(low, rel=1e-9), pytest.approx(high, rel=1e-9))
    assert row.p_adjusted == pytest.approx(expected.pvalue, rel=1e-9)
    assert row.beyond is True and row.better is True
    assert tuple(row.told()) == KEYS
    (unpaired,) = changes(tmp_path / "far", {"dense": a}, {"dense": [b[i] for i in (1, 2, 3, 4, 0)]})
    assert unpaired.beyond is False  # the same means: it is the pairing that finds it


def test_holm_is_over_all_rows_that_are_not_equal(tmp_path: Path) -> None:
    base = [1.0, 2.0, 3.0, 4.0]
    moved = {"one": [1.1, 2.12, 3.11, 4.13], "two": [1.2, 2.1, 3.3, 4.0], "three": base}
    found = {row.b.method: row for row in changes(tmp_path, dict.fromkeys(moved, base), moved)}
    raw = {name: float(stats.ttest_rel(moved[name], base).pvalue) for name in ("one", "two")}
    assert raw["one"] < raw["two"]
    assert found["one"].p_adjusted == pytest.approx(2 * raw["one"], rel=1e-9)
    assert found["two"].p_adjusted == pytest.approx(max(2 * raw["one"], raw["two"]), rel=1e-9)
    assert found["three"].untested == "equal" and found["three"].p_adjusted is None and found["three"].beyond is False


def test_lower_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    (row,) = changes(tmp_path, {"dense": [1.0, 2.0, 3.0]}, {"dense": [1.5, 2.51, 3.49]}, direction="min")
    assert row.beyond is True and row.better is False


@pytest.mark.parametrize(
    ("a", "b", "untested", "beyond"),
    [
        ([1.0], [1.5], "one seed", None),
        ([1.0, 2.0, 3.0], [1.5, 2.5, 3.5], "no spread", None),
        ([1.0, 2.0, 3.0], [1.0 + 9e-7, 2.0 + 9e-7, 3.0 + 9e-7], "rounding", False),
        ([1.0, 2.0, 3.0], [1.0 + 2e-6, 2.0, 3.0], "", False),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], "equal", False),
    ],
)
def test_where_there_is_no_test(
    tmp_path: Path, a: Sequence[float], b: Sequence[float], untested: str, beyond: bool | None
) -> None:
    (row,) = changes(tmp_path, {"dense": a}, {"dense": b})
    assert (row.untested, row.beyond) == (untested, beyond)
    assert (row.p_adjusted is None) == bool(untested)


def test_clocks_have_no_test(tmp_path: Path) -> None:
    (row,) = changes(tmp_path, {"dense": [1.0, 2.0, 3.0]}, {"dense": [2.0, 3.1, 4.0]}, timed=True)
    assert row.untested == "a clock" and row.beyond is None


def test_only_seeds_of_both_are_paired(tmp_path: Path) -> None:
    a = frame(tmp_path / "a", {"dense": [9.0, 1.0, 2.0, 3.0]})
    b = frame(tmp_path / "b", {"dense": [1.1, 2.3, 3.2, 70.0]}, first=1)
    (row,) = row_changes(a, b)
    assert row.found.n == 3 and row.found.difference == pytest.approx(0.2)
    assert row.p_adjusted == pytest.approx(stats.ttest_rel([1.1, 2.3, 3.2], [1.0, 2.0, 3.0]).pvalue)
    assert row.a.mean == pytest.approx(2.0) and row.b.mean == pytest.approx(2.2)  # what the difference is of
    (apart,) = row_changes(frame(tmp_path / "c", {"dense": [1.0]}), frame(tmp_path / "d", {"dense": [1.0]}, first=5))
    assert apart.untested == "no common seed" and apart.beyond is None


def test_another_protocol_or_unit_is_another_row(tmp_path: Path) -> None:
    a = frame(tmp_path / "a", {"dense": [1.0, 2.0]})
    assert row_changes(a, a.assign(protocol="another")) == []
    assert row_changes(a, a.assign(unit="nats")) == []
    assert row_changes(a, a.iloc[:0]) == []
