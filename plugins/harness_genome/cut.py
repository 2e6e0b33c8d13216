"""The method ``genome_cut``: the wiring that a trained genome ranks highest, at any density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from harness import (
    Architecture,
    Connection,
    Finetune,
    Inherit,
    Masks,
    MethodContext,
    Phase,
    Prune,
    SparsityMethod,
    Train,
    TrainingBudget,
    Unsupported,
)
from harness_genome.genome import Genome
from harness_genome.layout import Layout, unmaskable
from harness_genome.published import source_genome
from harness_genome.wiring import Distribution, pairwise, whole_kernels


class GenomeCutOptions(BaseModel):
    """Options of ``genome_cut``; those of recovery are ``magnitude``'s.

    Attributes:
        distribution: what is ranked together: ``global`` all logits, ``uniform`` and ``erk`` those of each connection.
        start: ``initial`` trains the seed's initial weights anew under the masks, as ``random`` does: is the wiring
            good? ``trained`` keeps the source's weights and recovers, as ``magnitude`` does: is the cut good?
        recovery_steps: of ``trained``: optimizer steps after the cut, on top of the source's; 0 for none.
        recovery_lr: constant learning rate of recovery, or None for the suite's.
        recovery_weight_decay: or None for the suite's.
    """

    model_config = ConfigDict(extra="forbid")

    distribution: Distribution = "global"
    start: Literal["initial", "trained"] = "initial"
    recovery_steps: int = Field(500, ge=0)
    recovery_lr: float | None = Field(1e-4, gt=0)
    recovery_weight_decay: float | None = Field(None, ge=0)


class GenomeCut(SparsityMethod[GenomeCutOptions]):
    """Keeps exactly the weights of largest logits of the source cell's genome, which is not trained any further.

    One trained genome serves all densities. With ``initial`` weights they may exceed its own; with ``trained`` ones a
    cut only removes, since what the source's hard masks closed has no trained value. A genome that was trained with a
    density ranks best around that density: ``genome`` with a density trains one for each. Of equal logits the first
    are kept, in the order of connections, rows and columns.
    """

    Options = GenomeCutOptions
    takes_source = "required"

    def unsupported(self, architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
        """As ``genome``."""
        return unmaskable(connections, None)

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """Cut and train, or inherit, cut and recover."""
        options = self.options
        cut = Prune(distribution=options.distribution, granularity="kernel")
        if options.start == "initial":
            return [cut, Train(budget.steps, hooks=False)]
        decay = options.recovery_weight_decay
        recovery = Finetune(options.recovery_steps, lr=options.recovery_lr, weight_decay=decay)
        return [Inherit(), cut, *([recovery] if options.recovery_steps else [])]

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """Nothing: the phases carry all options."""
        return {}

    def other_count(self, asked: int, kept: int, connections: Sequence[Connection]) -> str | None:
        """Whole kernels: exact to one of each connection."""
        return whole_kernels(asked, kept, connections)

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """The genome's logits, those of a pair for its whole kernel."""
        assert context.source is not None, "planned with takes_source"
        genome = Genome.of(source_genome(context.source)).to(context.device)
        if reason := unmaskable(context.connections, genome.n_bands):
            raise Unsupported(f"the genome of cell {context.source.cell} does not fit this cell: {reason}")
        layout, by_name = Layout(genome, context.connections), {c.name: c for c in context.connections}
        return {name: pairwise(part, by_name[name]) for name, part in layout.parts(layout.logits(genome))}

    def refine(self, masks: Masks, context: MethodContext) -> Masks:
        """The masks as they are.

        Raises:
            Unsupported: if trained weights are to be kept that the source has closed.
        """
        opened = sum(int((mask & ~context.masks[name]).sum()) for name, mask in masks.items())
        if opened:
            raise Unsupported(
                f"the cut keeps {opened:,} weights that the source's hard masks have closed, so they have no trained "
                "value: ask for a lower density or distribution: global, or give start: initial"
            )
        return masks
