"""Texts with a class each, as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Texts:
    """Token ids one after the other, (tokens,) int32, with the text i from ``starts[i]`` to ``starts[i + 1]``.

    ``starts`` is (n + 1,) and ``labels`` (n,), both int64; all on one device, but for ``lengths`` (n,), on the CPU.
    ``batch`` pads with ``padding`` up to the longest text of the batch.
    """

    ids: Tensor
    starts: Tensor
    labels: Tensor
    lengths: Tensor
    padding: int

    @classmethod
    def of(
        cls, ids: Sequence[NDArray[np.int32]], labels: NDArray[np.int64], padding: int, device: torch.device
    ) -> Texts:
        """From the ids of each text."""
        lengths = torch.tensor([len(one) for one in ids], dtype=torch.int64)
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        flat = torch.from_numpy(np.concatenate([*ids, np.zeros(0, np.int32)]))
        return cls(flat.to(device), starts.to(device), torch.from_numpy(labels).to(device), lengths, padding)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, longest) int64 ids and (batch,) int64 labels."""
        longest = max(1, int(self.lengths[indices].max()))
        indices = indices.to(self.ids.device)
        first, end = self.starts[indices].unsqueeze(1), self.starts[indices + 1].unsqueeze(1)
        places = first + torch.arange(longest, device=self.ids.device)
        inside = self.ids[places.clamp(max=max(0, len(self.ids) - 1))].long()
        return inside.masked_fill_(places >= end, self.padding), self.labels[indices]
