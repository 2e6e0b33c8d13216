"""Centres and intervals on their scales, over seeds and test examples; what the files of examples give."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from result_files import write_record
from scipy import stats
from synthetic import named, over_seeds, table

from harness.analysis.comparison import selected
from harness.analysis.estimates import differences
from harness.analysis.frame import load
from harness.core.examples import Examples
from harness.report.answers import answers
from harness.results.store import ResultStore

Array = NDArray[np.float64]


def logit(values: list[float], n: float = 100) -> Array:
    k = np.array(values) * n
    found: Array = np.log((k + 0.5) / (n - k + 0.5))
    return found


def accuracy(scaled: Any, n: float = 100) -> Any:
    return np.clip(((n + 1) / (1 + np.exp(-np.asarray(scaled))) - 0.5) / n, 0, 1)


SCALES: list[tuple[str, str, Callable[[Any], Any], Callable[[Any], Any], list[list[float]]]] = [
    ("fraction", "max", logit, accuracy, [[0.90, 0.97, 0.99], [0.5, 0.62, 0.7]]),
    ("correlation", "max", np.arctanh, np.tanh, [[0.95, 0.99, 0.8], [-0.2, 0.5, 0.1]]),
    ("nats", "min", np.log, np.exp, [[0.1, 2.0, 0.3], [3.0, 2.5, 4.0]]),
    ("perplexity", "min", np.log, np.exp, [[20.0, 35.0, 24.0], [100.0, 80.0, 300.0]]),
    ("nats/word", "max", np.asarray, np.asarray, [[-0.1, 0.2, 0.0], [1.0, 1.5, 0.75]]),
]


@pytest.mark.parametrize(("unit", "direction", "forward", "back", "values"), SCALES, ids=[scale[0] for scale in SCALES])
def test_centres_intervals_and_differences_on_each_scale(
    unit: str, direction: str, forward: Callable[[Any], Any], back: Callable[[Any], Any], values: list[list[float]]
) -> None:
    how = {"unit": unit, "direction": direction}
    found = named(
        table(over_seeds("a", values[0], 0.1, **how) + over_seeds("b", values[1], 0.1, **how), ["a against b"])
    )
    one, other = map(forward, values)
    for name, scaled in (("a", one), ("b", other)):
        row = found[name]
        low, high = stats.t.interval(0.95, 2, scaled.mean(), stats.sem(scaled))
        assert row.mean == pytest.approx(float(back(scaled.mean())))
        floor = 1.0 if unit == "perplexity" else -math.inf
        assert (row.ci_low, row.ci_high) == pytest.approx((max(floor, float(back(low))), float(back(high))))
    contrast = found["a"].contrasts[0]
    test = stats.ttest_rel(one, other)
    assert contrast.p == pytest.approx(test.pvalue)
    start = float(back(other.mean()))
    floor = 1.0 if unit == "perplexity" else -math.inf
    ends = [max(floor, float(back(other.mean() + end))) - start for end in test.confidence_interval(0.95)]
    assert contrast.difference == pytest.approx(found["a"].mean - start)
    assert (contrast.low, contrast.high) == pytest.approx(tuple(ends))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([("fraction", "max", 0.0, 1.0), ("correlation", "max", -1.0, 1.0), ("nats", "min", 0.0, math.inf)]),
    st.data(),
)
def test_no_interval_leaves_the_possible_range(scale: tuple[str, str, float, float], data: st.DataObject) -> None:
    unit, direction, lowest, highest = scale
    seeds = data.draw(st.integers(2, 6))
    scores = st.one_of(
        st.sampled_from([max(lowest, -1.0), min(highest, 1.0)]), st.floats(max(lowest, -1), min(highest, 1))
    )
    one, other = (data.draw(st.lists(scores, min_size=seeds, max_size=seeds)) for _ in range(2))
    how = {"unit": unit, "direction": direction}
    rows = named(table(over_seeds("a", one, 0.1, **how) + over_seeds("b", other, 0.1, **how), ["a against b"]))
    for row in rows.values():
        ends = (row.ci_low, row.mean, row.ci_high)
        known = [end for end in ends if end is not None]  # without end: an interval of a loss may reach infinity
        assert all(lowest <= end <= highest for end in known) and known == sorted(known)
    contrast = rows["a"].contrasts[0]
    for change in (contrast.low, contrast.difference, contrast.high):
        assert change is None or lowest - 1e-9 <= rows["b"].mean + change <= highest + 1e-9


def test_where_the_sign_depends_on_the_scale_nothing_is_claimed() -> None:
    """On the logit 0.99 to 0.97 is more than 0.50 to 0.53, in accuracies it is less."""
    one, other = [0.99, 0.50, 0.99, 0.501], [0.97, 0.53, 0.9695, 0.532]
    n = {"n_examples": 10_000.0}
    assert logit(one, 10_000).mean() > logit(other, 10_000).mean() and np.mean(one) < np.mean(other)
    rows = table(over_seeds("a", one, 0.1, **n) + over_seeds("b", other, 0.1, **n), ["a against b"])
    (contrast,) = named(rows)["a"].contrasts
    assert contrast.disputed
    assert {(row.rank, row.rank_worst) for row in rows} == {(1, 2)}
    assert answers(rows) == ["At 0.1000, nothing is claimed where the sign depends on the scale: a from b."]


def test_even_a_small_p_of_another_sign_claims_nothing() -> None:
    one = [0.9990, 0.9991, 0.9989, 0.9990, 0.9990, 0.5]
    other = [0.9900, 0.9901, 0.9899, 0.9900, 0.9901, 0.56]
    rows = table(
        over_seeds("a", one, 0.1, n_examples=1e6) + over_seeds("b", other, 0.1, n_examples=1e6), ["a against b"]
    )
    (contrast,) = named(rows)["a"].contrasts
    assert contrast.disputed and contrast.p is not None and contrast.p < 0.05
    assert not any("beat" in sentence for sentence in answers(rows))


# --- results by example -------------------------------------------------------------------------

N = 60
DRAWS = np.random.default_rng(3)
DIFFICULTY = DRAWS.normal(size=N)
RIGHT = {
    name: (DIFFICULTY + DRAWS.normal(size=N) + 0.4 * DRAWS.normal(size=(3, N)) < ease).astype(np.float64)
    for name, ease in (("a", 0.9), ("b", 0.4))
}
"""(seeds, examples) of two methods, to which other examples are difficult."""


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    store = ResultStore(tmp_path)
    for name, right in RIGHT.items():
        for seed in range(3):
            keep(store, name, seed, right[seed])
    return store


def keep(store: ResultStore, method: str, seed: int, right: Array) -> None:
    """A record with the file of its examples, as a worker writes them."""
    cell = f"{method}-{seed}"
    entry = store.write_examples("s", cell, {"accuracy": Examples(right)})
    assert entry is not None
    score = {"value": right.mean(), "n": len(right), "unit": "fraction", "direction": "max", "primary": True}
    record = {
        **{"schema": 2, "status": "done", "cell": cell, "suite": "s", "seed": seed},
        **{part: {"label": part} for part in ("architecture", "benchmark")},
        **{"method": {"label": method}, "density": {"mask": 0.1, "requested": 0.1}},
        **{"metrics": {"accuracy": score}, "examples": entry.model_dump()},
    }
    write_record(store, record)


def naive(scores: Array, influences: Array) -> tuple[float, float, float, float]:
    """Centre, standard error, degrees of freedom and p: mean squares by loops, docs/statistics.md in numbers."""
    seeds, examples = influences.shape
    rows, columns, grand = influences.mean(axis=1), influences.mean(axis=0), influences.mean()
    of_examples = seeds * sum((column - grand) ** 2 for column in columns) / (examples - 1)
    left = sum(
        (influences[s, e] - rows[s] - columns[e] + grand) ** 2 for s in range(seeds) for e in range(examples)
    ) / ((seeds - 1) * (examples - 1))
    added = max(of_examples - left, 0.0) / (seeds * examples)
    squares = of_examples**2 / (examples - 1) + left**2 / ((seeds - 1) * (examples - 1))
    added_freedom = max((of_examples - left) ** 2 / squares, 1.0)
    own = scores.var(ddof=1) / seeds
    total = own + added
    freedom = 1 / ((own / total) ** 1.25 / (seeds - 1) + (added / total) ** 1.25 / added_freedom)
    p = 2 * stats.t.sf(abs(scores.mean()) / math.sqrt(total), freedom)
    return scores.mean(), math.sqrt(total), freedom, float(p)


def influences(right: Array) -> Array:
    """On the logit: deviation times derivative of the empirical logit."""
    share = (right.sum(axis=1) + 0.5) / (N + 1)
    slope = N / (N + 1) / (share * (1 - share))
    found: Array = (right - right.mean(axis=1, keepdims=True)) * slope[:, None]
    return found


def test_an_interval_over_seeds_and_examples_is_the_naive_one(store: ResultStore) -> None:
    row = named(selected(load(store)[0])[0])["a"]
    scaled = logit(RIGHT["a"].mean(axis=1).tolist(), N)
    centre, error, freedom, _ = naive(scaled, influences(RIGHT["a"]))
    half = stats.t.isf(0.025, freedom) * error
    assert row.over == "seeds and examples"
    assert row.mean == pytest.approx(accuracy(centre, N))
    assert (row.ci_low, row.ci_high) == pytest.approx((accuracy(centre - half, N), accuracy(centre + half, N)))
    fixed = stats.t.interval(0.95, 2, scaled.mean(), stats.sem(scaled))
    assert (row.fixed_low, row.fixed_high) == pytest.approx(tuple(accuracy(fixed, N)))
    assert row.ci_low != row.fixed_low


def test_a_test_over_seeds_and_examples_is_the_naive_one(store: ResultStore) -> None:
    rows = named(selected(load(store)[0])[0])
    (found,) = differences([(rows["a"], rows["b"])])
    one, other = (logit(RIGHT[name].mean(axis=1).tolist(), N) for name in "ab")
    _, error, freedom, p = naive(one - other, influences(RIGHT["a"]) - influences(RIGHT["b"]))
    assert found.over == "seeds and examples"
    assert found.p == pytest.approx(p) and found.p != pytest.approx(stats.ttest_rel(one, other).pvalue, rel=0.01)
    half = stats.t.isf(0.025, freedom) * error
    start = accuracy(other.mean(), N)
    ends = [accuracy(one.mean() + sign * half, N) - start for sign in (-1, 1)]
    assert (found.low, found.high) == pytest.approx(tuple(ends))
    fixed = [accuracy(other.mean() + end, N) - start for end in stats.ttest_rel(one, other).confidence_interval(0.95)]
    assert (found.fixed_low, found.fixed_high) == pytest.approx(tuple(fixed))


def test_pairs_are_what_they_are_alone(store: ResultStore) -> None:
    """With and without examples beside each other."""
    rows = named(selected(load(store)[0])[0])
    bare = {name: replace(row, sample=[None] * 3) for name, row in rows.items()}
    pairs = [(rows["a"], rows["b"]), (bare["a"], rows["b"]), (rows["b"], rows["a"])]
    together = differences(pairs)
    for pair, found in zip(pairs, together, strict=True):
        np.testing.assert_equal(differences([pair])[0]._asdict(), found._asdict())
    assert [found.over for found in together] == ["seeds and examples", "seeds", "seeds and examples"]
    assert together[0].p == together[2].p != together[1].p
    assert differences([]) == []


@pytest.mark.parametrize("damage", ["cut", "lost", "another number of examples"])
def test_without_one_of_the_files_an_interval_is_over_seeds(store: ResultStore, damage: str) -> None:
    path = store.file("s", "examples", "a-1").path
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "lost":
        path.unlink()
    else:
        keep(store, "a", 1, np.array([*RIGHT["a"][1], 1.0]))
    rows = named(selected(load(store)[0])[0])
    assert (rows["a"].over, rows["b"].over) == ("seeds", "seeds and examples")
    assert (rows["a"].ci_low, rows["a"].ci_high) == (rows["a"].fixed_low, rows["a"].fixed_high)
    assert rows["a"].n == 3
    (found,) = differences([(rows["a"], rows["b"])])
    assert found.over == "seeds" and (found.low, found.high) == (found.fixed_low, found.fixed_high)


def test_two_folders_of_results_do_not_share_what_was_read(store: ResultStore, tmp_path: Path) -> None:
    """Of equal names and contents, one damaged."""
    assert {row.over for row in selected(load(store)[0])[0]} == {"seeds and examples"}
    other = ResultStore(tmp_path / "other")
    for name, right in RIGHT.items():
        for seed in range(3):
            keep(other, name, seed, right[seed])
    other.file("s", "examples", "a-1").path.unlink()
    assert named(selected(load(other)[0])[0])["a"].over == "seeds"


def test_one_seed_has_no_interval_even_with_examples(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    keep(store, "a", 0, RIGHT["a"][0])
    (row,) = selected(load(store)[0])[0]
    assert (row.n, row.ci_low, row.fixed_low, row.std) == (1, None, None, None)
