"""Ranks of rows that are averages over seeds, and which may be the best."""

from __future__ import annotations

import pytest
from score_records import write
from synthetic import over_seeds

from harness.analysis.comparison import rows, selected, tables
from harness.analysis.frame import load
from harness.analysis.ranking import rank
from harness.analysis.result_row import as_frame
from harness.results.store import ResultStore


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path)


def test_references_that_mask_nothing_have_no_rank_however_different(store):
    for seed in range(5):
        write(store, "dense", seed, 0.9 + 0.001 * seed)
        write(store, "longer", seed, 0.5 + 0.001 * seed, mask=1.0)
        write(store, "random", seed, 0.3 + 0.001 * seed, mask=0.5)
        write(store, "magnitude", seed, 0.6 + 0.0013 * seed, mask=0.5)
    (table,) = selected(load(store)[0])
    assert {row.method: row.rank for row in table} == {"dense": None, "longer": None, "random": 2, "magnitude": 1}


def ranked(store):
    found = rows(load(store)[0].query("primary"))
    for _, table in tables(found):
        rank(table)
    return {(row.method, row.density_mask): row.rank for row in found}


def test_ranks_count_the_rows_that_are_surely_better(store):
    noise = [0.000, 0.010, 0.020]
    for seed in range(3):
        write(store, "dense", seed, 0.95 + noise[seed])
        write(store, "best", seed, 0.90 + noise[seed])
        write(store, "close", seed, 0.90 + noise[2 - seed] - 0.001)  # as good, the other way round
        write(store, "worse", seed, 0.80 + noise[seed] + 0.001 * seed)
        write(store, "alone", seed, 0.99, density=0.5)
        write(store, "near", seed, 0.70 + 2 * noise[seed], density=0.097)
    write(store, "once", 0, 0.99)
    assert ranked(store) == {
        ("dense", 1.0): None,
        ("alone", 0.5): None,
        ("once", 0.1): None,
        ("best", 0.1): 1,
        ("close", 0.1): 1,
        ("worse", 0.1): 3,
        ("near", 0.097): 4,
    }


@pytest.mark.parametrize("metric", ["accuracy", "loss"])  # higher is better, lower is better
def test_what_no_test_tells_from_the_best_but_its_interval_does_is_not_leading(store, metric):
    noise = [0.000, 0.010, 0.020, 0.005, 0.015]
    for seed in range(5):
        for row in range(6):  # alike, in pairs that no test tells apart
            write(store, f"good{row}", seed, 0.90 + noise[(seed + row) % 5])
        write(store, "worse", seed, 0.80 + noise[seed])
        write(store, "wild", seed, [0.15, 0.75, 0.30, 0.60, 0.35][seed])
    frame = load(store)[0]
    ((_, table),) = tables(rows(frame[frame.metric == metric]))
    rank(table)
    found = {row.method: (row.rank, row.leading) for row in table}
    assert found["wild"] == (1, False)
    assert found["worse"] == (7, False)
    assert {found[f"good{row}"] for row in range(6)} == {(1, True)}


def test_a_network_that_tells_nothing_does_not_set_what_is_leading():
    good, worse = (0.80, 0.81, 0.82, 0.81), (0.60, 0.61, 0.625, 0.61)
    frame = as_frame(
        over_seeds("works", good, 0.1)
        + over_seeds("worse", worse, 0.1)
        + over_seeds("dead", (0.99, 0.99, 0.99, 0.99), 0.1, broken="cut")
    )
    table = rows(frame)
    rank(table)
    assert {row.method for row in table if row.leading} == {"works"}


def test_where_nothing_is_told_apart_nothing_leads(store):
    for seed in range(3):
        write(store, "a", seed, 0.5 + seed / 50)
        write(store, "b", seed, 0.54 - seed / 50)
    ((_, table),) = tables(rows(load(store)[0].query("primary")))
    rank(table)
    assert {(row.rank, row.leading) for row in table} == {(1, False)}


def test_a_metric_that_does_not_judge_ranks_nobody(store):
    unit = {"n": 100, "stderr": None, "unit": "fraction", "split": "test"}
    for seed in range(3):
        for method, value in (("a", 0.5), ("b", 0.9), ("c", 0.1)):
            metrics = {"variety": {"value": value + seed / 1000, "direction": "none", "primary": True, **unit}}
            write(store, method, seed, 0.0, metrics=metrics)
    table = rows(load(store)[0])
    rank(table)
    assert [row.method for row in table] == ["a", "b", "c"], "in order of name"
    assert {row.rank for row in table} == {None}


