"""The SparsityMethod interface: what a method may decide, and when it is asked."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from harness.core.architecture import Architecture, NoOptions
from harness.core.assemble import assemble
from harness.core.calibration import Calibration
from harness.core.connection_density import ConnectionDensity
from harness.core.connections import Connection, Kind
from harness.core.current_masks import CurrentMasks
from harness.core.data import DataSpec
from harness.core.densities import DensityBudget
from harness.core.masks import Masks
from harness.core.units import UnitGroup

if TYPE_CHECKING:
    from harness.core.phases import Calibrate, Phase

Use = Literal["required", "optional", "never"]
Schedule = Literal["same", "constant"]
Refined = Mapping[str, Tensor] | tuple[Mapping[str, Tensor], Mapping[str, Tensor]]
NO_DATA = DataSpec("", (), 0, 0)
OptionsT = TypeVar("OptionsT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class TrainingBudget:
    """What a suite grants one training: ``steps`` optimizer steps of ``batch_size`` examples.

    ``density`` is the cell's density in [0, 1] where the suite gives a number. ``matched`` says that it is
    another cell's, known only when that has run. Neither: the method determines it.
    """

    steps: int
    batch_size: int
    density: float | None = None
    matched: bool = False


@dataclass(slots=True)
class ParameterGroup:
    """A method's own parameters, and how they are trained (Adam, its own rate, no clipping).

    Attributes:
        parameters: leaf tensors with ``requires_grad``.
        lr: learning rate at the peak of the schedule.
        weight_decay: decoupled, 0 by default.
        schedule: ``same`` follows the weights' schedule, ``constant`` stays at ``lr``.
        name: what records call them.
        in_network: True: the final network cannot be told without these numbers, so they are counted with its own.
            False: it can, because they only shaped masks or have become part of the weights. None, where nothing is
            said, is False; a method whose :meth:`SparsityMethod.final` depends on them must say which.
    """

    parameters: Sequence[nn.Parameter]
    lr: float
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    name: str = "own"
    in_network: bool | None = None


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

        Of the step's batch in ``on_gradients``; of all backward passes so far where :meth:`batches` are given.
        """
        if self.calibration is None:
            return connection.region(self.dense_gradients[connection.parameter])
        parameter = self.model.get_parameter(connection.parameter)
        return connection.region(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)

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


