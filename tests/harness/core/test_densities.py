"""Densities: exact to one weight, whatever is asked and however it is spread."""

from collections.abc import Sequence
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Band, Connection, DensityBudget, UserError, allocate, select, top_k

SHAPE = st.one_of(st.tuples(st.integers(1, 9), st.integers(1, 9)), st.tuples(*[st.integers(1, 4)] * 4))
NETWORKS = st.lists(SHAPE, min_size=1, max_size=6)


def network(shapes: Sequence[tuple[int, ...]]) -> list[Connection]:
    return [
        Connection(f"c{i}", f"c{i}", "dense", Band(f"i{i}", s[1], 0), Band(f"o{i}", s[0], 1), s)
        for i, s in enumerate(shapes)
    ]


# --- budgets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [50, 1.0001, -0.1, float("nan"), float("inf")])
def test_percent_is_refused(density: float) -> None:
    with pytest.raises(UserError, match="not percent"):
        DensityBudget.of(density, network([(4, 4)]))


def test_budget_rounds_to_the_nearest_weight() -> None:
    connections = network([(3, 3), (5, 2)])
    kept = {0: 0, 0.02: 0, 0.03: 1, 0.26: 5, 0.97: 18, 0.98: 19, 1: 19}
    assert {d: DensityBudget.of(d, connections).keep for d in kept} == kept
    assert DensityBudget.of(0.3, connections).requested == 0.3


# --- allocation -------------------------------------------------------------------------------


def test_erk_by_hand_with_clamping_and_redistribution() -> None:
    """1,130 weights, half of them asked for: 565.

    sum(shape) = 11, 20, 112. 565 / 143 * 11 = 43.5 is more than the first one's 10 weights: it is filled,
    and 555 / 132 = 4.2045 a unit gives the others 84.09 and 470.91. Cutting it off without giving the rest
    away would keep 10 + 79 + 443 = 532, a density of 0.47.
    """
    connections = network([(10, 1), (10, 10), (102, 10)])
    budget = DensityBudget.of(0.5, connections)
    counts = allocate(budget.keep, connections, "erk")
    assert counts == {"c0": 10, "c1": 84, "c2": 471}
    scores = {c.name: torch.rand(c.shape, generator=torch.Generator().manual_seed(0)) for c in connections}
    assert select(scores, budget, connections, "erk").density == 0.5


def test_erk_fills_in_several_rounds() -> None:
    """Filling one connection pushes the next one over: sum(shape) 2, 4, 40; sizes 1, 4, 400; 202 to keep."""
    counts = allocate(202, network([(1, 1), (2, 2), (20, 20)]), "erk")
    # 202 / 46 = 4.39: 8.8 > 1 and 17.6 > 4 and 175.7. Both filled: 197 for the last.
    assert counts == {"c0": 1, "c1": 4, "c2": 197}
    # sum(shape) 5, 8, 12 and sizes 4, 15, 32, 31 to keep: 6.2 > 4; then 27 / 20 * 8 = 10.8 and 16.2.
    assert allocate(31, network([(4, 1), (5, 3), (8, 4)]), "erk") == {"c0": 4, "c1": 11, "c2": 16}
    # 42 to keep: 8.4 > 4; 38 / 20 * 8 = 15.2 > 15, which fitted at first (13.4): 15, and 23 for the last.
    assert allocate(42, network([(4, 1), (5, 3), (8, 4)]), "erk") == {"c0": 4, "c1": 15, "c2": 23}


def test_erk_counts_kernel_axes() -> None:
    """Evci et al. 2020: density is proportional to (out + in + height + width) / (out in height width)."""
    counts = allocate(100, network([(8, 4, 3, 3), (8, 8)]), "erk")
    assert counts == {"c0": 53, "c1": 47}  # 100 * 18 / 34 = 52.94, 100 * 16 / 34 = 47.06


