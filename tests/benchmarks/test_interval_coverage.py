"""benchmarks/interval_coverage.py with few draws: what docs/statistics.md says of many holds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import interval_coverage

RUNS = 400  # a standard error of 1.1 points at 95 %
LEAST, MOST = 91.0, 98.5


@pytest.mark.parametrize(("seeds", "accuracy"), [(3, 0.5), (3, 0.98), (5, 0.9), (10, 0.5), (10, 0.98)])
def test_intervals_hold_the_truth(seeds, accuracy):
    row, seeds_only, difference, _ = interval_coverage.coverage(
        np.random.default_rng(seeds), RUNS, seeds, accuracy, examples=360
    )
    assert LEAST <= row <= MOST
    assert LEAST <= difference <= MOST
    assert seeds_only < row  # what the test sample is for
    if seeds == 10:
        assert seeds_only < 88


@pytest.mark.parametrize("seeds", [3, 10])
def test_families_of_equal_rows_err_seldom(seeds):
    control, pairs = interval_coverage.errors(np.random.default_rng(seeds), RUNS, seeds, rows=4)
    assert control <= 8 and pairs <= 8


@pytest.mark.parametrize(("seeds", "tests"), [(3, 1), (3, 100), (10, 10)])
@pytest.mark.parametrize("of_examples", [0.0, 0.5])
def test_what_is_detectable_is_found_in_four_of_five_cases(seeds, tests, of_examples):
    found = interval_coverage.found(np.random.default_rng(1), 5 * RUNS, seeds, tests, of_examples)
    assert found == pytest.approx(80, abs=3.5)


def test_a_break_that_no_seed_shows_is_no_part_of_the_interval():
    held, seen, held_where_seen = interval_coverage.mixture(np.random.default_rng(1), RUNS, 3, 0.1)
    assert seen == pytest.approx(100 * (1 - 0.9**3), abs=7)
    assert held < 60 and held_where_seen > 90


def test_the_page_holds_the_tables():
    page = interval_coverage.PAGE.read_text(encoding="utf8")
    tables = page.split(interval_coverage.BEGIN)[1].split(interval_coverage.END)[0]
    assert len(tables.split("in percent:")) == 5
    few = list(interval_coverage.tables(2))
    assert len(few) == 4
    for text in few:  # the same settings, other numbers
        assert text.splitlines()[:4] == tables[tables.index(text.splitlines()[0]) :].splitlines()[:4]