def test_densities_beyond_the_tolerance_are_not_ranked_together(store):
    for seed in range(2):
        write(store, "a", seed, 0.9 + seed / 100, density=0.1)
        write(store, "b", seed, 0.8 + seed / 90, density=0.094)
    assert set(ranked(store).values()) == {None}


def test_densities_of_other_scopes_are_not_ranked_together(store):
    for seed in range(2):
        for method, scope in (("a", "maskable"), ("b", "maskable[skip]"), ("c", "maskable[skip]")):
            write(store, method, seed, 0.5 + seed * (ord(method) - 90) / 100, scope=scope)
    assert {method: place for (method, _), place in ranked(store).items()} == {"a": None, "b": 1, "c": 1}


def test_equal_differences_are_no_evidence_for_a_rank(store):
    for seed in range(3):
        write(store, "a", seed, 0.5)
        write(store, "b", seed, 0.4)  # the same number in every seed: no spread, no test
    assert set(ranked(store).values()) == {1}


def test_other_budgets_are_not_ranked_together(store):
    for seed in range(3):
        for method, examples, flops in (("a", 1000, 1.0), ("b", 1005, 1.0), ("c", 2000, 2.0), ("d", 1000, 2.0)):
            spent = {"steps": 10, "examples": examples, "tokens": 100, "seconds": 1.0, "flops": {"training": flops}}
            write(store, method, seed, 0.5 + seed / 10 + ord(method) / 1000, spent=spent)
    found = {row.method: row.group for row in rows(load(store)[0].query("primary"))}
    assert found["a"] == found["b"]
    assert len(set(found.values())) == 3
    assert {method for (method, _), place in ranked(store).items() if place} == {"a", "b"}


def test_densities_are_cut_before_budgets_are_told_apart(store):
    """From 0.1 down to 0.095 is one density, whoever stands in it: 0.094 is the next, near as 0.097 is."""
    for seed in range(2):
        for method, mask, examples in (("a", 0.1, 100), ("b", 0.097, 200), ("c", 0.094, 200)):
            spent = {"steps": 10, "examples": examples, "tokens": 100, "seconds": 1.0, "flops": {"training": 1.0}}
            write(store, method, seed, 0.5, spent=spent, mask=mask)
    assert [row.group for row in rows(load(store)[0].query("primary"))] == [0, 1, 2]


def test_equal_mean_densities_of_other_spans_are_not_ranked_together(store):
    for seed, mask in enumerate((0.05, 0.1, 0.15)):
        write(store, "fixed", seed, 0.5 + seed / 10, match={"cell": "x", "by": "hard"})
        write(store, "varied", seed, 0.6 + seed / 10, match={"cell": "x", "by": "hard"}, mask=mask)
        write(store, "as_varied", seed, 0.7 + seed / 10, match={"cell": "x", "by": "hard"}, mask=mask)
    found = {row.method: row for row in rows(load(store)[0].query("primary"))}
    assert (found["varied"].density_low, found["varied"].density_high) == (0.05, 0.15)
    assert found["varied"].group == found["as_varied"].group != found["fixed"].group


def test_equal_spans_of_other_mean_densities_are_not_ranked_together(store):
    """0.05 to 0.15 both, 0.12 and 0.08 on average."""
    for seed, (high, low) in enumerate(((0.05, 0.05), (0.15, 0.05), (0.15, 0.15))):
        for method, mask in (("high", high), ("low", low)):
            write(store, method, seed, 0.5 + seed / 10, match={"cell": "x", "by": "hard"}, mask=mask)
    assert [row.density_low for row in rows(load(store)[0].query("primary"))] == [0.05, 0.05]
    assert set(ranked(store).values()) == {None}


def test_failed_seeds_take_the_rank_of_their_row_only(store):
    for seed in range(3):
        for method, density in (("a", 0.1), ("b", 0.1), ("a", 0.2), ("b", 0.2)):
            write(store, method, seed, 0.5 + seed / 10, density=density)
    failure = {"type": "Diverged", "message": "nan", "step": 7}
    write(store, "a", 3, 0.0, density=0.1, status="diverged", metrics={}, failure=failure)
    frame, left = load(store)
    table = rows(frame.query("primary"))
    rank(table, left)
    found = {(row.method, row.density_mask): (row.rank, row.failed) for row in table}
    assert found["a", 0.1] == (None, {3: "diverged: nan"})
    assert found["a", 0.2] == (1, {}) and found["b", 0.2] == (1, {})
    assert found["b", 0.1] == (None, {})  # no rival is left
