"""A pre-trained genome alone."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from harness.interchange.bundle import Bundle, Plug
from harness.interchange.formats import Importer
from harness_genome.published import load_genome


class NdnaGenome(Importer[BaseModel]):
    """Reads the six tensors of a genome, as the published code saves them or inside a training checkpoint.

    Suites start from it with ``genome: {initial: NAME, ...}``; ``frozen: true`` keeps it as it is.
    """

    def load(self, source: Path, name: str) -> Bundle:
        """The genome as tensors of the method ``genome``; no network."""
        genome = load_genome(source)
        n_types, type_dim = genome["affinity"].shape
        sizes = {"n_types": n_types, "type_dim": type_dim, "n_bands": len(genome["band_type_base"])}
        how = ", ".join(f"{option}: {value}" for option, value in sizes.items())
        return Bundle(
            method=Plug(plugin="genome", options=sizes),
            method_tensors={f"genome.{key}": tensor for key, tensor in genome.items()},
            notes=[f"in a suite: methods: {{genome: {{initial: {name}, frozen: true, {how}}}}}"],
        )