def test_uniform_by_hand_with_remainders() -> None:
    connections = network([(1, 3), (1, 3), (1, 4)])
    assert allocate(5, connections, "uniform") == {"c0": 2, "c1": 1, "c2": 2}  # 1.5, 1.5, 2: the tie goes first
    assert allocate(0, connections, "uniform") == {"c0": 0, "c1": 0, "c2": 0}
    assert allocate(10, connections, "uniform") == {"c0": 3, "c1": 3, "c2": 4}


def test_allocation_refuses_what_it_cannot_do() -> None:
    connections = network([(2, 2)])
    for distribution in ("global", "ERK", "uniformly"):
        with pytest.raises(ValueError, match=distribution):
            allocate(1, connections, distribution)  # type: ignore[arg-type]
    for keep in (-1, 5):
        with pytest.raises(ValueError, match="of 4 weights"):
            allocate(keep, connections, "uniform")


@given(NETWORKS, st.sampled_from(["uniform", "erk"]), st.data())
@settings(max_examples=150, deadline=None)
def test_counts_are_exact_fit_and_grow(shapes: list[tuple[int, ...]], distribution: str, data: st.DataObject) -> None:
    connections = network(shapes)
    total = sum(prod(s) for s in shapes)
    low = data.draw(st.integers(0, total))
    high = data.draw(st.integers(low, total))
    before, after = allocate(low, connections, distribution), allocate(high, connections, distribution)
    for keep, counts in ((low, before), (high, after)):
        assert sum(counts.values()) == keep
        assert all(0 <= counts[c.name] <= c.size for c in connections)
    # Largest remainders may take one weight back as the total grows (the Alabama paradox), never two.
    assert all(after[name] >= before[name] - 1 for name in before)


@given(NETWORKS, st.integers(0, 100))
@settings(max_examples=80, deadline=None)
def test_uniform_densities_are_equal_to_one_weight(shapes: list[tuple[int, ...]], percent: int) -> None:
    connections = network(shapes)
    total = sum(c.size for c in connections)
    keep = round(percent / 100 * total)
    for name, count in allocate(keep, connections, "uniform").items():
        size = prod(shapes[int(name[1:])])
        assert abs(count - keep * size / total) < 1


@given(NETWORKS, st.integers(1, 99))
@settings(max_examples=80, deadline=None)
def test_erk_is_proportional_where_there_is_room(shapes: list[tuple[int, ...]], percent: int) -> None:
    """Counts are min(size, unit * sum(shape)) for one unit, to one weight; the unit is found by bisection."""
    connections = network(shapes)
    keep = round(percent / 100 * sum(c.size for c in connections))
    low, high = 0.0, float(max(c.size for c in connections))
    for _ in range(200):
        unit = (low + high) / 2
        fits = sum(min(c.size, unit * sum(c.shape)) for c in connections) <= keep
        low, high = (unit, high) if fits else (low, unit)
    for c in connections:
        assert abs(allocate(keep, connections, "erk")[c.name] - min(c.size, low * sum(c.shape))) < 1 + 1e-6


# --- selection --------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, float("inf"), float("-inf")]), max_size=40), st.data())
@settings(max_examples=150, deadline=None)
def test_top_k_is_a_stable_sort(values: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(0, len(values)))
    ranked = sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]
    mask = top_k(torch.tensor(values), k)
    assert mask.nonzero().reshape(-1).tolist() == sorted(ranked)


def test_top_k_refuses_nan_and_impossible_counts() -> None:
    with pytest.raises(ValueError, match="NaN"):
        top_k(torch.tensor([1.0, float("nan")]), 1)
    with pytest.raises(ValueError, match="cannot keep 3 of 2"):
        top_k(torch.ones(2), 3)


def test_global_selection_ranks_all_together_with_ties_by_index() -> None:
    connections = network([(1, 3), (2, 2)])
    scores = {"c0": torch.tensor([[1.0, 5.0, 1.0]]), "c1": torch.tensor([[1.0, 7.0], [0.0, 1.0]])}
    masks = select(scores, DensityBudget(4, 4 / 7), connections, "global")
    assert masks["c0"].tolist() == [[True, True, True]]
    assert masks["c1"].tolist() == [[False, True], [False, False]]