class SparsityMethod(ABC, Generic[OptionsT]):
    """One way to decide which weights exist. Every hook has a default: override what the method needs.

    The order within an optimizer step: effective weights are materialised, micro-batches run,
    :meth:`on_gradients`, gradients go back through :meth:`effective` (composed) or the mask (projected),
    :meth:`regularizers`, clipping, optimizer step, :meth:`after_step`.

    Attributes:
        Options: pydantic model of what a suite may set.
        version: raise it whenever the same options would give another result.
        mode: ``projected`` for hard masks that carry no gradient; ``composed`` for methods whose
            effective weights are a differentiable function of raw weights and own parameters.
        takes_density: whether a suite must, may or must not give a density.
        takes_source: whether a suite must, may or must not name a cell to start from.
        kinds: what it masks; connections of other kinds are never in its scope.
        control: whether it is there for others to be compared with: suites then ask about them, against it.
    """

    Options: ClassVar[type[BaseModel]] = NoOptions
    version: ClassVar[str] = "1"
    mode: ClassVar[Literal["projected", "composed"]] = "projected"
    takes_density: ClassVar[Use] = "required"
    takes_source: ClassVar[Use] = "never"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"weight"})
    control: ClassVar[bool] = False

    def __init__(self, options: OptionsT) -> None:
        self.options = options

    # --- when a suite is planned -------------------------------------------------------------

    @classmethod
    def content(cls, options: OptionsT) -> str | None:
        """Digest of files that the options point to, or None; enters every hash, so that new content is a new cell."""
        return None

    def unsupported(self, architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
        """Why the method cannot work on these connections, or None if it can."""
        return None

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """The phases of a cell, in order. Default: one training with the hooks below."""
        from harness.core.phases import Train

        return [Train(budget.steps)]

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """The options that determine what ``phase`` does; stages with equal values are shared.

        Default: all of them. Leave out only what the phase itself already carries as data.
        """
        return self.options.model_dump(mode="json")

    # --- when a cell runs --------------------------------------------------------------------

    def adapt(
        self, architecture: Architecture[Any], connections: Sequence[Connection], budget: DensityBudget | None
    ) -> Architecture[Any]:
        """The architecture to build; only controls that change the network itself override this.

        ``connections`` are those in scope on the architecture as given; ``budget.keep`` counts their weights.
        """
        return architecture

    @property
    def dense_gradient_share(self) -> float:
        """Fraction of the steps with hooks that need the gradients of masked weights too; counts operations only.

        Default: 1 in composed mode, else 0, as for masks that stand. For RigL 1 / (interval + 1).
        """
        return 1.0 if self.mode == "composed" else 0.0

    def attach(self, context: MethodContext) -> None:
        """Make the method's own parameters. Called once per stage, before any other hook below."""

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Importance per weight for a ``Prune`` phase: connection -> tensor of the region's shape.

        The highest are kept. Weights pruned earlier are left out by the phase, whatever their score.
        """
        raise NotImplementedError(f"{type(self).__name__} has a Prune phase but no scores()")

    def refine(self, masks: Masks, context: MethodContext) -> Refined:
        """Last word on masks of a ``Prune`` phase (a structural rule, say); those left out stay. Default: unchanged.

        May return new weights beside the masks: connection -> tensor of the region's shape, and for parameters in
        which no connection lies, such as biases, name -> tensor. What the masks close becomes zero after that.
        """
        return masks

    def calibrate(self, phase: Calibrate, context: MethodContext) -> None:
        """Look at ``context.batches(phase.batches)``, in a ``Calibrate`` phase with hooks, and keep what was seen."""
        raise NotImplementedError(f"{type(self).__name__} has a Calibrate phase with hooks but no calibrate()")

    def compose(self, connection: Connection, raw: Tensor) -> Tensor:
        """Effective weights of one connection, differentiable, same shape as ``raw`` (composed mode).

        Of an attention mask ``raw`` is zeros, and the result is added to the scores.
        """
        raise NotImplementedError(f"{type(self).__name__} is in composed mode but has no compose()")

    def effective(self, raw: Mapping[str, Tensor], connections: Sequence[Connection]) -> Mapping[str, Tensor]:
        """Effective weights of whole parameters (composed mode); evaluated once per optimizer step.

        Default: :meth:`compose` on each connection's region. Override to share work between them.
        """
        parts: dict[str, list[tuple[Connection, Tensor]]] = {}
        for connection in connections:
            values = self.compose(connection, connection.region(raw[connection.parameter]))
            if values.shape != connection.shape:
                raise ValueError(
                    f"{type(self).__name__}.compose() returned shape {tuple(values.shape)} for connection "
                    f"'{connection.name}', must be {connection.shape}"
                )
            parts.setdefault(connection.parameter, []).append((connection, values))
        return {name: assemble(raw[name], regions) for name, regions in parts.items()}

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """The method's own trainable parameters. Default: none."""
        return ()

    def regularizers(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Named scalars added to the loss once per optimizer step, already weighted. Default: none."""
        return {}

    def on_gradients(self, context: MethodContext) -> None:
        """Look at the dense gradients (``context.gradient``) before masks are applied to them."""

    def after_step(self, context: MethodContext) -> Mapping[str, Tensor] | None:
        """New hard masks, or None to keep them (projected mode); connections that are left out keep theirs.

        Weights that open start at zero with fresh optimizer state; weights that close become zero.
        """
        return None

    def final_masks(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Hard masks for evaluation and for the next phase. Default: the current ones, as for connections left out."""
        return context.masks

    def final(self, connection: Connection, raw: Tensor) -> Tensor:
        """Weights of one connection in the final network, same shape as ``raw`` (composed mode); final masks go on top.

        What hard evaluation and export compute with. Default: ``raw``; for soft thresholds or gates with values
        between 0 and 1, the effective weights. Closed entries of an attention mask get ``CLOSED`` instead of zero.
        """
        return raw

    def final_differs(self) -> str | None:
        """Why the final network computes something else than the trained one, or None if it does not.

        Told beside its scores; without it, conformance refuses a difference.
        """
        return None

    def other_count(self, asked: int, kept: int, connections: Sequence[Connection]) -> str | None:
        """Why the final masks may keep ``kept`` weights where ``asked`` were asked for, or None: the cell then fails.

        Asked only where the two differ, for each connection whose count is given as well as for all of them.
        """
        return None

    def soft_densities(self) -> Mapping[str, float] | None:
        """Mean of the soft mask per connection as the network runs, or None if masks are hard."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """What must survive between stages: nested dicts, lists, numbers, strings, tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; called after :meth:`attach`."""
