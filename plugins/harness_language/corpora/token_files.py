"""Tokens that somebody else has prepared, read as they are: nanoGPT's and llm.c's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness import CorruptFile, DataMissing, UserError
from harness.storage.digests import digest
from harness_language.corpora.local_files import find_files
from harness_language.corpora.manifest import Manifest, Shard, SplitShards
from harness_language.corpora.origin import Files
from harness_language.tokenizers import tokenizer

MAGIC = 20240520
"""The first int32 of llm.c's GPT-2 shards; then version 1 and the number of tokens, in 256 int32 altogether."""
HEADER = 1024

_SPLITS = {"train": "train", "val": "validation", "test": "test"}


def find_token_files(path: Path) -> list[Path]:
    """The ``.bin`` files that a file, folder or pattern stands for."""
    return find_files(path, (".bin",))


def token_files(path: Path) -> Files:
    """Those of them that belong to a split by their names."""
    return Files(path, [file for file in find_token_files(path) if _split(file)])


def describe_token_files(path: Path, name: str, recipe: Mapping[str, Any]) -> Manifest:
    """A manifest of files of uint16, raw (nanoGPT) or behind llm.c's header; reads them once.

    ``train``, ``val`` or ``test`` in a file's name say which split it belongs to. Where there is no test
    file, the second half of the validation tokens is the test split. All tokens are taken.

    Raises:
        DataMissing: if there is no training file.
        UserError: if a token is outside the vocabulary of the tokenizer ``name``.
        CorruptFile: if a size does not fit a header.
    """
    coder = tokenizer(name)
    root = path if path.is_dir() else path.parent
    shards: dict[str, list[Shard]] = {"train": [], "validation": [], "test": []}
    files = token_files(path)
    origin = files.described()
    for file in files.paths:
        shards[_split(file) or ""].append(_shard(file, root, coder.vocabulary, name))
    if not shards["train"]:
        raise DataMissing(f"{path} has no .bin file with 'train' in its name.")
    if not shards["test"]:
        half = sum(shard.tokens for shard in shards["validation"]) // 2
        shards["test"] = _cut(shards["validation"], half, None)
        shards["validation"] = _cut(shards["validation"], 0, half)
    return Manifest(
        tokenizer=name,
        identity=coder.identity,
        vocabulary=coder.vocabulary,
        end=coder.end,
        dtype="uint16",
        recipe=recipe,
        source={"train": files.sealed(origin).model_dump()},
        splits={split: SplitShards(shards=tuple(found)) for split, found in shards.items()},
        complete=True,
        external=True,
    )


def _split(file: Path) -> str | None:
    """The split that a file belongs to by its name."""
    return next((split for word, split in _SPLITS.items() if word in file.stem), None)


def _shard(file: Path, root: Path, vocabulary: int, name: str) -> Shard:
    size = file.stat().st_size
    with file.open("rb") as opened:
        header = np.frombuffer(opened.read(12).ljust(12, b"\0"), "<i4")
    offset = 0
    if header[0] == MAGIC:
        offset = HEADER
        if header[1] != 1:
            raise UserError(f"{file} is a shard of llm.c's version {header[1]}; only version 1 (uint16) can be read.")
        if size != HEADER + 2 * int(header[2]):
            raise CorruptFile(f"{file} has {size} bytes, but {header[2]} tokens by its header. Get it again.")
    tokens, odd = divmod(size - offset, 2)
    if odd or not tokens:
        raise CorruptFile(f"{file} has {size} bytes, which are no uint16 tokens. Get it again.")
    # In pieces, so that a file larger than memory passes.
    array = np.memmap(file, "<u2", "r", offset, (tokens,))
    largest = max(int(array[start : start + 2**24].max()) for start in range(0, tokens, 2**24))
    if largest >= vocabulary:
        raise UserError(
            f"{file} holds token {largest}, but the tokenizer '{name}' has only {vocabulary}. Set `tokenizer` to the "
            f"one that the file was made with."
        )
    return Shard(file=str(file.relative_to(root)), tokens=tokens, bytes=size, sha256=digest(file), offset=offset)


def _cut(shards: list[Shard], start: int, stop: int | None) -> list[Shard]:
    """The tokens from ``start`` to ``stop`` of the shards taken together."""
    found, first = [], 0
    for shard in shards:
        begin = min(max(start - first, 0), shard.tokens)
        end = shard.tokens if stop is None else min(max(stop - first, 0), shard.tokens)
        if end > begin:
            found.append(shard.model_copy(update={"tokens": end - begin, "offset": shard.offset + 2 * begin}))
        first += shard.tokens
    return found
