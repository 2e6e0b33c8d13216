"""The order of the data: permutations without end, from any position."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.training.sampler import Sampler


def test_each_pass_is_another_permutation() -> None:
    sampler = Sampler(50, seed=1)
    passes = [sampler.indices(50 * i, 50) for i in range(4)]
    for one in passes:
        assert one.dtype == torch.int64
        assert sorted(one.tolist()) == list(range(50))
    assert len({tuple(one.tolist()) for one in passes}) == 4


def test_seeds_have_orders_of_their_own() -> None:
    orders = {tuple(Sampler(50, seed).indices(0, 50).tolist()) for seed in range(5)}
    assert len(orders) == 5


@given(st.integers(1, 13), st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_independent_of_chunks_and_resumable_anywhere(examples: int, chunks: list[int], start: int) -> None:
    whole = Sampler(examples, 7).indices(0, start + sum(chunks)).tolist()
    going, position = Sampler(examples, 7), start
    for count in chunks:
        expected = whole[position : position + count]
        assert going.indices(position, count).tolist() == expected
        assert Sampler(examples, 7).indices(position, count).tolist() == expected
        position += count


def test_going_back_is_allowed() -> None:
    sampler = Sampler(10, 3)
    first = sampler.indices(0, 10).tolist()
    sampler.indices(95, 10)
    assert sampler.indices(0, 10).tolist() == first


def test_batches_run_over_the_end_of_a_pass_without_loss() -> None:
    sampler = Sampler(10, 3)
    seen = torch.cat([sampler.indices(step * 4, 4) for step in range(5)]).tolist()
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))


def test_the_caller_cannot_spoil_the_order() -> None:
    sampler = Sampler(10, 3)
    before = sampler.indices(0, 10).tolist()
    sampler.indices(0, 10).sort()
    assert sampler.indices(0, 10).tolist() == before


def test_no_examples_is_an_error() -> None:
    with pytest.raises(ValueError, match="no training examples"):
        Sampler(0, 0)


@given(st.integers(1, 13), st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(0, 40))
@settings(max_examples=50, deadline=None)
def test_numbers_belong_to_positions(examples: int, chunks: list[int], start: int) -> None:
    whole = Sampler(examples, 7).numbers(0, start + sum(chunks), 2)
    assert whole.dtype == torch.float32 and float(whole.min()) >= 0 and float(whole.max()) < 1
    going, position = Sampler(examples, 7), start
    for count in chunks:
        assert torch.equal(going.numbers(position, count, 2), whole[position : position + count])
        position += count
    assert not torch.equal(Sampler(examples, 8).numbers(0, 5, 2), whole[:5]) or len(whole) < 5


class Plain:
    def __len__(self) -> int:
        return 6

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return indices * 10, indices


class Altered(Plain):
    draws = 2

    def augmented(self, indices: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return numbers, indices


def test_a_batch_is_altered_where_the_data_say_how_many_numbers_they_take() -> None:
    sampler = Sampler(6, 1)
    inputs, targets = sampler.batch(Plain(), 4, 5)
    assert torch.equal(targets, sampler.indices(4, 5)) and torch.equal(inputs, targets * 10)
    numbers, same = sampler.batch(Altered(), 4, 5, lambda one: one[1:3])
    assert torch.equal(numbers, sampler.numbers(4, 5, 2)[1:3]) and torch.equal(same, targets[1:3])
