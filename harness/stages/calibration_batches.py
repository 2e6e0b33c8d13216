"""Training batches that a phase looks at without training on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.core.data import TrainingData
from harness.seeds import derived_seed
from harness.stages.network import Network
from harness.training.distributed import random_state, set_random_state
from harness.training.sampler import Sampler

if TYPE_CHECKING:
    from harness.suites.schema import Training


class Batches:
    """The batches of one phase; leaves the network's buffers, mode and gradients, and random numbers, as they were.

    Args:
        network: what looks at them.
        data: gives the training examples, asked only when a batch is.
        training: batch size and precision.
        seed: the cell's.
        counted: whether what is looked at is part of what the network has ``spent``: not where it is only scored.
    """

    def __init__(
        self,
        network: Network,
        data: Callable[[], TrainingData],
        training: Training,
        seed: int,
        counted: bool = True,
    ) -> None:
        self._network = network
        self._data = data
        self._training = training
        self._seed = derived_seed(seed, "calibration")
        self._counted = counted
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
            spent.calibration_batches += self._counted
            spent.calibration_examples += size * self._counted
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
