"""States that are whole and do not fit the network that is to take them over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from harness.errors import CorruptFile


class UnfitState(CorruptFile):
    """A checkpoint or a stage's outcome whose checksum is right holds something else: another network's, say."""


@contextmanager
def fitting(name: str) -> Iterator[None]:
    """Around taking over a state; only that: what else raises such errors is no fault of the state.

    Raises:
        UnfitState: for whatever the wrong content makes of the code that reads it, memory excepted.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
        raise UnfitState(f"{name} is whole, and does not fit the network ({error})") from error
