"""Neural DNA: a genome of a few hundred numbers grows the masks of a whole network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness import Entry, hookimpl

if TYPE_CHECKING:
    from harness_genome.genome import Genome as Genome

__all__ = ["Genome"]


@hookimpl
def harness_register_methods() -> Sequence[Entry]:
    """The methods ``genome`` and ``genome_cut``."""
    return [
        Entry("genome", "harness_genome.method:GenomeMethod", "masks grown from a trained genome (NDNA)"),
        Entry("genome_cut", "harness_genome.cut:GenomeCut", "the wiring that a trained genome ranks highest"),
    ]


def __getattr__(name: str) -> Any:
    # Genome needs torch, which listing the plugins must not import.
    if name == "Genome":
        from harness_genome.genome import Genome

        return Genome
    raise AttributeError(f"module 'harness_genome' has no attribute '{name}'")
