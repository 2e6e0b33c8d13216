"""Which training examples make up which batch: a pure function of seed and position."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.seeds import derived_seed


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
        self._passes: dict[int, Tensor] = {}

    def indices(self, position: int, count: int) -> Tensor:
        """Examples at positions ``position`` to ``position + count - 1``, int64 (count,)."""
        parts = []
        while count:
            which, offset = divmod(position, self.examples)
            part = self._permutation(which)[offset : offset + count]
            parts.append(part)
            position += len(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _permutation(self, which: int) -> Tensor:
        if which not in self._passes:
            generator = torch.Generator().manual_seed(derived_seed(self._seed, "data", which))
            self._passes = {k: v for k, v in self._passes.items() if k == which - 1}
            self._passes[which] = torch.randperm(self.examples, generator=generator)
        return self._passes[which]
