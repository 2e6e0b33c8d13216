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
    return candidate(_largest(candidate, smallest, largest, parameters))


def with_units(
    make: Callable[[int, int], ArchitectureT], width: int, step: int, units: int, parameters: int
) -> ArchitectureT:
    """``make(width, units)``: the widest that fits, with ``units`` in proportion, and then with as many more as fit.

    From one width to the next a narrow transformer gains a third of its parameters; the units of its feed-forward
    layers bring it near the number that is asked for. A narrower one has up to twice as many as are given here.

    Args:
        width: a multiple of ``step``, as all widths that are tried.
        units: of each feed-forward layer, at least 1.
        parameters: at most so many.

    Raises:
        Unsupported: if not even the narrowest fits.
    """

    def proportional(k: int) -> int:
        return max(1, units * k * step // width)

    k = _largest(lambda k: make(k * step, proportional(k)), 1, width // step, parameters)
    most = units if k * step == width else 2 * units
    return largest_that_fits(lambda n: make(k * step, n), proportional(k), most, parameters)


def with_groups(make: Callable[[list[int]], ArchitectureT], widths: Sequence[int], parameters: int) -> ArchitectureT:
    """``make(widths)`` narrowed in proportion until they fit, and then each widened by what still fits, the last first.

    None becomes wider than it is given here, or than one after it that is no narrower here.

    Raises:
        Unsupported: if not even widths of 1 fit.
    """
    steps = max(widths) * len(widths)
    found = narrowed(widths, _largest(lambda k: make(narrowed(widths, k)), 0, steps, parameters))

    def widest(i: int) -> int:
        rising = widths[i : i + 2] == sorted(widths[i : i + 2])
        most = min([widths[i], *(found[i + 1 : i + 2] if rising else [])])
        return _largest(lambda n: make([*found[:i], n, *found[i + 1 :]]), found[i], most, parameters)

    for i in reversed(range(len(widths))):
        found[i] = widest(i)
    return make(found)


def _largest(candidate: Callable[[int], Architecture[Any]], smallest: int, largest: int, parameters: int) -> int:
    def count(k: int) -> int:
        return parameter_count(candidate(k))

    fitting = bisect_right(range(smallest, largest + 1), parameters, key=count)
    if fitting == 0:
        raise Unsupported(
            f"{candidate(smallest).__class__.__name__} cannot be made as small as {parameters} parameters: at its "
            f"narrowest it has {count(smallest)}. Ask for a higher density, or leave this control out."
        )
    return smallest + fitting - 1


def narrowed(widths: Sequence[int], k: int) -> list[int]:
    """Step ``k`` from all ones (k = 0) to ``widths`` (k = max(widths) * len(widths)), nearly in proportion.

    Steps are as fine as they can be with proportions kept: layers widen one after the other, the last
    first, because its units are the cheapest where the input is wide.
    """
    scale, ahead = divmod(k, len(widths))
    first_ahead = len(widths) - ahead
    return [max(1, width * (scale + (i >= first_ahead)) // max(widths)) for i, width in enumerate(widths)]
