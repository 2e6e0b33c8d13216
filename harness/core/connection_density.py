"""How dense one connection is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.core.connections import Connection, Kind
    from harness.core.masks import Masks


@dataclass(frozen=True, slots=True)
class ConnectionDensity:
    """One row of a table of densities, connection name -> row.

    Attributes:
        shape: of the connection's region, (out, in, *kernel).
        kept: weights that the hard mask keeps.
        soft: mean of the soft mask in [0, 1] where the network runs with one, else None.
        kind: what is masked; only weights are counted with weights.
        pairs: (out, in) pairs of which something is kept, where the connection counts those, else None.
    """

    shape: tuple[int, ...]
    kept: int
    soft: float | None = None
    kind: Kind = "weight"
    pairs: int | None = None

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
        """As JSON; :meth:`of_state` is the inverse, but for a hard mask's ``soft``, its density, and for pairs."""
        kind = {} if self.kind == "weight" else {"kind": self.kind}  # weights have none in stages that are finished
        return {"shape": list(self.shape), "size": self.size, "kept": self.kept, "soft": self.mean, **kind}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> ConnectionDensity:
        """From what :meth:`state` gave."""
        return cls(tuple(state["shape"]), int(state["kept"]), float(state["soft"]), state.get("kind", "weight"))


def connection_densities(
    connections: Sequence[Connection], hard: Masks | None, soft: Mapping[str, float] | None
) -> dict[str, ConnectionDensity]:
    """The table of ``connections``, in their order; without ``hard`` masks everything is kept."""
    table = {}
    for c in connections:
        mask = hard[c.name] if hard is not None else None
        kept = c.size if mask is None else int(mask.sum())
        pairs = None
        if c.counts == "pair":
            pairs = prod(c.shape[:2]) if mask is None else int(mask.flatten(2).any(2).sum() if mask.ndim > 2 else kept)
        table[c.name] = ConnectionDensity(c.shape, kept, soft[c.name] if soft else None, c.kind, pairs)
    return table
