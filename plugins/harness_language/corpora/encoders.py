"""Tokenising documents, in this process or in several."""

from __future__ import annotations

import hashlib
import os
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from threading import Thread
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import UserError
from harness_language.corpora.manifest import token_type
from harness_language.corpora.source import Chunk
from harness_language.splits import share
from harness_language.tokenizers import tokenizer

Encoded = dict[str, tuple[int, NDArray[Any]]]
"""Split -> number of documents, and their tokens, each document with the end token behind it."""


class Encoders:
    """Tokenises chunks in order, with ``workers`` processes; what comes out does not depend on how many."""

    def __init__(self, name: str, workers: int) -> None:
        self.name, self.workers = name, workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Encoders:
        if self.workers > 1:
            # Spawned, not forked: threads of this process hold locks.
            self._pool = ProcessPoolExecutor(self.workers, get_context("spawn"), _start)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, chunks: Iterator[Chunk], validation: float, test: float) -> Iterator[tuple[Chunk, Encoded]]:
        """Each chunk with its tokens, in order; only a few chunks are read ahead.

        Args:
            validation, test: fractions of documents, see :func:`harness_language.splits.share`.
        """
        if self._pool is None:
            for chunk in chunks:
                yield chunk, encode(chunk.texts, self.name, validation, test)
            return
        ahead: deque[tuple[Chunk, Future[Encoded]]] = deque()
        try:
            for chunk in chunks:
                ahead.append((chunk, self._pool.submit(encode, chunk.texts, self.name, validation, test)))
                if len(ahead) > 2 * self.workers:
                    yield ahead[0][0], ahead.popleft()[1].result()
            while ahead:
                yield ahead[0][0], ahead.popleft()[1].result()
        except BrokenProcessPool as error:
            raise UserError(
                "a process that tokenises was killed, perhaps for memory. Set fewer `workers` and run the same command "
                "again: it goes on after the last finished shard."
            ) from error


def encode(texts: list[str], name: str, validation: float, test: float) -> Encoded:
    """Tokens of the documents that are not empty, by the split that the SHA-256 of a document gives it."""
    coder = tokenizer(name)
    end = [] if coder.end is None else [coder.end]
    dtype = token_type(coder.vocabulary)
    parts: dict[str, list[NDArray[Any]]] = {"train": [], "validation": [], "test": []}
    for text in texts:
        if not text.strip():
            continue
        # JSON can hold half a character, which no tokenizer takes.
        content = text.encode("utf8", "replace")
        split = share(hashlib.sha256(content).digest(), validation, test)
        parts[split].append(np.array([*coder.encode(content.decode()), *end], dtype=dtype))
    return {split: (len(found), np.concatenate(found)) for split, found in parts.items() if found}


def _start() -> None:
    """A worker leaves interrupts to its parent, and ends when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()
