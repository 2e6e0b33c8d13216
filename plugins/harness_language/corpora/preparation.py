"""From documents to shards of tokens: in parallel, resumable, one process at a time."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import DataMissing
from harness.storage.atomic_files import write_atomic
from harness.storage.leases import Lease, Leases
from harness_language.corpora.encoders import Encoders
from harness_language.corpora.manifest import Manifest, token_type
from harness_language.corpora.progress import TokenProgress
from harness_language.corpora.shards import size_problem
from harness_language.corpora.source import DocumentSource
from harness_language.corpora.split_writer import SplitWriter
from harness_language.tokenizers import tokenizer

SPLITS = ("train", "validation", "test")
LEASE = ".preparing"
"""Name of the lease, in a corpus's folder, of who prepares it."""


class _TakenOver(Exception):
    """Another process has taken the lease."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One reading of a source.

    Attributes:
        source: the documents.
        validation, test: fractions of its documents that go there; the rest is training.
        feeds: the splits that it is read for: it ends when these have all that they may.
    """

    source: DocumentSource
    validation: float
    test: float
    feeds: tuple[str, ...]


class Preparation:
    """Writes a corpus: shards, and last of all its manifest.

    After each round of finished shards, a journal notes them, the position in the source and the tokens that
    are in no shard yet, all in one atomic file. A preparation that was killed goes on from there and writes
    the same bytes. They depend on the documents, the tokenizer and the limits only: shards are cut at exact
    numbers of tokens, and sources at the same documents, however many processes tokenise.

    Args:
        folder: where the shards and the manifest go.
        name: the tokenizer.
        passes: what is read, in order.
        limits: most tokens of each split, None for all.
        shard_tokens: tokens of a shard.
        workers: processes that tokenise.
        recipe: the options that decide the content, for the manifest.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        passes: Sequence[Pass],
        limits: Mapping[str, int | None],
        shard_tokens: int,
        workers: int,
        recipe: Mapping[str, Any],
    ) -> None:
        self.folder, self.name, self.passes, self.workers = folder, name, passes, workers
        self.recipe = recipe
        self.coder = tokenizer(name)
        self.dtype = token_type(self.coder.vocabulary)
        self.limits = limits
        self.shard_tokens = shard_tokens
        self.journal = folder / "journal.npz"
        self._fresh()

    def run(self) -> None:
        """Prepare what is missing; another process that does so already is waited for.

        Raises:
            DataMissing: if the source cannot be reached or is empty.
            UserError: if it was changed meanwhile.
            StorageError: if the disk is full; finished shards are kept.
        """
        with TokenProgress(self.folder.name) as progress:
            while not self._in_turn(progress):
                progress.say(
                    f"{self.folder.name}: this process stood still for so long that another one took over; waiting"
                )
                self._fresh()

    def _in_turn(self, progress: TokenProgress) -> bool:
        """Prepare while nobody else does; False if somebody took over meanwhile, on this machine or another."""
        leases = Leases(self.folder)
        told = False

        def waiting() -> None:
            nonlocal told
            if not told:
                told = True
                holder = leases.holder(LEASE)
                who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
                progress.say(f"{self.folder.name}: {who} prepares it; waiting")

        with leases.hold(LEASE, waiting) as lease:
            if self._done():
                return True
            for left in self.folder.glob(".*.*.tmp"):  # those of leases have one part less
                left.unlink(missing_ok=True)
            try:
                self._prepare(progress, lease)
            except _TakenOver:
                return False
        return True

    def _done(self) -> bool:
        manifest = Manifest.read(self.folder)
        return manifest is not None and not any(size_problem(self.folder, shard) for shard in manifest.files())

    def _prepare(self, progress: TokenProgress, lease: Lease) -> None:
        sources, number, position = self._resume()
        if position is not None or number:
            progress.say(f"{self.folder.name}: goes on after {self.writers['train'].tokens:,} training tokens")
        with Encoders(self.name, self.workers) as encoders:
            for current in range(number, len(self.passes)):
                self._read(current, position, sources, encoders, progress, lease)
                position = None
        if skipped := sum(each.source.skipped for each in self.passes):
            progress.say(f"{self.folder.name}: {skipped:,} rows without text were left out")
        if not self.writers["train"].tokens:
            raise DataMissing(f"the source of {self.folder.name} holds no training text: every document is empty.")
        train, limit = self.writers["train"].tokens, self.limits["train"]
        read = {p.feeds[0]: p.source.sealed(described) for p, described in zip(self.passes, sources, strict=True)}
        splits = {split: writer.finish() for split, writer in self.writers.items()}
        manifest = Manifest(
            tokenizer=self.name,
            identity=self.coder.identity,
            vocabulary=self.coder.vocabulary,
            end=self.coder.end,
            dtype=self.dtype,
            recipe=self.recipe,
            source=read,
            splits=splits,
            complete=limit is None or train < limit,
        )
        if lease.lost:
            raise _TakenOver
        kept = {shard.file for shard in manifest.files()}
        for path in self.folder.glob("*.bin"):
            if path.name not in kept:  # of an earlier preparation of another source
                path.unlink()
        manifest.write(self.folder)
        self.journal.unlink(missing_ok=True)

    def _read(
        self,
        number: int,
        position: Any,
        sources: list[dict[str, Any]],
        encoders: Encoders,
        progress: TokenProgress,
        lease: Lease,
    ) -> None:
        part, limit = self.passes[number], self.limits["train"]
        if self._enough(part):
            # A preparation that went on here would read a chunk that one which was not killed never saw.
            return
        for chunk, encoded in encoders.map(part.source.chunks(position), part.validation, part.test):
            if lease.lost:
                raise _TakenOver
            written = [self.writers[split].add(*found) for split, found in encoded.items()]
            if any(written):
                self._note(number, chunk.position, sources)
            done = chunk.done
            if limit is not None and "train" in part.feeds:
                done = max(done or 0.0, self.writers["train"].tokens / limit)
            progress.update(sum(writer.tokens for writer in self.writers.values()), done)
            if self._enough(part):
                return

    def _enough(self, part: Pass) -> bool:
        return all(self.writers[split].full for split in part.feeds)

    def _fresh(self) -> None:
        self.writers = {
            split: SplitWriter(self.folder, split, self.dtype, self.shard_tokens, self.limits[split])
            for split in SPLITS
        }

    # --- journal -----------------------------------------------------------------------------

    def _key(self, sources: list[dict[str, Any]]) -> Any:
        """What must be equal for a journal to be gone on with."""
        return json.loads(json.dumps([self.recipe, self.coder.identity, dict(self.limits), self.shard_tokens, sources]))

    def _note(self, number: int, position: Any, sources: list[dict[str, Any]]) -> None:
        state = {
            "key": self._key(sources),
            "sources": sources,
            "pass": number,
            "position": position,
            "splits": {split: writer.state() for split, writer in self.writers.items()},
        }
        arrays: dict[str, Any] = {split: writer.tail() for split, writer in self.writers.items()}
        arrays["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)

        def save(path: Path) -> None:
            with path.open("wb") as file:
                np.savez(file, **arrays)

        write_atomic(self.journal, save)

    def _resume(self) -> tuple[list[dict[str, Any]], int, Any]:
        """What each source says it reads, and the pass and position to go on from."""
        try:
            with np.load(self.journal) as loaded:
                state = json.loads(loaded["state"].tobytes())
                tails = {split: loaded[split] for split in SPLITS}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            state, tails = {"sources": [None] * len(self.passes)}, {}
        before = state["sources"] if len(state["sources"]) == len(self.passes) else [None] * len(self.passes)
        sources = [part.source.describe(known) for part, known in zip(self.passes, before, strict=True)]
        if state.get("key") != self._key(sources):
            return sources, 0, None
        for split, writer in self.writers.items():
            writer.restore(state["splits"][split], tails[split])
        if any(size_problem(self.folder, shard) for writer in self.writers.values() for shard in writer.shards):
            self._fresh()
            return sources, 0, None
        return sources, state["pass"], state["position"]
