"""Hard masks at several steps of one training, as bits."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class MaskHistory:
    """What each connection kept at each of some steps.

    Attributes:
        phase: index of the training phase in its program.
        steps: of that phase, ascending; the last one is its end.
        sizes: connection -> entries of its mask that are here.
        packed: connection -> compressed bytes: of the last step its bits, of each step before it where its bits differ
            from those of the next one; each step begins with a byte of its own.
    """

    phase: int
    steps: tuple[int, ...]
    sizes: Mapping[str, int]
    packed: Mapping[str, Bytes]

    @classmethod
    def of(
        cls, phase: int, steps: Sequence[int], masks: Mapping[str, Sequence[Bytes]], sizes: Mapping[str, int]
    ) -> MaskHistory:
        """From connection -> bits of each step, eight to a byte."""
        return cls(phase, tuple(steps), dict(sizes), {name: _compressed(np.stack(masks[name])) for name in sizes})

    def bits(self, name: str) -> NDArray[np.bool_]:
        """(steps, entries) of a connection.

        Raises:
            ValueError: if the bytes are not what they must be.
        """
        size = self.sizes[name]
        shape = len(self.steps), -(-size // 8)
        try:
            content = zlib.decompress(self.packed[name].tobytes())
        except zlib.error as error:
            raise ValueError(f"the history of {name}: {error}") from error
        if len(content) != prod(shape):
            raise ValueError(f"the history of {name} has {len(content)} bytes for {shape[0]} masks of {size} entries")
        changes = np.frombuffer(content, dtype=np.uint8).reshape(shape)
        whole = np.bitwise_xor.accumulate(changes[::-1], axis=0)[::-1]
        return np.unpackbits(whole, axis=1, count=size).astype(bool)

    def reduced(self, chosen: Callable[[int], NDArray[np.int64] | None]) -> MaskHistory:
        """The same of fewer entries: the positions ``chosen`` for a connection of some size, None for all."""
        sizes, packed = dict(self.sizes), dict(self.packed)
        for name, size in self.sizes.items():
            if (positions := chosen(size)) is not None:
                sizes[name] = len(positions)
                packed[name] = _compressed(np.packbits(self.bits(name)[:, positions], axis=1))
        return MaskHistory(self.phase, self.steps, sizes, packed)

    def state(self) -> dict[str, Any]:
        """For saving; :meth:`of_state` is the inverse."""
        import torch  # late: whoever reads results needs none

        packed = {name: torch.from_numpy(content) for name, content in self.packed.items()}
        return {"phase": self.phase, "steps": list(self.steps), "sizes": dict(self.sizes), "packed": packed}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> MaskHistory:
        """The inverse of :meth:`state`."""
        packed = {name: content.numpy() for name, content in state["packed"].items()}
        return cls(state["phase"], tuple(state["steps"]), state["sizes"], packed)


def _compressed(rows: Bytes) -> Bytes:
    changes = rows.copy()
    changes[:-1] ^= rows[1:]
    return np.frombuffer(bytearray(zlib.compress(changes.tobytes(), 9)), dtype=np.uint8)
