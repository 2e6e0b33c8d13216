"""Masks as numbers and as bits."""

import pytest
import torch

from harness.core.mask_arithmetic import count, mask_, mask_as_bits, mask_as_numbers, masked

TYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", TYPES)
def test_a_mask_as_numbers_and_as_bits(dtype: torch.dtype) -> None:
    mask = torch.tensor([[True, False, True], [False, False, True]])
    assert torch.equal(mask_as_numbers(mask, dtype), torch.tensor([[1, 0, 1], [0, 0, 1]], dtype=dtype))
    bits = mask_as_bits(mask.T, dtype)  # of any strides
    assert bits.tolist() == [[-1, 0], [0, 0], [-1, -1]] and bits.dtype.itemsize == dtype.itemsize


@pytest.mark.parametrize("dtype", TYPES)
def test_masked_values_are_the_same_or_zero_whatever_they_were(dtype: torch.dtype) -> None:
    values = torch.tensor([[1.5, float("nan"), -0.0], [float("inf"), -2.5, float("-inf")]], dtype=dtype)
    bits = mask_as_bits(torch.tensor([[True, False, True], [False, True, False]]), dtype)
    wanted = torch.tensor([[1.5, 0.0, -0.0], [0.0, -2.5, 0.0]], dtype=dtype)
    assert torch.equal(masked(values, bits), wanted)
    assert values[0, 1].isnan()  # nothing was written
    assert torch.equal(masked(values.T, bits.T), wanted.T)
    mask_(values, bits)
    assert torch.equal(values, wanted)


@pytest.mark.parametrize("dtype", [*TYPES, torch.bool, torch.int32])
def test_what_is_not_zero_is_counted(dtype: torch.dtype) -> None:
    values = torch.tensor([[1, 0, 2, 0], [0, 0, -1, -0.0]]).to(dtype)
    assert (int(count(values)), int(count(values[:, ::3])), int(count(values.T))) == (3, 1, 3)
    if dtype.is_floating_point:
        assert int(count(torch.tensor([float("nan"), 0.0, float("inf")], dtype=dtype).requires_grad_())) == 2
