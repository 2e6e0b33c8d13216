"""A method's prunings on a network, without a suite and without training."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor

from harness import (
    Architecture,
    CurrentMasks,
    DensityBudget,
    Masks,
    MethodContext,
    Prune,
    SparsityMethod,
    TrainingBudget,
)
from harness.core.connections import weights_among
from harness.core.phases import inverted
from harness.stages.calibration_batches import Batches
from harness.stages.discrete_phases import prune
from harness.stages.network import Network, initial_module
from harness.suites.schema import Training

CPU = torch.device("cpu")


class Bench:
    """A network of initial weights, a method, and data to calibrate on.

    Args:
        method: with its options.
        architecture: with the shape of the data.
        data: indexable examples, as a benchmark gives them.
        density: in [0, 1].
        batch_size: the suite's.
    """

    def __init__(
        self,
        method: SparsityMethod[Any],
        architecture: Architecture[Any],
        data: Any,
        density: float,
        batch_size: int = 8,
    ) -> None:
        self.method = method
        module = initial_module(architecture, seed=0)
        self.connections = tuple(c for c in architecture.connections() if c.default)
        self.budget = DensityBudget.of(density, weights_among(self.connections))
        self.context = MethodContext(
            model=module,
            connections=self.connections,
            raw={c.parameter: module.get_parameter(c.parameter) for c in self.connections},
            current=CurrentMasks(self.connections),
            budget=self.budget,
            source=None,
            seed=0,
            device=CPU,
            data=architecture.data,
        )
        self.network = Network(cast(Any, None), architecture, module, self.connections, method, self.context)
        self.batches = Batches(self.network, lambda: data, Training(steps=1, batch_size=batch_size), seed=0)

    @contextmanager
    def calibrating(self) -> Any:
        """Within it the context gives batches."""
        with self.batches.open():
            yield self.context

    def scores(self) -> Mapping[str, Tensor]:
        """The method's scores of the network as it is."""
        with self.batches.open():
            return {name: score.detach() for name, score in self.method.scores(self.context).items()}

    def prune(self, invert: bool = False) -> list[Masks]:
        """The masks after each pruning of the method's program."""
        program = list(self.method.program(TrainingBudget(1, 1, self.budget.requested)))
        found = []
        for index, phase in enumerate(inverted(program) if invert else program):
            self.context.phase, self.context.running = index, phase
            if isinstance(phase, Prune):
                prune(self.network, phase, self.batches)
                found.append(Masks({name: mask.clone() for name, mask in self.context.masks.items()}))
        return found
