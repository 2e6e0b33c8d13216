"""Masks as numbers and as bits, and how many entries are kept: the passes over memory that every step may cost.

Torch on a CPU reads and writes bools one at a time; as bytes, or by NumPy, the same takes a third to a tenth.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_INTEGER = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}


def mask_as_numbers(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A bool mask as zeros and ones of a ``dtype``."""
    return mask.view(torch.uint8).to(dtype)


def mask_as_bits(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask for :func:`masked` values of a ``dtype``: integers of its size, all bits set where True, or none."""
    return mask.view(torch.uint8).to(_INTEGER[dtype.itemsize]).neg_()


def masked(values: Tensor, bits: Tensor) -> Tensor:
    """The values where the ``bits`` are set, else 0, of inf and NaN too; without graph, at the price of a product."""
    return values.detach().view(bits.dtype).bitwise_and(bits).view(values.dtype)


def mask_(values: Tensor, bits: Tensor) -> None:
    """:func:`masked`, in place."""
    values.detach().view(bits.dtype).bitwise_and_(bits)


def count(values: Tensor) -> Tensor:
    """How many entries are True, or not zero; int64, on the device of the ``values``, for which nothing waits."""
    if values.device.type != "cpu" or values.dtype in (torch.bfloat16, torch.float16):
        return values.count_nonzero()
    array = values.detach().numpy()
    return torch.tensor(np.count_nonzero(array if values.dtype == torch.bool else array != 0))
