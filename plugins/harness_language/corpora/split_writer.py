"""Cutting one split's tokens into shards."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.storage.atomic_files import write_atomic
from harness_language.corpora.manifest import Shard, SplitShards


class SplitWriter:
    """Collects tokens and writes them in shards of exactly ``size`` tokens, the last one as long as it comes.

    Args:
        limit: tokens after which no more are taken; None takes all.
    """

    def __init__(self, folder: Path, split: str, dtype: str, size: int, limit: int | None) -> None:
        self.folder, self.split, self.size, self.limit = folder, split, size, limit
        self.shards: list[Shard] = []
        self.documents = 0
        self._pending: list[NDArray[Any]] = [np.empty(0, dtype)]
        self._waiting = 0

    @property
    def tokens(self) -> int:
        """Tokens taken so far."""
        return sum(shard.tokens for shard in self.shards) + self._waiting

    @property
    def full(self) -> bool:
        """Whether it takes no more."""
        return self.limit is not None and self.tokens >= self.limit

    def tail(self) -> NDArray[Any]:
        """The tokens that are in no shard yet."""
        self._pending = [np.concatenate(self._pending)]
        return self._pending[0]

    def add(self, documents: int, tokens: NDArray[Any]) -> bool:
        """Take the tokens of some documents; whether shards were written."""
        if self.full:
            return False
        self.documents += documents
        taken = tokens if self.limit is None else tokens[: self.limit - self.tokens]
        self._pending.append(taken)
        self._waiting += len(taken)
        written = False
        while self._waiting >= self.size:
            self._write(self.size)
            written = True
        return written

    def finish(self) -> SplitShards:
        """Write what is left."""
        if self._waiting:
            self._write(self._waiting)
        return SplitShards(shards=tuple(self.shards), documents=self.documents)

    def restore(self, state: dict[str, Any], tail: NDArray[Any]) -> None:
        """Go on from :meth:`state` and :meth:`tail`."""
        self.shards = [Shard.model_validate(shard) for shard in state["shards"]]
        self.documents = state["documents"]
        self._pending, self._waiting = [tail], len(tail)

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs besides the tail; JSON."""
        return {"shards": [shard.model_dump() for shard in self.shards], "documents": self.documents}

    def _write(self, count: int) -> None:
        tokens = self.tail()
        content = tokens[:count].tobytes()
        name = f"{self.split}_{len(self.shards):05d}.bin"
        write_atomic(self.folder / name, lambda path: path.write_bytes(content))
        digest = hashlib.sha256(content).hexdigest()
        self.shards.append(Shard(file=name, tokens=count, bytes=len(content), sha256=digest))
        self._pending, self._waiting = [tokens[count:].copy()], len(tokens) - count
