"""Tokens that somebody else has prepared, read as they are: nanoGPT's and llm.c's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness import CorruptFile, DataMissing, UserError
from harness.storage.digests import digest
from harness_language.corpora.local_files import find_files
from harness_language.corpora.manifest import Manifest, Shard, SplitShards
from harness_language.corpora.origin import Files
from harness_language.tokenizers import tokenizer

MAGIC = 20240520
"""The first int32 of llm.c's GPT-2 shards; then version 1 and the number of tokens, in 256 int32 altogether."""
WIDE_MAGIC = 20240801
"""The same of its Llama-3 shards: version 7, and tokens are uint32."""
HEADER = 1024
_OTHER = {20240326: "a model", 20240328: "a tokenizer", 20240522: "an evaluation", 20240527: "a training state"}
"""First int32 of llm.c's files that hold no training tokens."""

_SPLITS = {"train": "train", "val": "validation", "test": "test"}


def find_token_files(path: Path) -> list[Path]:
    """The ``.bin`` files that a file, folder or pattern stands for."""
    return find_files(path, (".bin",))


def token_files(path: Path) -> Files:
    """Those of them that belong to a split by their names."""
    return Files(path, [file for file in find_token_files(path) if _split(file)])


def describe_token_files(path: Path, name: str, recipe: Mapping[str, Any]) -> Manifest:
    """A manifest of files of tokens, raw uint16 (nanoGPT) or behind llm.c's header; reads them once.

    ``train``, ``val`` or ``test`` in a file's name say which split it belongs to. Where there is no test
    file, the second half of the validation tokens is the test split. All tokens are taken.

    Raises:
        DataMissing: if there is no training file.
        UserError: if a token is outside the vocabulary of the tokenizer ``name``; for files of other formats.
        CorruptFile: if a size does not fit a header.
    """
    coder = tokenizer(name)
    root = path if path.is_dir() else path.parent
    shards: dict[str, list[Shard]] = {"train": [], "validation": [], "test": []}
    files = token_files(path)
    origin = files.described()
    if (characters := root / "meta.pkl").exists():
        raise UserError(
            f"{characters} says that the tokens beside it are numbers of characters, which no tokenizer here has: give "
            "the text that they were made of, with tokenizer: bytes"
        )
    widths: dict[Literal["uint16", "uint32"], Path] = {}
    for file in files.paths:
        width, shard = _shard(file, root, coder.vocabulary, name)
        widths[width] = file
        shards[_split(file) or ""].append(shard)
    if len(widths) > 1:
        raise UserError(f"{widths['uint16']} has tokens of 2 bytes and {widths['uint32']} of 4: give files of one kind")
    if not shards["train"]:
        raise DataMissing(f"{path} has no .bin file with 'train' in its name.")
    if not shards["test"]:
        half = sum(shard.tokens for shard in shards["validation"]) // 2
        size = np.dtype(next(iter(widths))).itemsize
        shards["test"] = _cut(shards["validation"], half, None, size)
        shards["validation"] = _cut(shards["validation"], 0, half, size)
    return Manifest(
        tokenizer=name,
        identity=coder.identity,
        vocabulary=coder.vocabulary,
        end=coder.end,
        dtype=next(iter(widths)),
        recipe=recipe,
        source={"train": files.sealed(origin).model_dump()},
        splits={split: SplitShards(shards=tuple(found)) for split, found in shards.items()},
        complete=True,
        external=True,
    )


def _split(file: Path) -> str | None:
    """The split that a file belongs to by its name."""
    return next((split for word, split in _SPLITS.items() if word in file.stem), None)


def _shard(file: Path, root: Path, vocabulary: int, name: str) -> tuple[Literal["uint16", "uint32"], Shard]:
    size = file.stat().st_size
    dtype: Literal["uint16", "uint32"] = "uint16"
    with file.open("rb") as opened:
        header = np.frombuffer(opened.read(12).ljust(12, b"\0"), "<i4")
    offset = 0
    magic, version = int(header[0]), int(header[1])
    if magic in _OTHER and 0 <= version < 100:  # two tokens may look like a number, hardly four
        raise UserError(f"{file} is {_OTHER[magic]} of llm.c (magic number {magic}), and no file of tokens.")
    if magic in (MAGIC, WIDE_MAGIC):
        offset, dtype = HEADER, "uint16" if magic == MAGIC else "uint32"
        known = 1 if magic == MAGIC else 7
        if version != known:
            raise UserError(
                f"{file} is a shard of llm.c's version {version}; only version {known} ({dtype}) can be read."
            )
        if size != HEADER + np.dtype(dtype).itemsize * int(header[2]):
            raise CorruptFile(f"{file} has {size} bytes, but {header[2]} tokens by its header. Get it again.")
    tokens, odd = divmod(size - offset, np.dtype(dtype).itemsize)
    if odd or tokens < 1:
        raise CorruptFile(f"{file} has {size} bytes, which are no {dtype} tokens. Get it again.")
    # In pieces, so that a file larger than memory passes.
    array = np.memmap(file, np.dtype(dtype).newbyteorder("<"), "r", offset, (tokens,))
    largest = max(int(array[start : start + 2**24].max()) for start in range(0, tokens, 2**24))
    if largest >= vocabulary:
        raise UserError(
            f"{file} holds token {largest}, but the tokenizer '{name}' has only {vocabulary}. Set `tokenizer` to the "
            f"one that the file was made with."
        )
    shard = Shard(file=str(file.relative_to(root)), tokens=tokens, bytes=size, sha256=digest(file), offset=offset)
    return dtype, shard


def _cut(shards: list[Shard], start: int, stop: int | None, width: int) -> list[Shard]:
    """The tokens from ``start`` to ``stop`` of the shards taken together."""
    found, first = [], 0
    for shard in shards:
        begin = min(max(start - first, 0), shard.tokens)
        end = shard.tokens if stop is None else min(max(stop - first, 0), shard.tokens)
        if end > begin:
            found.append(shard.model_copy(update={"tokens": end - begin, "offset": shard.offset + width * begin}))
        first += shard.tokens
    return found