def test_counts_per_connection_override_the_distribution() -> None:
    connections = network([(1, 3), (2, 2)])
    scores = {c.name: torch.arange(float(c.size)).reshape(c.shape) for c in connections}
    masks = select(scores, DensityBudget(4, 4 / 7, {"c0": 1, "c1": 3}), connections, "global")
    assert masks.kept == {"c0": 1, "c1": 3}
    assert masks["c0"].tolist() == [[False, False, True]]


def test_minus_infinity_goes_unless_nothing_else_is_left() -> None:
    connections = network([(1, 4)])
    scores = {"c0": torch.tensor([[float("-inf"), -3.0, float("-inf"), -9.0]])}
    assert select(scores, DensityBudget(2, 0.5), connections, "uniform")["c0"].tolist() == [[False, True, False, True]]
    assert select(scores, DensityBudget(3, 0.75), connections, "uniform")["c0"].tolist() == [[True, True, False, True]]


def test_missing_scores_are_named() -> None:
    with pytest.raises(ValueError, match="c1"):
        select({"c0": torch.ones(1, 1)}, DensityBudget(1, 0.5), network([(1, 1), (1, 1)]), "global")


@given(NETWORKS, st.sampled_from(["uniform", "erk", "global"]), st.integers(0, 100), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_selection_keeps_exactly_what_was_asked(
    shapes: list[tuple[int, ...]], distribution: str, percent: int, seed: int
) -> None:
    connections = network(shapes)
    generator = torch.Generator().manual_seed(seed)
    scores = {c.name: torch.randint(0, 3, c.shape, generator=generator).float() for c in connections}
    budget = DensityBudget.of(percent / 100, connections)
    masks = select(scores, budget, connections, distribution)
    assert sum(masks.kept.values()) == budget.keep
    worst_kept = {n: scores[n][m].min() for n, m in masks.items() if m.any()}
    best_removed = {n: scores[n][~m].max() for n, m in masks.items() if not m.all()}
    for name in worst_kept.keys() & best_removed.keys():
        assert worst_kept[name] >= best_removed[name]
    if distribution == "global" and worst_kept and best_removed:
        assert min(worst_kept.values()) >= max(best_removed.values())


@given(st.sampled_from(["uniform", "erk", "global"]), st.integers(0, 100), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_kernels_live_and_die_as_a_whole(distribution: str, percent: int, seed: int) -> None:
    connections = network([(4, 3, 3, 3), (5, 4, 1, 1), (3, 5), (2, 2, 5)])
    generator = torch.Generator().manual_seed(seed)
    scores = {c.name: torch.rand(c.shape, generator=generator) for c in connections}
    budget = DensityBudget.of(percent / 100, connections)
    masks = select(scores, budget, connections, distribution, "kernel")
    for c in connections:
        pairs = masks[c.name].reshape(*c.shape[:2], -1)
        assert torch.equal(pairs.any(2), pairs.all(2))
        means = scores[c.name].reshape(*c.shape[:2], -1).mean(2)
        if 0 < pairs.all(2).sum() < pairs.all(2).numel():
            assert means[pairs.all(2)].min() >= means[~pairs.all(2)].max()
    off = abs(sum(masks.kept.values()) - budget.keep)
    assert off <= (4.5 if distribution == "global" else 4.5 + 2.5 + 0.5 + 0.5)


def test_kernel_selection_by_hand() -> None:
    """Two pairs of four weights, mean scores 1 and 2: half of the weights is the second kernel."""
    (c,) = connections = network([(1, 2, 2, 2)])
    scores = {"c0": torch.tensor([[[[4.0, 0], [0, 0]], [[2.0, 2], [2, 2]]]])}
    for distribution in ("global", "uniform"):
        masks = select(scores, DensityBudget.of(0.5, connections), connections, distribution, "kernel")
        assert masks[c.name].tolist() == [[[[False, False], [False, False]], [[True, True], [True, True]]]]
