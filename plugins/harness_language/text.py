"""Language modelling on any text that the user has."""

from __future__ import annotations

import codecs
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from harness import DataMissing, Metric, UserError, data_directory
from harness.storage.digests import described
from harness.storage.reading import read_bytes
from harness_language.language import LanguageBenchmark, LanguageOptions, Tokens
from harness_language.splits import share
from harness_language.tokenizers import (
    ENCODINGS,
    TokenizerName,
    content_identity,
    encoding,
    tokenizer,
    tokenizer_files,
)

Signature = tuple[tuple[str, int, int], ...]


class TextOptions(LanguageOptions):
    """Options of ``text``."""

    path: Path = Field(json_schema_extra={"hashed": False})
    """A file, or a folder whose files are one document each (subfolders too, hidden files not); relative paths are
    relative to the suite or the data directory. Says only where: the content is hashed."""
    tokenizer: TokenizerName = "bytes"
    """``bytes``, one of tiktoken's encodings, or the path of a tokenizers JSON, relative to the suite or the data
    directory."""
    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Fraction of the documents, or of one file's bytes; 0 has no validation metrics."""
    test_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Fraction of the documents, or of one file's bytes."""

    @model_validator(mode="after")
    def _some_training(self) -> TextOptions:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction + test_fraction must be below 1, to leave some training text")
        return self


class Text(LanguageBenchmark[TextOptions]):
    """Language modelling on a file or folder of text, as bytes or as byte-pair tokens.

    One file is cut in order: training, validation, test, moved back to whole UTF-8 characters. Of several,
    the SHA-256 of a document's content says which split it is in and orders the documents of a split, so
    equal documents never part and neither names nor places matter. Bytes follow each other without a mark.
    With a tiktoken encoding, which needs UTF-8, documents are divided by its end-of-text token, as is text
    where that token is written out; it is scored as a token and stands for 0 bytes.

    Line ends are kept as they are; a byte-order mark is no text.

    Licence and source are those of the user's text. tiktoken's encodings: OpenAI, MIT.
    """

    Options: ClassVar = TextOptions

    def __init__(self, options: TextOptions) -> None:
        self.unit = "byte" if options.tokenizer == "bytes" else "token"
        super().__init__(options)
        if options.tokenizer != "bytes":
            self.protocol += f", {options.tokenizer} tokens"
            self.metrics = (Metric("loss", "nats/token", "min"), *self.metrics[1:])

    @property
    def root(self) -> Path:
        """The file or folder, absolute."""
        return data_directory() / self.options.path.expanduser()

    def splits(self) -> Mapping[str, Tokens]:
        """The tokens of each split."""
        options = self.options
        coder, identity = options.tokenizer, content_identity(options.tokenizer)
        return _splits(
            self.root, _signature(self.root), coder, identity, options.validation_fraction, options.test_fraction
        )

    def more_test_text(self) -> str:
        """A larger fraction helps, but documents fall where their content says."""
        return f"Give more text, or raise `test_fraction` from {self.options.test_fraction:g}."

    def vocabulary(self) -> int:
        """256, or what the encoding has."""
        return tokenizer(self.options.tokenizer).vocabulary

    def token_bytes(self) -> NDArray[np.int64]:
        """1 each, or the lengths of the tokens, special ones 0."""
        return tokenizer(self.options.tokenizer).token_bytes()

    def tokenizer(self) -> str:
        """Identity of the tokenizer."""
        return tokenizer(self.options.tokenizer).identity

    def end(self) -> int | None:
        """The tokenizer's end of text; bytes have none."""
        return tokenizer(self.options.tokenizer).end

    def documents(self, split: str) -> NDArray[np.int64] | None:
        """Bytes have no end of text: there it is the files that tell."""
        documents, options = _documents(self.root, _signature(self.root)), self.options
        if options.tokenizer != "bytes" or len(documents) == 1:
            return super().documents(split)
        parts = (options.validation_fraction, options.test_fraction)
        lengths = [len(content) for digest, content in documents if share(digest, *parts) == split]
        return np.repeat(np.arange(len(lengths)), lengths)

    def fingerprint(self) -> str:
        """SHA-256 of the content, of a tokenizer's file too, whatever the files are called and wherever they are."""
        content = b"".join(digest for digest, _ in _documents(self.root, _signature(self.root)))
        return hashlib.sha256(content + content_identity(self.options.tokenizer).encode()).hexdigest()

    def data_source(self) -> Mapping[str, Any]:
        """Where the text is."""
        return described(self.root, [Path(path) for path, *_ in _signature(self.root)])

    def files(self) -> Sequence[Path]:
        """The text, and the tokenizer's files."""
        return [self.root, *tokenizer_files(self.options.tokenizer)]

    def prepare(self, download: bool = True) -> None:
        """Fetch the tokenizer if it is missing; the text is the user's to provide."""
        _signature(self.root)
        if self.options.tokenizer in ENCODINGS:
            encoding(self.options.tokenizer, download)


