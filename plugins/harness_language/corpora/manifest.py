"""What a prepared corpus says about itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

import harness
from harness import CorruptFile
from harness.storage.atomic_files import write_text
from harness.storage.reading import read_bytes

FILE = "manifest.json"


class Shard(BaseModel):
    """A run of tokens in one file.

    Attributes:
        file: its name below the corpus's root.
        tokens: how many tokens of the file belong to the split.
        bytes, sha256: of the whole file.
        offset: bytes before the first of the tokens.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    tokens: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str
    offset: int = Field(0, ge=0)

    @field_validator("file")
    @classmethod
    def _inside(cls, file: str) -> str:
        if not file or Path(file).is_absolute() or ".." in Path(file).parts or "\0" in file:
            raise ValueError(f"the shard {file!r:.60} is not below the corpus's root")
        return file


class SplitShards(BaseModel):
    """The shards of one split, in order; ``documents`` were read for it, None if that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shards: tuple[Shard, ...] = ()
    documents: int | None = None

    @property
    def tokens(self) -> int:
        """Tokens of the split."""
        return sum(shard.tokens for shard in self.shards)


class Manifest(BaseModel):
    """What a prepared corpus says about itself; written last, so that a corpus without one is not finished.

    Attributes:
        tokenizer, identity: the tokenizer's name in the suite that prepared it, and what decides its ids.
        vocabulary, end: number of ids, and the one that ends a document, or None.
        dtype: of the tokens in the shards, little-endian.
        recipe: the options that decided the content.
        source: what was read, by the split that it was read for: a repository with its commit, or an ``Origin``. In old
            manifests of token files, their names alone.
        complete: whether the source had no more training tokens than these.
        external: whether the shards are the user's own files instead of lying beside the manifest.
        harness: version of the harness that wrote it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["sparsity-harness corpus 1"] = "sparsity-harness corpus 1"
    tokenizer: str
    identity: str
    vocabulary: int
    end: int | None
    dtype: Literal["uint16", "uint32"]
    recipe: Mapping[str, Any]
    source: Mapping[str, Any]
    splits: Mapping[str, SplitShards]
    complete: bool
    external: bool = False
    harness: str = harness.__version__

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The manifest in ``folder``, or None if there is none.

        Raises:
            CorruptFile: if it is damaged.
        """
        path = folder / FILE
        try:
            return cls.model_validate_json(read_bytes(path))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            reason = error.strerror if isinstance(error, OSError) else error.errors()[0]["msg"]
            raise CorruptFile(
                f"{path} is no manifest of a corpus ({reason}). Delete {folder} and run `harness data prepare` again."
            ) from error

    def write(self, folder: Path) -> None:
        """Write it atomically."""
        write_text(folder / FILE, json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")

    def files(self) -> Iterator[Shard]:
        """One shard of each file."""
        yield from {shard.file: shard for split in self.splits.values() for shard in split.shards}.values()

    def described(self, split: str) -> Mapping[str, Any] | None:
        """What was read for a split of its own, as its source described it."""
        if self.external and "files" in self.source:
            shards = sorted(self.files(), key=lambda shard: Path(shard.file))
            known = [{"name": shard.file, "bytes": shard.bytes, "sha256": shard.sha256} for shard in shards]
            return {"files": known} if split == "train" else None
        return self.source.get(split)

    def fingerprint(self) -> str:
        """SHA-256 over tokenizer, and digest and extent of every shard: content, not places."""
        content = {
            name: [(shard.sha256, shard.offset, shard.tokens) for shard in split.shards]
            for name, split in sorted(self.splits.items())
        }
        return hashlib.sha256(json.dumps([self.identity, self.dtype, content]).encode()).hexdigest()


def token_type(vocabulary: int) -> Literal["uint16", "uint32"]:
    """The smallest type that holds every id."""
    return "uint16" if vocabulary <= 2**16 else "uint32"
