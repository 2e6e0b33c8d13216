"""Magnitude pruning of a trained network, followed by recovery with the mask held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from harness import (
    Architecture,
    Connection,
    Finetune,
    Masks,
    MethodContext,
    Phase,
    Prune,
    SparsityMethod,
    Train,
    TrainingBudget,
    UnitGroup,
)
from harness_magnitude.dead_neurons import without_dead_rows, without_dead_units


class MagnitudeOptions(BaseModel):
    """Options of ``magnitude``; the defaults of recovery are those of BioGPT's pruning curve.

    Attributes:
        distribution: ``global`` ranks all weights together; ``uniform`` and ``erk`` give each connection
            its count.
        recovery_steps: optimizer steps after pruning, on top of the training budget; 0 for none.
        recovery_lr: constant learning rate of recovery, or None for the suite's.
        recovery_weight_decay: or None for the suite's. BioGPT's is 0.01.
        recover_dense: whether density 1 gets the recovery steps too, as every other point of the curve.
            The published curves' 0 % points got none.
        dead_neurons: fraction in [0, 1): a neuron that lost more of its weights loses the rest, or None
            for no such rule. BioGPT's is 0.95. The masks then hold fewer weights than requested.
        neuron_names: what is a neuron: each unit of a group that the architecture names so (``layer2.neurons``),
            or of every group whose name ends in it (``neurons``: BioGPT's are whole modules with many
            connections). None: a neuron is one output unit of a parameter.
    """

    model_config = ConfigDict(extra="forbid")

    distribution: Literal["global", "uniform", "erk"] = "global"
    recovery_steps: int = Field(500, ge=0)
    recovery_lr: float | None = Field(1e-4, gt=0)
    recovery_weight_decay: float | None = Field(None, ge=0)
    recover_dense: bool = True
    dead_neurons: float | None = Field(None, ge=0, lt=1)
    neuron_names: str | None = None

    @model_validator(mode="after")
    def _names_are_usable(self) -> Self:
        if self.neuron_names is not None and self.dead_neurons is None:
            raise ValueError("neuron_names does nothing without dead_neurons; give dead_neurons too, for example 0.95")
        return self


class Magnitude(SparsityMethod[MagnitudeOptions]):
    """Trains the whole network, keeps the weights of largest magnitude, and trains those a little more.

    The first phase is plain training: one dense run of a seed serves every point of a pruning curve.
    Weights are exact to the requested count, unless ``dead_neurons`` removes more: what is left is
    recounted and shown beside the request. (Han et al. 2015, "Learning both Weights and Connections";
    recovery and dead neurons as in BioGPT, Hamond 2026, whose rule also counts and zeroes the neuron's
    norms and biases, which cannot be masked here.)
    """

    Options = MagnitudeOptions

    def unsupported(self, architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
        """Neurons that the architecture does not know are a mistake."""
        names, groups = self.options.neuron_names, architecture.units()
        if names is None or _named(names, groups):
            return None
        known = ", ".join(dict.fromkeys(group.name.rpartition(".")[2] for group in groups)) or "none"
        return f"neuron_names '{names}' is none of the groups of units that the architecture has: {known}"

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """Train, prune to the cell's density, recover."""
        options = self.options
        phases: list[Phase] = [Train(budget.steps, hooks=False), Prune(distribution=options.distribution)]
        if options.recovery_steps and (options.recover_dense or budget.density != 1.0):
            decay = options.recovery_weight_decay
            phases.append(Finetune(options.recovery_steps, lr=options.recovery_lr, weight_decay=decay))
        return phases

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """The dead-neuron rule; the phases carry the rest."""
        return self.options.model_dump(mode="json", include={"dead_neurons", "neuron_names"})

    def other_count(self, asked: int, kept: int, connections: Sequence[Connection]) -> str | None:
        """Fewer, where what is left of dead neurons goes too."""
        return "the rest of dead neurons goes too" if self.options.dead_neurons is not None and kept < asked else None

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Absolute values of the raw weights."""
        return {c.name: context.weight(c).abs() for c in context.connections}

    def refine(self, masks: Masks, context: MethodContext) -> Masks:
        """Apply the dead-neuron rule where there is one."""
        options = self.options
        if options.dead_neurons is None:
            return masks
        if options.neuron_names is None:
            return without_dead_rows(masks, context.connections, options.dead_neurons)
        groups = _named(options.neuron_names, context.units)
        return without_dead_units(masks, context.connections, options.dead_neurons, groups)


def _named(name: str, groups: Sequence[UnitGroup]) -> list[UnitGroup]:
    """The groups of this name, or whose last part is this name."""
    return [group for group in groups if name in (group.name, group.name.rpartition(".")[2])]
