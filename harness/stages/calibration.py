"""Training batches that a phase looks at without training on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from harness.core.data import TrainingData
from harness.core.phases import Calibrate
from harness.seeds import derived_seed
from harness.stages.network import Network
from harness.training.distributed import random_state, set_random_state
from harness.training.sampler import Sampler

if TYPE_CHECKING:
    from harness.suites.schema import Training


class Batches:
    """The batches of one phase; leaves the network's buffers, mode and gradients, and random numbers, as they were.

    Args:
        network: what looks at them; what is looked at is counted in its ``spent``.
        data: gives the training examples, asked only when a batch is.
        training: batch size and precision.
        seed: the cell's.
    """

    def __init__(self, network: Network, data: Callable[[], TrainingData], training: Training, seed: int) -> None:
        self._network = network
        self._data = data
        self._training = training
        self._seed = derived_seed(seed, "calibration")
        self._random: dict[str, object] | None = None

    def batches(self, count: int, size: int | None = None, training: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """See :meth:`harness.core.method.MethodContext.batches`."""
        size = self._training.batch_size // self._training.micro_batches if size is None else size
        if count < 1 or size < 1:
            raise ValueError(f"{count} batches of {size} examples: at least 1 of at least 1")
        data, spent = self._data(), self._network.spent
        sampler = Sampler(len(data), self._seed)
        if self._random is None:  # only now: a phase that looks at nothing keeps its random numbers
            self._random = random_state()
            torch.manual_seed(self._seed)
        for index in range(count):
            self._network.module.train(training)
            spent.calibration_batches += 1
            spent.calibration_examples += size
            yield sampler.batch(data, index * size, size)

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """See :meth:`harness.core.method.MethodContext.loss`."""
        device = self._network.context.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self._training.precision == "bf16"):
            loss: Tensor = self._network.module(inputs, targets)
        return loss

    @contextmanager
    def open(self) -> Iterator[None]:
        """Within it the method may ask its context for batches."""
        module, context = self._network.module, self._network.context
        mode = module.training
        buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
        context.calibration = self
        module.eval()
        try:
            yield
        finally:
            context.calibration = None
            module.train(mode)
            module.zero_grad(set_to_none=True)
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)
            if self._random is not None:
                set_random_state(self._random)
                self._random = None


def calibrate(network: Network, phase: Calibrate, batches: Batches) -> None:
    """What a ``Calibrate`` phase does; see :class:`harness.core.phases.Calibrate`."""
    if not phase.hooks:
        network.require_final(phase)
        _estimate_running_statistics(network, phase.batches, batches)
        return
    weights = network.begin_phase(hooks=True)
    with batches.open(), weights.evaluating("soft"), torch.enable_grad():
        network.method.calibrate(phase, network.context)


@torch.no_grad()
def _estimate_running_statistics(network: Network, count: int, batches: Batches) -> None:
    """Running means and variances as means over the batches, with the weights as they are."""
    network.begin_phase(hooks=False)
    network.soft = False
    norms = [m for m in network.module.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    with batches.open():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative mean
        for inputs, targets in batches.batches(count, training=True):
            batches.loss(inputs, targets)
        estimated = [[buffer.clone() for buffer in norm.buffers()] for norm in norms]
    for norm, momentum, buffers in zip(norms, momenta, estimated, strict=True):
        norm.momentum = momentum
        for buffer, value in zip(norm.buffers(), buffers, strict=True):
            buffer.copy_(value)
