"""Running statistics of batch norms, estimated anew where the weights are no longer those that were trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.core.phases import Average, Bake, Calibrate, Phase, Prune, Reinitialize, Train
from harness.stages.calibration_batches import Batches
from harness.stages.network import Network

BATCHES = 20
"""Training batches that the statistics of a network are taken from before it is scored: thousands of examples."""


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """Those that keep running statistics."""
    return [m for m in module.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


def changed_since_training(phases: Sequence[Phase], differs: bool) -> bool:
    """Whether a program ends with other weights than its last training left its running statistics for.

    Args:
        phases: the whole program.
        differs: whether hard masks change what the method's last training computed with.
    """
    for phase in reversed(phases):
        if (isinstance(phase, Train) and phase.steps) or (isinstance(phase, Calibrate) and not phase.hooks):
            return False
        if isinstance(phase, Prune | Reinitialize | Average) or (isinstance(phase, Bake) and differs):
            return True
    return False


def needed(network: Network, masks: str) -> bool:
    """Whether a network is scored with statistics of its own: it has some, and computes with what was not trained.

    ``masks`` are those that it is scored with, ``hard`` or ``soft``.
    """
    hardened = masks == "hard" and network.soft and network.method.final_differs() is not None
    asked = network.cell.evaluation.batch_norms == "estimated"
    return asked and (network.changed or hardened) and bool(batch_norms(network.module))


@torch.no_grad()
def estimate(module: nn.Module, count: int, batches: Batches) -> None:
    """Running means and variances as means over ``count`` training batches, with the weights as they are."""
    norms = batch_norms(module)
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    with batches.open():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative mean
        for inputs, targets in batches.batches(count, training=True):
            batches.loss(inputs, targets)
        estimated = _statistics(norms)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    _set(norms, estimated)


@contextmanager
def estimated(module: nn.Module, batches: Batches) -> Iterator[None]:
    """With statistics that fit the weights as they are; afterwards those that were there."""
    norms = batch_norms(module)
    before = _statistics(norms)
    try:
        estimate(module, BATCHES, batches)
        yield
    finally:
        _set(norms, before)


def _statistics(norms: Sequence[_BatchNorm]) -> list[list[Tensor]]:
    return [[buffer.clone() for buffer in norm.buffers()] for norm in norms]


@torch.no_grad()
def _set(norms: Sequence[_BatchNorm], statistics: Sequence[Sequence[Tensor]]) -> None:
    for norm, values in zip(norms, statistics, strict=True):
        for buffer, value in zip(norm.buffers(), values, strict=True):
            buffer.copy_(value)
