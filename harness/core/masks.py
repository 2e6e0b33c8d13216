"""Hard masks: which weights of each connection are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from harness.core.mask_arithmetic import count
from harness.core.returned import require_tensors

if TYPE_CHECKING:
    from harness.core.connections import Connection


class Masks(Mapping[str, Tensor]):
    """Connection name -> bool tensor of the connection's region shape; True means kept.

    Immutable by convention: make a new one instead of writing into its tensors.
    """

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        for name, mask in masks.items():
            if mask.dtype != torch.bool:
                raise ValueError(f"mask of connection '{name}' is {mask.dtype}, must be torch.bool")
        self._masks = dict(masks)

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    @classmethod
    def full(cls, connections: Iterable[Connection], device: torch.device | str = "cpu") -> Masks:
        """Masks that keep everything."""
        return cls({c.name: torch.ones(c.shape, dtype=torch.bool, device=device) for c in connections})

    @property
    def kept(self) -> dict[str, int]:
        """Number of weights kept, per connection."""
        return {name: int(count(mask)) for name, mask in self.items()}

    @property
    def sizes(self) -> dict[str, int]:
        """Number of weights, per connection."""
        return {name: mask.numel() for name, mask in self.items()}

    @property
    def density(self) -> float:
        """Fraction of all weights kept, in [0, 1]."""
        return sum(self.kept.values()) / max(1, sum(self.sizes.values()))

    def updated(self, given: Mapping[str, Tensor], hook: str) -> Masks:
        """These masks with the ``given`` ones in their place; a connection that is not given keeps its own.

        What methods return goes through here: ``hook`` is who gave the masks, for messages.

        Raises:
            TypeError: for what is no mapping of tensors.
            ValueError: for a connection that is not there, or a mask of another shape or type than bool.
        """
        require_tensors(given, {name: mask.shape for name, mask in self.items()}, hook, "mask")
        for name, mask in given.items():
            if mask.dtype != torch.bool:
                raise ValueError(f"{hook}: the mask of connection '{name}' is {mask.dtype}, must be torch.bool")
        return Masks({name: given[name].to(mask.device) if name in given else mask for name, mask in self.items()})

    def to(self, device: torch.device | str) -> Masks:
        """The same masks on another device."""
        return Masks({name: mask.to(device) for name, mask in self.items()})

    def digest(self) -> str:
        """SHA-256 over names, shapes and bits: equal masks have equal digests."""
        h = hashlib.sha256()
        for name in sorted(self):
            h.update(f"{name}{tuple(self[name].shape)}".encode())
            h.update(np.packbits(self[name].cpu().numpy()).tobytes())
        return h.hexdigest()

    def packed(self) -> dict[str, Tensor]:
        """One bit per weight, for saving: name -> uint8 tensor; :meth:`unpacked` is the inverse."""
        return {name: torch.from_numpy(np.packbits(mask.cpu().numpy())) for name, mask in self.items()}

    @classmethod
    def unpacked(cls, packed: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> Masks:
        """The inverse of :meth:`packed`, given each connection's shape."""
        masks = {}
        for name, bits in packed.items():
            shape = shapes[name]
            flat = np.unpackbits(bits.cpu().numpy(), count=prod(shape)).astype(bool)
            masks[name] = torch.from_numpy(flat.reshape(shape))
        return cls(masks)
