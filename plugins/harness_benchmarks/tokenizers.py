"""tiktoken's encodings, never fetched from the network except when asked to."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness import DataMissing, data_directory

if TYPE_CHECKING:
    from tiktoken import Encoding

EncodingName = Literal["gpt2", "r50k_base", "p50k_base", "cl100k_base", "o200k_base"]

_HOST = "https://openaipublic.blob.core.windows.net"


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
    """The encoding; the same object when asked again.

    Raises:
        DataMissing: if its files are not there and ``download`` is False, or the download fails.
    """
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
