"""How dense one connection is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.core.connections import Connection
    from harness.core.masks import Masks


@dataclass(frozen=True, slots=True)
class ConnectionDensity:
    """One row of a table of densities, connection name -> row.

    Attributes:
        shape: of the connection's region, (out, in, *kernel).
        kept: weights that the hard mask keeps.
        soft: mean of the soft mask in [0, 1] where the network runs with one, else None.
    """

    shape: tuple[int, ...]
    kept: int
    soft: float | None = None

    @property
    def size(self) -> int:
        """Weights of the connection."""
        return prod(self.shape)

    @property
    def hard(self) -> float:
        """Fraction kept by the hard mask, in [0, 1]."""
        return self.kept / self.size

    @property
    def mean(self) -> float:
        """Mean of the mask that the network runs with, in [0, 1]."""
        return self.hard if self.soft is None else self.soft

    def state(self) -> dict[str, Any]:
        """As JSON; :meth:`of_state` is the inverse, but for a hard mask's ``soft``, which is its density."""
        return {"shape": list(self.shape), "size": self.size, "kept": self.kept, "soft": self.mean}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> ConnectionDensity:
        """From what :meth:`state` gave."""
        return cls(tuple(state["shape"]), int(state["kept"]), float(state["soft"]))


def connection_densities(
    connections: Sequence[Connection], hard: Masks | None, soft: Mapping[str, float] | None
) -> dict[str, ConnectionDensity]:
    """The table of ``connections``, in their order; without ``hard`` masks everything is kept."""
    return {
        c.name: ConnectionDensity(
            c.shape, int(hard[c.name].sum()) if hard is not None else c.size, soft[c.name] if soft else None
        )
        for c in connections
    }
