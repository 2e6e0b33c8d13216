"""What both methods that keep N weights of every M share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, field_validator
from torch import Tensor

from harness import Architecture, Connection, NOfM, SparsityMethod


class PatternOptions(BaseModel):
    """What a suite may set of both.

    Attributes:
        pattern: ``n:m`` keeps n weights of every m inputs, and makes the density n / m; 2:4 is what sparse tensor cores
            take (Mishra et al. 2021).
        indivisible: connections whose inputs are not whole groups: ``refuse`` them when the suite is planned, or leave
            them ``dense``.
    """

    model_config = ConfigDict(extra="forbid")

    pattern: str = "2:4"
    indivisible: Literal["refuse", "dense"] = "refuse"

    @field_validator("pattern")
    @classmethod
    def _is_a_pattern(cls, given: str) -> str:
        NOfM.of(given)
        return given


OptionsT = TypeVar("OptionsT", bound=PatternOptions)


class PatternMethod(SparsityMethod[OptionsT]):
    """Keeps the largest n of every m weights along the inputs; the pattern gives the density."""

    takes_density = "optional"

    @property
    def pattern(self) -> NOfM:
        """The pattern of the options."""
        return NOfM.of(self.options.pattern)

    def mask(self, connection: Connection, weights: Tensor) -> Tensor:
        """The mask of a connection, all True where the pattern does not fit."""
        fits = self.pattern.fits(connection)
        return self.pattern.mask(weights.abs()) if fits else torch.ones_like(weights, dtype=torch.bool)

    def unsupported(self, architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
        """Inputs that the pattern does not fit, unless they may stay dense."""
        return self.pattern.misfit(connections) if self.options.indivisible == "refuse" else None

    def other_count(self, asked: int, kept: int, connections: Sequence[Connection]) -> str | None:
        """More, where connections that the pattern does not fit stay dense."""
        misfits = [c.name for c in connections if not self.pattern.fits(c)]
        return f"{', '.join(misfits)} do not fit the pattern and stay dense" if misfits and kept > asked else None
