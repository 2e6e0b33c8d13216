"""The SparsityMethod interface: what a method may decide, and when it is asked."""

from __future__ import annotations

from abc import ABC
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel
from torch import Tensor, nn

from harness.core.architecture import Architecture, NoOptions
from harness.core.assemble import assemble
from harness.core.connections import Connection, Kind
from harness.core.densities import DensityBudget
from harness.core.masks import Masks
from harness.core.method_context import MethodContext
from harness.core.returned import kind, require_tensor
from harness.errors import PluginError

if TYPE_CHECKING:
    from harness.core.phases import Calibrate, Phase

Use = Literal["required", "optional", "never"]
Schedule = Literal["same", "constant"]
Refined = Mapping[str, Tensor] | tuple[Mapping[str, Tensor], Mapping[str, Tensor]]
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

    def __post_init__(self) -> None:
        if isinstance(self.parameters, Tensor) or not isinstance(self.parameters, Collection):
            raise PluginError(
                f"ParameterGroup: parameters is {kind(self.parameters)}, must be a list: [self.temperature]"
            )


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
        dense_updates: projected mode: whether masked weights keep their gradients and optimizer state. They are set to
            zero after each step instead, and a later mask may bring them back with their next update.
        control: whether it is there for others to be compared with: suites then ask about them, against it.
    """

    Options: ClassVar[type[BaseModel]] = NoOptions
    version: ClassVar[str] = "1"
    mode: ClassVar[Literal["projected", "composed"]] = "projected"
    takes_density: ClassVar[Use] = "required"
    takes_source: ClassVar[Use] = "never"
    kinds: frozenset[Kind] = frozenset({"weight"})
    dense_updates: ClassVar[bool] = False
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

        Default: 1 in composed mode and with :attr:`dense_updates`, else 0, as for masks that stand. For RigL
        1 / (interval + 1).
        """
        return 1.0 if self.mode == "composed" or self.dense_updates else 0.0

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

    def start(self, connection: Connection, weight: Tensor) -> Tensor:
        """Raw weights of one connection from which composed training starts, same shape (composed mode).

        ``weight`` is what the network has then: initial weights, or what an earlier phase made of them. The effective
        weights must be equal to it, so that training starts from the network that other methods start from. Default:
        ``weight`` itself. Masked weights are zero, and so should their raw ones be.
        """
        return weight

    def effective(self, raw: Mapping[str, Tensor], connections: Sequence[Connection]) -> Mapping[str, Tensor]:
        """Effective weights of whole parameters (composed mode); evaluated once per optimizer step.

        Default: :meth:`compose` on each connection's region. Override to share work between them.
        """
        parts: dict[str, list[tuple[Connection, Tensor]]] = {}
        for connection in connections:
            values = self.compose(connection, connection.region(raw[connection.parameter]))
            what = f"the weight of connection '{connection.name}'"
            require_tensor(values, connection.shape, f"{type(self).__name__}.compose()", what)
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

        Weights that open start at zero with fresh optimizer state, with :attr:`dense_updates` at what this step made of
        zero; weights that close become zero. In composed mode: a look at the raw weights after the step, and None.
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
