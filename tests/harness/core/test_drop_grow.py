"""Dropping and growing: the count stays, and which weights change is what a loop over all of them says."""

from __future__ import annotations

from math import inf, nan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness import drop_grow

SCORES = st.one_of(st.integers(-2, 2).map(float), st.just(-inf), st.just(inf))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, int, bool]:
    shape = draw(st.sampled_from([(1,), (7,), (3, 4), (2, 3, 2)]))
    size = int(torch.tensor(shape).prod())
    mask = torch.tensor(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    drop, grow = (torch.tensor(draw(st.lists(SCORES, min_size=size, max_size=size))) for _ in range(2))
    regrow, kept = draw(st.booleans()), int(mask.sum())
    n = draw(st.integers(0, kept if regrow else min(kept, size - kept)))
    return mask.reshape(shape), drop.reshape(shape), grow.reshape(shape), n, regrow


def naive(mask: list[bool], drop: list[float], grow: list[float], n: int, regrow: bool) -> list[bool]:
    """One weight after the other: the lowest goes, of equals the last; the highest comes, of equals the first."""
    after, dropped = list(mask), set()
    for _ in range(n):
        kept = [i for i, keep in enumerate(after) if keep]
        lowest = max(kept, key=lambda i: (-drop[i], i))
        after[lowest] = False
        dropped.add(lowest)
    closed = [i for i, keep in enumerate(after) if not keep and (regrow or i not in dropped)]
    for i in sorted(closed, key=lambda i: (-grow[i], i))[:n]:
        after[i] = True
    return after


@given(cases())
def test_it_is_what_a_loop_over_the_weights_does(case: tuple[Tensor, Tensor, Tensor, int, bool]) -> None:
    mask, drop, grow, n, regrow = case
    before = mask.clone()
    after = drop_grow(mask, drop, grow, n, regrow=regrow)
    expected = naive(mask.flatten().tolist(), drop.flatten().tolist(), grow.flatten().tolist(), n, regrow)
    assert after.flatten().tolist() == expected
    assert after.shape == mask.shape and after.dtype == torch.bool
    assert int(after.sum()) == int(before.sum()) and torch.equal(mask, before)
    if not regrow:
        assert int((before & ~after).sum()) == int((after & ~before).sum()) == n


def test_by_hand() -> None:
    mask = torch.tensor([[True, True, True], [False, False, False]])
    drop = torch.tensor([[3.0, 1.0, 2.0], [0.0, 0.0, 0.0]])
    grow = torch.tensor([[9.0, 8.0, 7.0], [1.0, 5.0, 1.0]])
    # Weights 1 and 2 go. The best two of the rest are 1 (8) and 2 (7) again; without them 4 (5) and 3 (1, before 5).
    assert torch.equal(drop_grow(mask, drop, grow, 2), mask)
    assert drop_grow(mask, drop, grow, 2, regrow=False).tolist() == [[True, False, False], [True, True, False]]
    assert drop_grow(mask, drop, -grow, 1).tolist() == [[True, False, True], [True, False, False]]


def test_a_transposed_mask_and_scores_that_nobody_looks_at() -> None:
    mask = torch.tensor([[True, False], [False, True]]).t()
    drop = torch.tensor([[1.0, nan], [nan, 2.0]])
    grow = torch.tensor([[nan, 1.0], [2.0, nan]])
    assert drop_grow(mask, drop, grow, 1, regrow=False).tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": torch.ones(4)}, "mask is torch.float32, must be torch.bool"),
        ({"drop_scores": torch.ones(3)}, r"drop_scores have shape \(3,\), must have the mask's \(4,\)"),
        ({"grow_scores": torch.ones(1, 4)}, r"grow_scores have shape \(1, 4\)"),
        ({"n": -1}, "cannot drop and grow -1 weights: 3 are kept, 1 masked$"),
        ({"n": 4}, "cannot drop and grow 4 weights: 3 are kept, 1 masked$"),
        ({"n": 4, "regrow": False}, "3 are kept, 1 masked$"),
        ({"n": 2, "regrow": False}, "1 masked: give fewer, or regrow=True"),
        ({"drop_scores": torch.tensor([1.0, nan, 1.0, 1.0])}, "scores hold NaN"),
        ({"grow_scores": torch.tensor([1.0, 1.0, 1.0, nan])}, "scores hold NaN"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, object], message: str) -> None:
    right = {"mask": torch.tensor([True, True, True, False]), "drop_scores": torch.ones(4)}
    right |= {"grow_scores": torch.ones(4)}
    with pytest.raises(ValueError, match=message):
        drop_grow(**{"n": 1, **right, **change})  # type: ignore[arg-type]
