"""Tensors that say which weights the entries of another tensor are multiples of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from harness.core.connections import Connection


class Unknown(NamedTuple):
    """Zeros that cannot be told: there may be some where each of ``groups`` has a masked connection."""

    groups: tuple[frozenset[str], ...]


Factor: TypeAlias = Tensor | Unknown
"""A tensor of the other one's shape: a view of a parameter on the meta device, which takes no memory, or, where no
view will do, numbers on the CPU: one for each weight, 0 for none."""


@dataclass(slots=True)
class _Storage:
    """Memory that holds parameters: the number of its first entry, its length, and what may be masked of it."""

    first: int
    length: int
    itemsize: int
    regions: list[tuple[Tensor, Connection]] = field(default_factory=list)


class Factors:
    """The factors that can be made of the parameters that have connections, on the meta device.

    Attention biases are left out: a masked one is not zero.
    """

    def __init__(self, parameters: Mapping[str, Tensor], connections: Iterable[Connection]) -> None:
        self._storages: dict[int, _Storage] = {}
        first = 1
        for connection in connections:
            parameter = parameters.get(connection.parameter)
            if parameter is None or connection.kind != "weight":
                continue
            if (key := storage_of(parameter)) not in self._storages:
                length = parameter.untyped_storage().nbytes() // parameter.element_size()
                self._storages[key] = _Storage(first, length, parameter.element_size())
                first += length
            self._storages[key].regions.append((parameter, connection))

    def connections(self, storage: int) -> frozenset[str]:
        """Names of the connections whose weights lie in a storage."""
        found = self._storages.get(storage)
        return frozenset(connection.name for _, connection in found.regions) if found else frozenset()

    def is_view(self, tensor: Tensor) -> bool:
        """Whether each entry of a tensor is one of a parameter that has connections."""
        found = self._storages.get(storage_of(tensor))
        return found is not None and tensor.element_size() == found.itemsize

    def numbers(self, factor: Tensor) -> Tensor:
        """The same factor as contiguous numbers."""
        if factor.is_meta:
            storage = self._storages[storage_of(factor)]
            numbers = torch.arange(storage.first, storage.first + storage.length, device="cpu")
            factor = numbers.as_strided(factor.size(), factor.stride(), factor.storage_offset())
        return factor.contiguous()

    def distinct(self, factors: Iterable[Factor]) -> list[Factor]:
        """Factors of one shape without those that hold the same weights in the same places as one before."""
        found: list[Factor] = []
        for factor in factors:
            if not any(self.same(factor, other) for other in found):
                found.append(factor)
        return found

    def same(self, one: Factor, other: Factor) -> bool:
        """Whether two factors of one shape hold the same weights in the same places."""
        if one is other or isinstance(one, Unknown) or isinstance(other, Unknown):
            return one is other
        if one.is_meta and other.is_meta:
            return storage_of(one) == storage_of(other) and geometry_of(one) == geometry_of(other)
        return torch.equal(self.numbers(one), self.numbers(other))

    def names(self, factors: Iterable[Factor]) -> frozenset[str]:
        """Connections with weights in any of the factors."""
        found: set[str] = set()
        for factor in factors:
            found.update(*(factor.groups if isinstance(factor, Unknown) else [self.uses(factor)]))
        return frozenset(found)

    def uses(self, factor: Tensor) -> dict[str, float | Tensor]:
        """How often the weights of each connection stand in the factor; a tensor of its region if not all equally."""
        found: dict[str, float | Tensor] = {}
        for storage, counts, times in self._counts(factor):
            for parameter, connection in storage.regions:
                if counts is None:
                    found[connection.name] = float(times)
                    continue
                whole = counts.as_strided(parameter.size(), parameter.stride(), parameter.storage_offset())
                region = connection.region(whole)
                if region.any():
                    first = region[(0,) * region.ndim]
                    equal = bool((region == first).all())
                    found[connection.name] = float(first) * times if equal else region.double() * times
        return found

    def _counts(self, factor: Tensor) -> Iterator[tuple[_Storage, Tensor | None, int]]:
        """Storages with how often each of their entries stands in the factor: counts (None: 1 each) times a number."""
        if factor.is_meta:
            storage, times, axes = self._storages[storage_of(factor)], 1, []
            for size, stride in zip(factor.size(), factor.stride(), strict=True):
                if stride == 0:
                    times *= size
                elif size > 1:
                    axes.append((stride, size))
            axes.sort()
            spans = [1 + sum(stride * (size - 1) for stride, size in axes[:at]) for at in range(len(axes) + 1)]
            if all(stride >= span for (stride, _), span in zip(axes, spans, strict=False)):  # nothing occurs twice
                if prod(size for _, size in axes) == storage.length:
                    yield storage, None, times
                else:
                    counts = torch.zeros(storage.length, dtype=torch.bool, device="cpu")
                    sizes, strides = [size for _, size in axes], [stride for stride, _ in axes]
                    counts.as_strided(sizes, strides, factor.storage_offset()).fill_(True)
                    yield storage, counts, times
                return
        numbers, often = np.unique(self.numbers(factor).numpy(), return_counts=True)
        for storage in self._storages.values():
            low, high = np.searchsorted(numbers, [storage.first, storage.first + storage.length])
            if low < high:
                counts = torch.zeros(storage.length, dtype=torch.int64, device="cpu")
                counts[torch.from_numpy(numbers[low:high] - storage.first)] = torch.from_numpy(often[low:high])
                yield storage, counts, 1


def storage_of(tensor: Tensor) -> int:
    """Identifies a tensor's memory, for as long as it is alive."""
    return int(tensor.untyped_storage()._cdata)


def geometry_of(tensor: Tensor) -> tuple[Any, ...]:
    """Which entries of its memory a tensor holds, and where: equal for tensors that are equal views."""
    strides = (stride if size > 1 else 0 for size, stride in zip(tensor.size(), tensor.stride(), strict=True))
    return tensor.element_size(), tensor.storage_offset(), tuple(tensor.size()), tuple(strides)
