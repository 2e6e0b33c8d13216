"""Tokenizers by name: bytes, tiktoken's encodings, or a file of the ``tokenizers`` library; never fetched unasked."""

from __future__ import annotations

import functools
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from harness import DataMissing, UserError, data_directory
from harness.extras import require

if TYPE_CHECKING:
    from tiktoken import Encoding

ENCODINGS: Mapping[str, tuple[int, int]] = {
    "gpt2": (50_257, 50_256),
    "r50k_base": (50_257, 50_256),
    "p50k_base": (50_281, 50_256),
    "cl100k_base": (100_277, 100_257),
    "o200k_base": (200_019, 199_999),
}
"""tiktoken's encodings: number of ids and end-of-text, known without their files, for planning."""
_HOST = "https://openaipublic.blob.core.windows.net"


def _known(name: str) -> str:
    if name == "bytes" or name in ENCODINGS or name.endswith(".json"):
        return name
    raise ValueError(f"must be bytes, one of {', '.join(ENCODINGS)}, or the path of a tokenizer's .json file")


TokenizerName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"file": ".json"})]
"""``bytes``, one of tiktoken's encodings, or the path of a ``tokenizers`` JSON, relative to the suite or the data
directory."""


class Tokenizer(ABC):
    """Turns text into token ids and back.

    Attributes:
        name: as in a suite.
        identity: what decides which ids a text gets: equal identities give equal ids.
        vocabulary: number of ids.
        end: id of the end-of-text token, or None.
    """

    name: str
    identity: str
    vocabulary: int
    end: int | None

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of a text as evaluations pass it; what stands for special tokens written out is up to the tokenizer."""

    def encode_document(self, text: str) -> list[int]:
        """Ids of a document, in which the end-of-text token may be written out and is that token."""
        return self.encode(text)

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text; bytes that are no whole character are replaced."""

    @abstractmethod
    def token_bytes(self) -> NDArray[np.int64]:
        """(vocabulary,) UTF-8 bytes that each token stands for; 0 for special and unused ones."""


class Bytes(Tokenizer):
    """UTF-8 bytes."""

    name = identity = "bytes"
    vocabulary = 256
    end = None

    def encode(self, text: str) -> list[int]:
        """Its UTF-8 bytes."""
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        """Whole characters; others are replaced."""
        return bytes(ids).decode(errors="replace")

    def token_bytes(self) -> NDArray[np.int64]:
        """1 each."""
        return np.ones(256, dtype=np.int64)


class Tiktoken(Tokenizer):
    """One of tiktoken's encodings (OpenAI, MIT)."""

    def __init__(self, name: str) -> None:
        self.name, self.identity = name, f"tiktoken:{name}"
        self.vocabulary, self.end = ENCODINGS[name]

    @property
    def coder(self) -> Encoding:
        """The encoding itself, which needs its files."""
        return encoding(self.name)

    def encode(self, text: str) -> list[int]:
        """Byte-pair tokens."""
        return self.coder.encode_ordinary(text)

    def encode_document(self, text: str) -> list[int]:
        """Byte-pair tokens, the end-of-text token where it is written out."""
        return self.coder.encode(text, allowed_special={"<|endoftext|>"}, disallowed_special=())

    def decode(self, ids: Sequence[int]) -> str:
        """The text; broken characters are replaced."""
        return self.coder.decode(list(ids))

    def token_bytes(self) -> NDArray[np.int64]:
        """Lengths of the encoding's tokens."""
        return _tiktoken_bytes(self.name)


