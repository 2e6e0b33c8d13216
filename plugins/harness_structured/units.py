"""Structured pruning: whole neurons, heads, branches and channels go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
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
    Unsupported,
    in_units,
    out_units,
    outermost,
    unit_masks,
)
from harness_structured.importance import Score, importance
from harness_structured.selection import nearest, ranked

Kind = Literal["neuron", "head", "branch", "channel"]


class UnitsOptions(BaseModel):
    """Options of ``units``; those of recovery are ``magnitude``'s.

    Attributes:
        kinds: what may go, of ``neuron``, ``head``, ``branch`` and ``channel``; None is all kinds that the
            architecture has and that can be removed.
        score: what a unit is worth: ``l2`` or ``l1``, the norm of the weights that enter and leave it; ``taylor``, what
            the loss would change without it, to first order; ``random``, a control. ``l2`` is the default of
            Torch-Pruning.
        distribution: ``uniform`` keeps the same fraction of every group of units, such as a layer's heads. ``global``
            ranks all units together: by ``taylor`` as it is, which compares across layers (Molchanov et al. 2019), by
            others over the mean of their group, as Torch-Pruning does.
        least: units that every group keeps, at least 0; 1, so that no layer is cut through.
        batches: training batches that ``taylor`` looks at, at least 1. Published are 10 to 30 minibatches a pruning.
        when: ``after`` training, with recovery, or ``before`` it, without.
        recovery_steps: optimizer steps after pruning, on top of the training budget; 0 for none.
        recovery_lr: constant learning rate of recovery, or None for the suite's.
        recovery_weight_decay: or None for the suite's.
    """

    model_config = ConfigDict(extra="forbid")

    kinds: tuple[Kind, ...] | None = Field(None, min_length=1)
    score: Score = "l2"
    distribution: Literal["uniform", "global"] = "uniform"
    least: int = Field(1, ge=0)
    batches: int = Field(10, ge=1)
    when: Literal["after", "before"] = "after"
    recovery_steps: int = Field(500, ge=0)
    recovery_lr: float | None = Field(1e-4, gt=0)
    recovery_weight_decay: float | None = Field(None, ge=0)


class Units(SparsityMethod[UnitsOptions]):
    """Removes the units that matter least, with all weights that enter and leave them, and recovers.

    The density is the fraction of maskable weights, as everywhere, and not of units: between two layers that lose half
    of their neurons a quarter of the weights is left. As many units stay as come nearest to it; weights that belong to
    no unit stay. Units are removed once, by one ranking (one-shot).

    A removed unit is cut off: nothing depends on it any more. Its bias and the scales of its norms are no maskable
    weights: they stay in the network, and in its parameters' count, without effect. What the unit gave its readers on
    the mean is lost and not added to their biases: recovery has to learn it.

    Units that share something, as the channels of a residual stream share its norms, cannot go. Of groups whose units
    lie within those of another, as query heads that share a key and a value, the larger units go.

    Li et al. 2017, "Pruning Filters for Efficient ConvNets"; Molchanov et al. 2019, "Importance Estimation for Neural
    Network Pruning"; Fang et al. 2023, "DepGraph".
    """

    Options = UnitsOptions

    def unsupported(self, architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
        """Without units of these kinds, with ones that share something, or where the scope leaves a way out of them."""
        known = architecture.units()
        chosen, free = self._chosen(known), [group for group in known if group.removable]
        missing = [kind for kind in self.options.kinds or () if kind not in {group.kind for group in free}]
        if missing or not chosen:
            has = ", ".join(dict.fromkeys(group.kind for group in free)) or "none"
            shared = [f"; its {g.kind}s '{g.name}' share {g.coupled}" for g in known if not g.removable]
            kinds = f" of kind {' or '.join(missing)}" if missing else ""
            return f"it has no units{kinds} that can be removed: of those it has {has}{''.join(shared[:3])}"
        scope = {c.name for c in connections}
        for group in chosen:
            ways_out = [replace(group, members=tuple(m for m in group.members if m.side == "out"))]
            readers = [c for c in architecture.connections() if out_units(c, ways_out) or in_units(c, ways_out)]
            if left := [c.name for c in readers if c.name not in scope]:
                return f"units of '{group.name}' are read by {', '.join(left)}, out of scope: take them into the scope"
        return None

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """Train, remove, recover; or remove, train."""
        options, train = self.options, Train(budget.steps, hooks=False)
        if options.when == "before":
            return [Prune(), train]
        recovery = Finetune(options.recovery_steps, lr=options.recovery_lr, weight_decay=options.recovery_weight_decay)
        return [train, Prune(), *([recovery] if options.recovery_steps else [])]

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """What chooses units; the phases carry the rest."""
        chooses = {"kinds", "score", "distribution", "least", *(["batches"] if self.options.score == "taylor" else [])}
        return self.options.model_dump(mode="json", include=chooses)

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Magnitudes, of which :meth:`refine` makes no use: it chooses units, not weights."""
        return {c.name: context.weight(c).abs() for c in context.connections}

    def refine(self, masks: Masks, context: MethodContext) -> Masks:
        """Masks without the units that go.

        Raises:
            Unsupported: for counts per connection, or a density below that of what stays in any case.
        """
        options, budget = self.options, context.budget
        assert budget is not None, "planned with takes_density"
        if budget.per_connection is not None:
            raise Unsupported("whole units cannot keep another cell's count in every connection: match by hard")
        groups = self._chosen(context.units)
        scores = importance(options.score, groups, context, options.batches)
        if options.score != "taylor":
            scores = [values / values.mean().clamp_min(1e-300) for values in scores]
        order = ranked(scores, options.distribution, options.least)
        kept = nearest(budget.keep, order, groups, context.connections, options.least)
        return unit_masks(context.connections, groups, kept)

    def other_count(self, asked: int, kept: int, connections: Sequence[Connection]) -> str | None:
        """Units are whole."""
        return "whole units go: the nearest count"

    def _chosen(self, groups: Sequence[UnitGroup]) -> list[UnitGroup]:
        """The groups whose units may go."""
        kinds = self.options.kinds
        free = [group for group in groups if group.removable and (kinds is None or group.kind in kinds)]
        return outermost(free)
