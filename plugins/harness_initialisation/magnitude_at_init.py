"""Magnitude pruning before training: the baseline of all methods that prune at initialisation."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from harness import MethodContext
from harness_initialisation.at_initialisation import AtInitialisation, AtInitialisationOptions


class MagnitudeAtInit(AtInitialisation[AtInitialisationOptions]):
    """Keeps the initial weights of largest magnitude, and trains them.

    Ranked together, layers whose initial weights are drawn from a wider distribution keep more of them. (Frankle,
    Dziugaite, Roy, Carbin 2021, "Pruning neural networks at initialization: why are we missing the mark?")
    """

    Options = AtInitialisationOptions

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Absolute values of the initial weights."""
        return {c.name: context.weight(c).abs() for c in context.connections}
