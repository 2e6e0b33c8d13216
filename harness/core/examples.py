"""What a metric's value is made of: a number for each example, document or window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Transform = Literal["mean", "ratio", "exp_mean", "exp_ratio"]


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Results on each of n units, in the benchmark's order: unit i is the same one in every cell of the benchmark.

    Attributes:
        values: (n,) float64: of ``mean``, the metric on each unit; of ``ratio``, its total there.
        sizes: (n,) float64, of ``ratio``: what the totals are divided by (tokens, bytes); else None.
        transform: how the metric's value follows: ``mean`` of the values, ``ratio`` of the sums of values and sizes,
            or ``exp_mean`` and ``exp_ratio``, the exponentials of these.
        unit: what one of them is, such as ``example``, ``document`` or ``window``: the least part of a test set that
            can be taken for independent of the others.
    """

    values: NDArray[np.float64]
    sizes: NDArray[np.float64] | None = None
    transform: Transform = "mean"
    unit: str = "example"

    def __post_init__(self) -> None:
        if self.values.ndim != 1 or (self.sizes is not None and self.sizes.shape != self.values.shape):
            shapes = f"{self.values.shape}" + ("" if self.sizes is None else f" and {self.sizes.shape}")
            raise ValueError(f"values and sizes are {shapes}; both must be (n,)")
        if self.transform.endswith("ratio") == (self.sizes is None):
            raise ValueError(f"a {self.transform} {'needs' if self.sizes is None else 'has no'} sizes")

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def of(cls, values: Tensor, sizes: Tensor | None = None, unit: str = "example") -> Examples:
        """A ``mean`` of tensors, or with sizes a ``ratio``."""
        return cls(
            _plain(values), None if sizes is None else _plain(sizes), "ratio" if sizes is not None else "mean", unit
        )

    @property
    def value(self) -> float:
        """The metric's value, in float64."""
        whole = self.values.mean() if self.sizes is None else self.values.sum() / self.sizes.sum()
        return float(np.exp(whole) if self.transform.startswith("exp_") else whole)

    def exponential(self) -> Examples:
        """The same of the exponential of a mean or ratio."""
        transform: Transform = "exp_mean" if self.sizes is None else "exp_ratio"
        return replace(self, transform=transform)

    def per(self, units: float, scale: float = 1.0) -> Examples:
        """Of a ratio: the same total per each of ``units`` words or bytes, spread as the sizes are, over ``scale``."""
        if self.sizes is None:
            raise ValueError("a mean has no sizes to divide its total by")
        return replace(self, values=self.values / scale, sizes=self.sizes * (units / self.sizes.sum()))

    def grouped(self, groups: Tensor, unit: str) -> Examples:
        """Of a ratio: sums over groups, such as the documents that tokens belong to.

        Args:
            groups: (n,) the group of each unit, from 0; groups without a unit are left out.
            unit: what a group is.
        """
        ids, sizes = groups.cpu().numpy(), self.sizes
        if sizes is None:
            raise ValueError("groups of a mean would count as one each: make it a ratio, with sizes of 1")
        some = np.bincount(ids) > 0
        summed = [np.bincount(ids, numbers)[some].astype(np.float64) for numbers in (self.values, sizes)]
        return replace(self, values=summed[0], sizes=summed[1], unit=unit)


def _plain(tensor: Tensor) -> NDArray[np.float64]:
    found: NDArray[Any] = tensor.detach().double().cpu().numpy()
    return found
