"""Genomes of their own for masks on the scores of attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from harness import Connection, MethodContext
from harness_genome.genome import Genome
from harness_genome.layout import Layout


class AttentionGenomeOptions(BaseModel):
    """What a suite may set of the genomes for attention.

    Attributes:
        n_types, type_dim: K and D of each.
        n_bands: L of each; queries are its band 1, keys its band 0, and the others are never used.
        lr: their learning rate at the peak of its schedule.
        floor: a soft mask is no lower than this, and no higher than one minus it; beyond there is no gradient.
        strength: what a mask that is open adds to a score above one that is closed.
    """

    model_config = ConfigDict(extra="forbid")

    n_types: int = Field(default=4, ge=1)
    type_dim: int = Field(default=4, ge=1)
    n_bands: int = Field(default=5, ge=2)
    lr: float = Field(default=1e-2, gt=0)
    floor: float = Field(default=0.01, ge=0, lt=0.5)
    strength: float = Field(default=20.0, gt=0)


class AttentionGenomes:
    """One genome for each connection of kind ``attention``: a bias of ``strength (mask - 1/2)`` on each score.

    They begin flat: compatibility 0, distance penalty 0.5, connection scale 1, types a fifth as different. A bias that
    is the same for all keys of a query does nothing, so at first nothing is masked. (Sudarshan 2026, "Neural DNA", the
    experiment with video, where they cost nothing.)
    """

    def __init__(
        self,
        options: AttentionGenomeOptions,
        connections: Sequence[Connection],
        context: MethodContext,
        dtype: torch.dtype,
    ) -> None:
        self.options = options
        self.genomes: dict[str, Genome] = {}
        self._layouts: dict[str, Layout] = {}
        for connection in connections:
            name = connection.name
            genome = Genome(options.n_types, options.type_dim, options.n_bands, context.generator(f"genome.{name}"))
            with torch.no_grad():
                genome.compatibility.zero_()
                genome.depth_penalty.fill_(0.5)
                genome.connection_scale.fill_(1.0)
                genome.band_type_base.mul_(0.2)
                genome.band_type_grad.mul_(0.2)
            self.genomes[name] = genome.to(context.device, dtype)
            self._layouts[name] = Layout(genome, [connection])

    def logits(self) -> dict[str, Tensor]:
        """(queries, keys) by connection."""
        return {name: self._layouts[name].logits(genome)[0] for name, genome in self.genomes.items()}

    def soft(self, temperature: float) -> dict[str, Tensor]:
        """Soft masks, kept off 0 and 1."""
        floor = self.options.floor
        return {name: (logit * temperature).sigmoid().clamp(floor, 1 - floor) for name, logit in self.logits().items()}

    def bias(self, mask: Tensor) -> Tensor:
        """What a mask adds to the scores."""
        return self.options.strength * (mask - 0.5)

    def state_dict(self) -> dict[str, Any]:
        """Of each genome."""
        return {name: dict(genome.state_dict()) for name, genome in self.genomes.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        for name, genome in self.genomes.items():
            genome.load_state_dict(state[name])
