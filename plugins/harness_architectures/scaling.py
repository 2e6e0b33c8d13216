"""Making a network narrower until it fits into a number of parameters."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from harness import Architecture, Unsupported

ArchitectureT = TypeVar("ArchitectureT", bound=Architecture[Any])


def parameter_count(architecture: Architecture[Any]) -> int:
    """Number of parameters of the network, without memory for them and without drawing random numbers."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in architecture.build().parameters())


def largest_that_fits(
    candidate: Callable[[int], ArchitectureT], smallest: int, largest: int, parameters: int
) -> ArchitectureT:
    """``candidate(k)`` for the largest k in [smallest, largest] that has at most ``parameters`` parameters.

    The number of parameters must grow with k.

    Raises:
        Unsupported: if not even ``candidate(smallest)`` fits.
    """

    def count(k: int) -> int:
        return parameter_count(candidate(k))

    fitting = bisect_right(range(smallest, largest + 1), parameters, key=count)
    if fitting == 0:
        raise Unsupported(
            f"{candidate(smallest).__class__.__name__} cannot be made as small as {parameters} parameters: at its "
            f"narrowest it has {count(smallest)}. Ask for a higher density, or leave this control out."
        )
    return candidate(smallest + fitting - 1)


def narrowed(widths: Sequence[int], k: int) -> list[int]:
    """Step ``k`` from all ones (k = 0) to ``widths`` (k = max(widths) * len(widths)), nearly in proportion.

    Steps are as fine as they can be with proportions kept: layers widen one after the other, the last
    first, because its units are the cheapest where the input is wide.
    """
    scale, ahead = divmod(k, len(widths))
    first_ahead = len(widths) - ahead
    return [max(1, width * (scale + (i >= first_ahead)) // max(widths)) for i, width in enumerate(widths)]
