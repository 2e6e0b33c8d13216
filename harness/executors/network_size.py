"""How large a network is, counted without running it."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from harness.core.returned import require_kind
from harness.executors.footprint import training_bytes
from harness.results.flops import forward_flops
from harness.stages.rehearsal import require_regions

if TYPE_CHECKING:
    from harness.stages.graph import Stage
    from harness.suites.suite import Suite


class NetworkSize(NamedTuple):
    """How large a network is.

    Attributes:
        forward: operations of a forward pass of one example.
        parameters: numbers that are trained.
        tokens: in one example; 1 where it is no text.
        batch: examples of an optimizer step.
        example: numbers in an example.
        training_bytes: see :func:`harness.executors.footprint.training_bytes`.
    """

    forward: int
    parameters: int
    tokens: int
    batch: int
    example: int
    training_bytes: int | None

    @property
    def step(self) -> float:
        """Operations of an optimizer step: a backward pass takes two forward ones."""
        return 3.0 * self.forward * self.batch

    @classmethod
    def of(cls, stage: Stage, suite: Suite) -> NetworkSize:
        """Of a stage's network, as its architecture builds it."""
        cell = stage.cell
        spec = suite.spec(cell.training_part)
        architecture = suite.registry.get("architecture", cell.architecture_part.plugin)(
            cell.architecture_part.options, spec
        )
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            module = architecture.build()
        require_kind(module, nn.Module, f"{type(architecture).__name__}.build()")
        require_regions(cell.architecture, architecture.connections(), module)
        parameters = sum(p.numel() for p in module.parameters())
        forward, needed = forward_flops(architecture, spec).total, training_bytes(architecture, spec, cell.training)
        return cls(forward, parameters, spec.tokens, cell.training.batch_size, prod(spec.inputs), needed)
