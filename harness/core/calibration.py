"""Looking at training batches without training on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Calibration(Protocol):
    """What gives a method batches, where it may ask for them; see ``MethodContext.batches`` and ``loss``."""

    def batches(self, count: int, size: int | None, training: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """``count`` batches of ``size`` training examples, (inputs, targets)."""

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch, a scalar with its graph."""
