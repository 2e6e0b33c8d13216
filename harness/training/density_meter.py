"""Mean density over training, counted at every change of masks: what sparse kernels would have computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from harness.core.connections import Connection
from harness.core.mask_arithmetic import count
from harness.core.masks import Masks

if TYPE_CHECKING:
    from torch import Tensor


class DensityMeter:
    """Weights kept in each connection, summed over optimizer steps; nothing waits for the device before the end.

    Args:
        connections: those in scope.
        device: where masks live.
    """

    def __init__(self, connections: Sequence[Connection], device: torch.device) -> None:
        self._connections = connections
        self._sum = torch.zeros(len(connections), dtype=torch.float64, device=device)
        self._kept = self._whole = self._stacked([torch.tensor(c.size) for c in connections])
        self._until = 0

    def change(self, masks: Masks | None, step: int) -> None:
        """From step ``step`` on, counted from 0, these masks hold; None keeps everything."""
        self.advance(step)
        self._kept = self._whole if masks is None else self._stacked([count(masks[c.name]) for c in self._connections])

    def composed(self, effective: Mapping[str, Tensor], step: int) -> None:
        """Step ``step`` ran with these effective weights, by parameter: what is not zero was kept."""
        self._kept = self._stacked([count(c.region(effective[c.parameter])) for c in self._connections])
        self.advance(step + 1)

    def advance(self, step: int) -> None:
        """So many steps are done."""
        self._sum += self._kept * (step - self._until)
        self._until = step

    def means(self) -> dict[str, float]:
        """Mean density of each connection over the steps done, in [0, 1]."""
        steps = max(1, self._until)
        return {c.name: kept / steps / c.size for c, kept in zip(self._connections, self._sum.tolist(), strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint, between two steps."""
        return {"sum": self._sum, "steps": self._until}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; :meth:`change` then says which masks hold."""
        self._sum.copy_(state["sum"])
        self._until = state["steps"]

    def _stacked(self, counts: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(counts)).to(self._sum.device, torch.float64) if counts else self._sum
