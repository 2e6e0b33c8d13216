"""Which training examples make up which batch, and how they are altered: a pure function of seed and position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from harness.seeds import derived_seed

if TYPE_CHECKING:
    from harness.core.data import AugmentedData, TrainingData


class Sampler:
    """An endless stream of example indices: each pass over the data is a fresh permutation.

    Position p of the stream is example ``permutation(p // n)[p % n]``, so batches run over the end of a
    pass without dropping or repeating anything, and any position can be resumed at once.

    Args:
        examples: number of training examples n, at least 1.
        seed: the cell's seed; every method of a seed sees the same stream.
    """

    def __init__(self, examples: int, seed: int) -> None:
        if examples < 1:
            raise ValueError("there are no training examples")
        self.examples = examples
        self._seed = seed
        self._permutations: dict[int, Tensor] = {}
        self._numbers: dict[int, Tensor] = {}

    def indices(self, position: int, count: int) -> Tensor:
        """Examples at positions ``position`` to ``position + count - 1``, int64 (count,)."""
        return self._stream(position, count, self._permutation)

    def numbers(self, position: int, count: int, draws: int) -> Tensor:
        """Uniform numbers in [0, 1) of these positions, float32 (count, draws)."""
        return self._stream(position, count, lambda which: self._drawn(which, draws))

    def batch(
        self, data: TrainingData, position: int, count: int, share: Callable[[Tensor], Tensor] = lambda whole: whole
    ) -> tuple[Tensor, Tensor]:
        """(inputs, targets) of these positions, altered where the ``data`` are :class:`harness.AugmentedData`.

        ``share`` is the part of a batch that falls to this process.
        """
        indices = share(self.indices(position, count))
        if not hasattr(data, "draws"):
            return data.batch(indices)
        altered = cast("AugmentedData", data)
        return altered.augmented(indices, share(self.numbers(position, count, altered.draws)))

    @staticmethod
    def batches(data: TrainingData, streams: Sequence[tuple[Sampler, int]], count: int) -> tuple[Tensor, Tensor]:
        """:meth:`batch` of several streams, each with its position, by one gather: (streams, count, ...) each."""
        indices = torch.cat([sampler.indices(position, count) for sampler, position in streams])
        if hasattr(data, "draws"):
            altered = cast("AugmentedData", data)
            numbers = [sampler.numbers(position, count, altered.draws) for sampler, position in streams]
            inputs, targets = altered.augmented(indices, torch.cat(numbers))
        else:
            inputs, targets = data.batch(indices)
        shape = len(streams), count
        return inputs.view(*shape, *inputs.shape[1:]), targets.view(*shape, *targets.shape[1:])

    def _stream(self, position: int, count: int, of_pass: Callable[[int], Tensor]) -> Tensor:
        parts = []
        while count:
            which, offset = divmod(position, self.examples)
            part = of_pass(which)[offset : offset + count]
            parts.append(part)
            position += len(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _permutation(self, which: int) -> Tensor:
        if which not in self._permutations:
            self._permutations = {k: v for k, v in self._permutations.items() if k == which - 1}
            self._permutations[which] = torch.randperm(self.examples, generator=self._generator("data", which))
        return self._permutations[which]

    def _drawn(self, which: int, draws: int) -> Tensor:
        if which not in self._numbers:
            self._numbers = {k: v for k, v in self._numbers.items() if k == which - 1}
            self._numbers[which] = torch.rand(self.examples, draws, generator=self._generator("augmentation", which))
        return self._numbers[which]

    def _generator(self, purpose: str, which: int) -> torch.Generator:
        return torch.Generator().manual_seed(derived_seed(self._seed, purpose, which))