class JsonTokenizer(Tokenizer):
    """A file of the ``tokenizers`` library (byte-level BPE); known by its content, not by its place."""

    def __init__(self, name: str) -> None:
        require("tokenizers", what=f"the tokenizer {name}")
        from tokenizers import Tokenizer as Coder  # imported late: few need it

        path = _json_file(name)
        content = path.read_bytes()
        try:
            self.coder = Coder.from_str(content.decode())
        except Exception as error:  # tokenizers raises bare Exception
            raise UserError(f"the tokenizer {path} cannot be read by the tokenizers library: {error}") from error
        self.name = name
        self.identity = f"tokenizers:{hashlib.sha256(content).hexdigest()[:16]}"
        self.vocabulary = self.coder.get_vocab_size()
        special = {i: token.content for i, token in self.coder.get_added_tokens_decoder().items() if token.special}
        self._special = set(special)
        ends = [i for i, text in special.items() if text in ("<|endoftext|>", "</s>", "<|end_of_text|>")]
        self.end = min(ends, default=None)

    def encode(self, text: str) -> list[int]:
        """Tokens of the text, without those that a template would add; a special token written out is that token."""
        ids: list[int] = self.coder.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text, special tokens included."""
        text: str = self.coder.decode(list(ids), skip_special_tokens=False)
        return text

    def token_bytes(self) -> NDArray[np.int64]:
        """Lengths of the tokens; a byte-level vocabulary writes each byte as one character."""
        sizes = np.zeros(self.vocabulary, dtype=np.int64)
        added = self.coder.get_added_tokens_decoder()
        for text, i in self.coder.get_vocab(with_added_tokens=True).items():
            if i not in self._special:
                sizes[i] = len(text.encode()) if i in added else len(text)
        return sizes


def tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a name; the same object when asked again, as long as its file is the same.

    Raises:
        DataMissing: if its files are not on this machine.
    """
    if name == "bytes":
        return _BYTES
    if name in ENCODINGS:
        return _tiktoken(name)
    path = _json_file(name)
    stat = path.stat()
    return _json(name, path.absolute(), stat.st_size, stat.st_mtime_ns)


def content_identity(name: str) -> str:
    """What a fingerprint must hold besides a tokenizer's name: the identity of a file's content, else nothing."""
    return tokenizer(name).identity if name.endswith(".json") else ""


def tokenizer_files(name: str) -> list[Path]:
    """The files that a tokenizer needs."""
    if name == "bytes":
        return []
    return encoding_files(name) if name in ENCODINGS else [data_directory() / Path(name).expanduser()]


def encoding_files(name: str) -> list[Path]:
    """Where tiktoken's cache holds an encoding: below ``$TIKTOKEN_CACHE_DIR``, else ``tiktoken`` in the data directory.

    tiktoken names a cached file by the SHA-1 of its address.
    """
    urls = [f"{_HOST}/encodings/{name}.tiktoken"]
    if name == "gpt2":
        urls = [f"{_HOST}/gpt-2/encodings/main/{file}" for file in ("vocab.bpe", "encoder.json")]
    cache = Path(os.environ.get("TIKTOKEN_CACHE_DIR") or data_directory() / "tiktoken")
    return [cache / hashlib.sha1(url.encode()).hexdigest() for url in urls]


def encoding(name: str, download: bool = False) -> Encoding:
    """Tiktoken's encoding; the same object when asked again.

    Raises:
        DataMissing: if its files are not there and ``download`` is False, or the download fails.
        NotInstalled: without tiktoken.
    """
    require("tiktoken", what=f"the tokenizer {name}")
    files = encoding_files(name)
    cache = files[0].parent
    help_text = (
        f"the tokenizer '{name}' needs {', '.join(path.name for path in files)} in {cache}. With internet, run "
        f"`TIKTOKEN_CACHE_DIR={cache} python -c \"import tiktoken; tiktoken.get_encoding('{name}')\"`."
    )
    if not download and not all(path.is_file() for path in files):
        raise DataMissing(help_text)
    os.environ["TIKTOKEN_CACHE_DIR"] = str(cache)
    try:
        return _load(name)
    except (OSError, ValueError) as error:
        raise DataMissing(f"{help_text} It failed: {error}") from error


@functools.cache
def _load(name: str) -> Encoding:
    import tiktoken  # imported late: planning without text needs none

    return tiktoken.get_encoding(name)


@functools.cache
def _tiktoken(name: str) -> Tiktoken:
    return Tiktoken(name)


def _json_file(name: str) -> Path:
    path = data_directory() / Path(name).expanduser()
    if not path.is_file():
        raise DataMissing(f"the tokenizer {path} does not exist; put the tokenizer.json of a model there")
    return path


@functools.lru_cache(maxsize=4)
def _json(name: str, _path: Path, _size: int, _modified: int) -> JsonTokenizer:
    return JsonTokenizer(name)


@functools.cache
def _tiktoken_bytes(name: str) -> NDArray[np.int64]:
    coder = encoding(name)
    special: set[Any] = {coder.encode_single_token(text) for text in coder.special_tokens_set}
    sizes = np.zeros(coder.n_vocab, dtype=np.int64)
    for token in set(range(coder.n_vocab)) - special:
        try:
            sizes[token] = len(coder.decode_single_token_bytes(token))
        except KeyError:  # some encodings leave numbers unused
            continue
    return sizes


_BYTES = Bytes()