def _signature(root: Path) -> Signature:
    """(path, size, time of change) of every file, so that what was read is kept only while it is current."""
    if not root.exists():
        raise DataMissing(
            f"text: {root} does not exist. Set `path` to a file or folder of text; a relative path is relative to "
            f"the suite, or to the data directory ({data_directory()}), which HARNESS_DATA sets."
        )
    if root.is_file():
        paths = [root]
    else:
        paths = [p for p in root.rglob("*") if not any(part.startswith(".") for part in p.relative_to(root).parts)]
    found = []
    for path in sorted(paths):
        if path.is_file():
            stat = path.stat()
            found.append((str(path), stat.st_size, stat.st_mtime_ns))
    return tuple(found)


@functools.lru_cache(maxsize=4)
def _documents(root: Path, signature: Signature) -> list[tuple[bytes, bytes]]:
    contents = [_content(Path(path)) for path, size, _ in signature if size]
    if not contents:
        raise DataMissing(f"text: {root} holds no text: every file in it is empty or hidden. Set `path` to another.")
    return sorted((hashlib.sha256(content).digest(), content) for content in contents)


def _content(path: Path) -> bytes:
    """A file without its byte-order mark, which is no text."""
    content = read_bytes(path)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError(f"text: {path} is UTF-16 by its byte-order mark. Convert it to UTF-8.")
    return content.removeprefix(codecs.BOM_UTF8)


@functools.lru_cache(maxsize=4)
def _splits(
    root: Path, signature: Signature, coder: str, _identity: str, validation: float, test: float
) -> dict[str, Tokens]:
    documents = _documents(root, signature)
    splits: dict[str, list[bytes]] = {"train": [], "validation": [], "test": []}
    if len(documents) == 1:
        text = documents[0][1]
        first, second = (_character(text, round(len(text) * part)) for part in (1 - validation - test, 1 - test))
        splits = {"train": [text[:first]], "validation": [text[first:second]], "test": [text[second:]]}
    for digest, content in documents if len(documents) > 1 else ():
        splits[share(digest, validation, test)].append(content)
    try:
        return {name: _tokens(contents, coder) for name, contents in splits.items()}
    except UnicodeDecodeError as error:
        raise UserError(f"text: {root} is not all UTF-8 ({error}). Convert it, or set `tokenizer: bytes`.") from error


def _character(text: bytes, cut: int) -> int:
    while 0 < cut < len(text) and text[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut


def _tokens(contents: Sequence[bytes], name: str) -> Tokens:
    if name == "bytes":
        return np.frombuffer(b"".join(contents), dtype=np.uint8).copy()
    coder = tokenizer(name)
    tokens: list[int] = []
    for content in contents:
        if tokens and coder.end is not None and tokens[-1] != coder.end:
            tokens.append(coder.end)
        tokens += coder.encode_document(content.decode())
    return np.array(tokens, dtype=np.int32)
