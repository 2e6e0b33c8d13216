"""The hard masks that hold now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.core.masks import Masks

if TYPE_CHECKING:
    import torch

    from harness.core.connections import Connection


class CurrentMasks:
    """The one place where a network's current masks stand: network, weights and method look here, so they agree.

    Args:
        connections: those in scope.
        device: where the network lives.
        hard: the masks to begin with.

    Attributes:
        hard: the masks that hold, or None where nothing is masked.
    """

    def __init__(
        self, connections: Sequence[Connection], device: torch.device | str = "cpu", hard: Masks | None = None
    ) -> None:
        self._connections = connections
        self._device = device
        self._everything: Masks | None = None
        self.hard = hard

    @property
    def full(self) -> Masks:
        """The masks that hold; all True where nothing is masked."""
        if self.hard is not None:
            return self.hard
        if self._everything is None:
            self._everything = Masks.full(self._connections, self._device)
        return self._everything
