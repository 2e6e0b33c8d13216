"""Masks as they are kept beside the results: small enough to commit, enough to look at and to compare."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from harness.core.mask_history import MaskHistory
from harness.errors import CorruptFile

if TYPE_CHECKING:
    from torch import Tensor

    from harness.core.connections import Connection, Kind
    from harness.core.masks import Masks

SAMPLE = 65_536
"""Connections with more weights than this keep the bits of so many of them, drawn without replacement."""
EDGE = 64
"""A picture has at most so many rows and columns."""


@dataclass(frozen=True, slots=True)
class MaskPicture:
    """One connection's hard mask, seen from afar.

    Attributes:
        shape: of the connection's region, (out, in) or (out, in, *kernel).
        kept: number of weights kept.
        kind: ``weight`` or ``attention``.
        role: what the connection does, as its architecture names it; None in files that do not say.
        bits: (size,) bool, row by row; (``SAMPLE``,) at the same positions for every mask of that size if there
            are more.
        picture: (rows, columns) uint8, at most ``EDGE`` each: fraction kept in a block, times 255. Rows are out,
            columns in; kernels are averaged over.
        depths: of the bands that it joins, source and target; None in files that do not say.
        grid: how the keys of attention lie, row by row; () in files that do not say.
        soft: (queries, keys), see :attr:`attention`, of a soft mask.
    """

    shape: tuple[int, ...]
    kept: int
    kind: Kind
    role: str | None
    bits: NDArray[np.bool_]
    picture: NDArray[np.uint8]
    depths: tuple[int, int] | None = None
    grid: tuple[int, ...] = ()
    soft: NDArray[np.float32] | None = None

    @property
    def attention(self) -> NDArray[np.float32] | None:
        """(queries, keys): what a query gives to a key if all scores are equal, times the number of keys.

        1 is what it would give without a mask, as a query that keeps no key does. Of the soft mask where the network
        was trained with one, else of the hard mask; means over heads. None of weights, and of masks that are too large
        to be kept whole.
        """
        if self.kind != "attention" or self.bits.size < self.size:
            return None
        if self.soft is not None:
            return self.soft
        kept = self.bits.reshape(*self.shape[:2], -1).astype(np.float32)
        kept[~kept.any(axis=1, keepdims=True).repeat(kept.shape[1], axis=1)] = 1
        shares: NDArray[np.float32] = (kept / kept.mean(axis=1, keepdims=True)).mean(axis=2)
        return shares

    @property
    def passes(self) -> bool:
        """Whether it passes over a band, and so is one that a network can do without."""
        return self.role == "skip" if self.depths is None else self.depths[1] - self.depths[0] > 1

    @property
    def size(self) -> int:
        """Number of weights."""
        return prod(self.shape)


def packed(
    masks: Masks,
    connections: Iterable[Connection],
    history: MaskHistory | None = None,
    attention: Mapping[str, Tensor] = MappingProxyType({}),
) -> bytes:
    """One network's masks, with those that it had while training, as a file; equal masks give equal bytes.

    ``attention`` is how much each query attends to each key by a soft mask, see :attr:`MaskPicture.attention`.
    """
    tensors: dict[str, NDArray[Any]] = {}
    described = {}
    for connection in connections:
        mask = masks[connection.name].cpu().numpy()
        described[connection.name] = {"shape": mask.shape, "kept": int(mask.sum())}
        described[connection.name] |= {"kind": connection.kind, "role": connection.role}
        described[connection.name]["depths"] = [connection.source.depth, connection.target.depth]
        if connection.kind == "attention":
            described[connection.name]["grid"] = connection.source.grid or [connection.source.size]
        bits = mask.reshape(-1)
        if bits.size > SAMPLE:
            tensors[f"{connection.name}/picture"] = _picture(mask)
            bits = bits[_positions(bits.size)]
        tensors[f"{connection.name}/bits"] = np.packbits(bits)
    shares = {f"{name}/attention": share.numpy().astype(np.float16) for name, share in attention.items()}
    tensors |= {name: share for name, share in shares.items() if share.size <= SAMPLE}
    about = {"connections": json.dumps(described)}
    if history is not None:
        history = history.reduced(lambda size: _positions(size) if size > SAMPLE else None)
        tensors |= {f"{name}/history": packed for name, packed in history.packed.items()}
        about["history"] = json.dumps({"phase": history.phase, "steps": history.steps})
    content: bytes = save(tensors, metadata=about)
    return content


def read(content: bytes) -> dict[str, MaskPicture]:
    """Connection name -> its mask, in the network's order.

    Args:
        content: of a file.

    Raises:
        CorruptFile: if it is not one of :func:`packed`'s.
    """
    try:
        tensors = load(content)
        described = json.loads(_header(content)["connections"])
        return {name: _read(tensors, name, about) for name, about in described.items()}
    except (SafetensorError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CorruptFile(f"it holds no masks that can be read ({error}): delete it and run the suite again") from error


def read_history(content: bytes) -> MaskHistory | None:
    """The masks at the steps that were noted, of as many entries as :attr:`MaskPicture.bits`; None if none were.

    Args:
        content: of a file.

    Raises:
        CorruptFile: if it is not one of :func:`packed`'s.
    """
    masks = read(content)
    try:
        about = json.loads(_header(content).get("history", "null"))
        if about is None:
            return None
        tensors = load(content)
        packed = {name: tensors[f"{name}/history"] for name in masks}
        sizes = {name: mask.bits.size for name, mask in masks.items()}
        found = MaskHistory(int(about["phase"]), tuple(int(step) for step in about["steps"]), sizes, packed)
        for name in masks:
            found.bits(name)
    except (LookupError, TypeError, ValueError) as error:
        raise CorruptFile(f"it holds no history of masks that can be read ({error})") from error
    return found


def overlap(a: Mapping[str, MaskPicture], b: Mapping[str, MaskPicture]) -> dict[str, float]:
    """Jaccard index (weights kept by both / by either) of each connection that both networks have.

    Connections of more than ``SAMPLE`` weights: estimated from the sample. Two empty masks overlap by 1.
    """
    found = {}
    for name in a.keys() & b.keys():
        if a[name].shape == b[name].shape:
            either = int((a[name].bits | b[name].bits).sum())
            found[name] = int((a[name].bits & b[name].bits).sum()) / either if either else 1.0
    return {name: found[name] for name in a if name in found}


def chance(a: float, b: float) -> float:
    """The overlap expected of two independent uniform masks with densities ``a`` and ``b``, for many weights."""
    return a * b / (a + b - a * b) if a + b else 1.0


def _header(content: bytes) -> Mapping[str, str]:
    found: Mapping[str, str] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    return found


def _read(tensors: Mapping[str, NDArray[Any]], name: str, about: Mapping[str, Any]) -> MaskPicture:
    shape, kept, kind = tuple(int(n) for n in about["shape"]), int(about["kept"]), about["kind"]
    role = about.get("role")
    size = prod(shape)
    sound = kind in ("weight", "attention") and isinstance(role, str | None)
    if not sound or len(shape) < 2 or not 0 <= kept <= size:
        raise ValueError(f"{name} has shape {shape}, {kept} weights kept, kind {kind!r}, role {role!r}")
    packed = tensors[f"{name}/bits"]
    count = min(size, SAMPLE)
    if packed.dtype != np.uint8 or packed.shape != (-(-count // 8),):
        raise ValueError(f"{name} has {packed.shape} bytes of bits")
    bits = np.unpackbits(packed, count=count).astype(bool)
    picture = _picture(bits.reshape(shape)) if size <= SAMPLE else tensors[f"{name}/picture"]
    if picture.dtype != np.uint8 or picture.ndim != 2 or not 1 <= max(picture.shape) <= EDGE:
        raise ValueError(f"{name} has a picture of shape {picture.shape}")
    grid, soft = tuple(int(n) for n in about.get("grid", ())), tensors.get(f"{name}/attention")
    if (grid and prod(grid) != shape[1]) or (soft is not None and soft.shape != shape[:2]):
        raise ValueError(f"{name} has keys in a grid {grid} and attention of shape {soft is not None and soft.shape}")
    soft = None if soft is None else soft.astype(np.float32)
    return MaskPicture(shape, kept, kind, role, bits, picture, _depths(about.get("depths")), grid, soft)


def _depths(said: Any) -> tuple[int, int] | None:
    if said is None:
        return None
    source, target = map(int, said)
    return source, target


def _picture(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    plane = mask.reshape(*mask.shape[:2], -1).mean(axis=2, dtype=np.float64)
    for axis in (0, 1):
        length = plane.shape[axis]
        edges = np.linspace(0, length, min(length, EDGE) + 1).astype(int)
        sums = np.add.reduceat(plane, edges[:-1], axis=axis)
        plane = sums / np.expand_dims(np.diff(edges), 1 - axis)
    rounded: NDArray[np.uint8] = np.rint(255 * plane).astype(np.uint8)
    return rounded


@cache
def _positions(size: int) -> NDArray[np.int64]:
    """Where the sample of a mask is: the same for ever, because NumPy keeps this generator's stream as it is."""
    return np.sort(np.random.RandomState(0).permutation(size)[:SAMPLE])
