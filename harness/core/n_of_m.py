"""N weights of every M along the inputs: the pattern that sparse tensor cores can use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.errors import UserError

if TYPE_CHECKING:
    from harness.core.connections import Connection
    from harness.core.method import TrainingBudget


@dataclass(frozen=True, slots=True)
class NOfM:
    """Of every ``m`` consecutive inputs of an output, at each place of a kernel, ``n`` weights are kept.

    Written ``n:m``, as in 2:4, which NVIDIA's sparse tensor cores take (Mishra et al. 2021, "Accelerating Sparse Deep
    Neural Networks").

    Attributes:
        n: kept in each group, in [1, m].
        m: weights of a group.

    Raises:
        ValueError: if n is not in [1, m].
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.m:
            raise ValueError(f"a pattern {self.n}:{self.m} is none: it keeps 1 to {self.m} of {self.m}")

    @classmethod
    def of(cls, text: str) -> NOfM:
        """The pattern that is written ``n:m``, for example ``2:4``."""
        found = re.fullmatch(r"(\d+):(\d+)", text)
        if found is None:
            raise ValueError(f"a pattern is n:m, weights kept of how many, for example '2:4', and not '{text}'")
        return cls(int(found[1]), int(found[2]))

    @property
    def density(self) -> float:
        """Fraction of the weights that it keeps, n / m."""
        return self.n / self.m

    def mask(self, scores: Tensor) -> Tensor:
        """Mask of the ``n`` largest scores of every group along axis 1; ties go to the lower index. NaN is an error.

        Args:
            scores: (out, in, *kernel), ``in`` a multiple of m; the mask has the same shape.
        """
        if torch.isnan(scores).any():
            raise ValueError("scores hold NaN: the ranking would be meaningless")
        outputs, inputs, *kernel = scores.shape
        groups = scores.detach().reshape(outputs, inputs // self.m, self.m, *kernel)
        first = groups.argsort(dim=2, descending=True, stable=True).narrow(2, 0, self.n)
        return torch.zeros_like(groups, dtype=torch.bool).scatter_(2, first, True).flatten(1, 2)

    def fits(self, connection: Connection) -> bool:
        """Whether the inputs of a connection are whole groups, and begin with one in their parameter."""
        start = connection.columns[0] if connection.columns else 0
        return connection.shape[1] % self.m == 0 and start % self.m == 0

    def misfit(self, connections: Sequence[Connection]) -> str | None:
        """Why the pattern is impossible in some of the connections, in words for whoever wrote the suite, or None."""
        found = [f"'{c.name}' ({c.role}, {c.shape[1]} inputs)" for c in connections if not self.fits(c)]
        if not found:
            return None
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        return (
            f"the pattern {self.n}:{self.m} needs inputs in whole groups of {self.m}, unlike those of "
            f"{', '.join(found[:5])}{more}: give a scope without these roles"
        )

    def agreed(self, budget: TrainingBudget) -> float:
        """The density, n / m, if the suite gives none or this one.

        Raises:
            UserError: if it gives another, or another cell's.
        """
        if budget.matched or budget.density not in (None, self.density):
            given = "that of another cell" if budget.matched else f"{budget.density:g}"
            raise UserError(
                f"the density is given as {given}, and the pattern {self.n}:{self.m} makes it {self.density:g}: leave "
                "the density out, or give another pattern"
            )
        return self.density
