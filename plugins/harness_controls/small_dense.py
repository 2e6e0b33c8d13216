"""The small dense control: would a smaller dense network do as well?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from harness import Architecture, Connection, DensityBudget, SparsityMethod, Unsupported
from harness_architectures.scaling import parameter_count


class SmallDense(SparsityMethod[BaseModel]):
    """Trains a narrower network of the same kind, dense, with as many parameters as the density leaves.

    Its program is one training *with* hooks, although it has none: the network differs, so that the
    training must not be shared with ``dense``.
    """

    control = True

    def unsupported(self, architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
        """An architecture that cannot be scaled has no smaller version."""
        if type(architecture).scaled is Architecture.scaled:
            return f"{type(architecture).__name__} has no width to scale, so there is no smaller dense network"
        return None

    def adapt(
        self, architecture: Architecture[Any], connections: Sequence[Connection], budget: DensityBudget | None
    ) -> Architecture[Any]:
        """The architecture scaled to all its parameters less those that the density removes.

        Raises:
            Unsupported: if the density leaves no weight, or the architecture cannot be so small.
        """
        assert budget is not None, "planned with takes_density"
        if budget.keep == 0:
            raise Unsupported(f"density {budget.requested} keeps no weight; small_dense needs at least one")
        scope = sum(connection.size for connection in connections)
        return architecture.scaled(parameter_count(architecture) - scope + budget.keep)

    def other_count(self, asked: int, kept: int, connections: Sequence[Connection]) -> str | None:
        """It has no mask: the network itself is smaller."""
        return "a smaller network without masks: its parameters are what the density leaves, as far as widths allow"
