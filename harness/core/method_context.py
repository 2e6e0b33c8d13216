"""What a method is told: the network in its current state, and where it starts from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.core.calibration import Calibration
from harness.core.connection_density import ConnectionDensity
from harness.core.connections import Connection
from harness.core.current_masks import CurrentMasks
from harness.core.data import DataSpec
from harness.core.densities import DensityBudget
from harness.core.masks import Masks
from harness.core.units import UnitGroup

if TYPE_CHECKING:
    from harness.core.phases import Phase

NO_DATA = DataSpec("", (), 0, 0)


@dataclass(frozen=True, slots=True)
class Source:
    """What another finished cell of the same seed left behind.

    Attributes:
        cell: its id, for messages.
        masks: its final hard masks.
        method_state: the ``state_dict`` of its method (tensors only as a method put them in).
        densities: connection -> its row of the table of densities.
        weights: its final raw weights and buffers, masked entries as its training left them.
        spent: steps, examples and seconds of its program.
        trained_by: the environments in which its weights came about.
    """

    cell: str
    masks: Masks
    method_state: Mapping[str, Any]
    densities: Mapping[str, ConnectionDensity]
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    spent: Mapping[str, float] = field(default_factory=dict)
    trained_by: Sequence[Mapping[str, Any]] = ()


@dataclass(slots=True)
class MethodContext:
    """What a method can see while a stage runs.

    Attributes:
        model: the network; its parameters are *effective* weights: read them, never write.
        connections: the connections in scope, in network order; a method may mask no others.
        raw: parameter name -> raw weight (the very parameter in projected mode).
        current: the hard masks that hold, shared with the network; see :attr:`masks`.
        budget: what the cell may keep, or None when the method determines its density.
        source: what the cell named under ``source`` left, or None.
        seed: derived from the cell's seed, the same for every method; use :meth:`generator`.
        step, steps: optimizer steps done and to do in this phase; the hooks of the first step see 0.
        phase: index into the program of the phase that runs, -1 before the first.
        running: that phase itself, or None.
        device: where tensors live.
        bands: number of depths of the architecture, connections out of scope included.
        units: the architecture's groups of units; see :mod:`harness.core.units`.
        dense_gradients: parameter name -> gradient, only in ``on_gradients``; see :meth:`gradient`.
        data: shape of the training data.
        calibration: what gives :meth:`batches`, where a method may ask for them.
    """

    model: nn.Module
    connections: tuple[Connection, ...]
    raw: Mapping[str, Tensor]
    current: CurrentMasks
    budget: DensityBudget | None
    source: Source | None
    seed: int
    device: torch.device
    bands: int = 0
    units: Sequence[UnitGroup] = ()
    step: int = 0
    steps: int = 0
    phase: int = -1
    running: Phase | None = None
    dense_gradients: Mapping[str, Tensor] = field(default_factory=dict)
    data: DataSpec = NO_DATA
    calibration: Calibration | None = None

    @property
    def masks(self) -> Masks:
        """The current hard masks; all True where nothing is masked."""
        return self.current.full

    def weight(self, connection: Connection) -> Tensor:
        """Raw weights of a connection, (out, in, *kernel); a view, detached."""
        return connection.region(self.raw[connection.parameter].detach())

    def gradient(self, connection: Connection) -> Tensor:
        """Dense gradient of a connection by its effective weights, masked entries included.

        Of the step's batch in ``on_gradients``; the sum of all backward passes since the last
        ``context.model.zero_grad()`` where :meth:`batches` are given.

        Raises:
            RuntimeError: where there are none: before the first backward pass, or in another hook.
        """
        if self.calibration is None:
            if connection.parameter not in self.dense_gradients:
                raise RuntimeError("context.gradient() is for on_gradients(), or for scores() after a backward pass")
            return connection.region(self.dense_gradients[connection.parameter])
        parameter = self.model.get_parameter(connection.parameter)
        if parameter.grad is not None:
            return connection.region(parameter.grad)
        if all(other.grad is None for other in self.model.parameters()):
            raise RuntimeError(
                "context.gradient() before any backward pass: first context.loss(inputs, targets).backward() for "
                "inputs, targets of context.batches(...)"
            )
        return connection.region(torch.zeros_like(parameter))

    def batches(
        self, count: int, size: int | None = None, *, training: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Training batches to look at, (inputs, targets); in ``scores``, ``refine`` and ``calibrate``.

        Every method of a seed gets the same ones, every call begins with the first, every process sees them whole.
        They have nothing to do with the order in which training reads the data, and count apart from it. The network
        is in evaluation mode, or in ``training`` mode; its buffers and random numbers are afterwards as before, and
        gradients are forgotten.

        Args:
            count: how many; no example comes twice before all have come.
            size: examples in each; default: the suite's batch size over its micro-batches.
        """
        return self._calibrating("batches").batches(count, size, training)

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch as training computes it, with its graph; where :meth:`batches` are given."""
        return self._calibrating("loss").loss(inputs, targets)

    def _calibrating(self, what: str) -> Calibration:
        if self.calibration is None:
            raise RuntimeError(f"context.{what}() is for scores(), refine() and calibrate(): no other hook has batches")
        return self.calibration

    def generator(self, name: str) -> torch.Generator:
        """A fresh CPU generator for one purpose: equal names give equal streams within a cell's seed."""
        from harness.seeds import derived_seed

        return torch.Generator().manual_seed(derived_seed(self.seed, name))
