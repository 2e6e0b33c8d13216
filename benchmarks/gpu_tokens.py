"""Tokens for gpu.py that need no download, as a plugin in one file."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from harness import Entry, Measurement, Metric, Model, hookimpl
from harness_language.language import LanguageBenchmark, LanguageOptions, Tokens
from harness_language.python_stdlib import PythonStdlib, PythonStdlibOptions


class Options(LanguageOptions):
    """Options of ``gpu_tokens``."""

    vocabulary: int = Field(default=50257, ge=2)
    """Ids are taken modulo this."""
    path: Path | None = Field(default=None, json_schema_extra={"hashed": False})
    """A file of uint16 tokens; null takes the words, spaces and signs of Python's own library, by frequency."""
    length: int = Field(default=8_000_000, ge=100)
    """No more than so many tokens of the file, or bytes of the library."""


class GpuTokens(LanguageBenchmark[Options]):
    """Next-token prediction on what every machine has, with a vocabulary as large as GPT-2's."""

    Options = Options
    unit = "token"
    metrics = (Metric("loss", "nats/token", "min"),)

    def splits(self) -> Mapping[str, Tokens]:
        """int32."""
        return _splits(self.options.path, self.options.vocabulary, self.options.length)

    def vocabulary(self) -> int:
        """As asked for, though not every id may occur."""
        return self.options.vocabulary

    def token_bytes(self) -> Any:
        """Unknown."""
        return np.ones(self.options.vocabulary, dtype=np.int64)

    def fingerprint(self) -> str:
        """Of all tokens."""
        digest = hashlib.sha256()
        for tokens in self.splits().values():
            digest.update(tokens.tobytes())
        return digest.hexdigest()

    def evaluate(self, model: Model, split: Literal["validation", "test"], device: Any) -> Mapping[str, Measurement]:
        """The loss; what bytes the tokens stand for is not known."""
        return {"loss": super().evaluate(model, split, device)["loss"]}


@cache
def _splits(path: Path | None, vocabulary: int, length: int) -> Mapping[str, Tokens]:
    if path is None:
        text = PythonStdlib(PythonStdlibOptions(train_bytes=length)).splits()["train"].tobytes()
        words = re.findall(rb"\w+|\s+|.", text)
        rank = {word: number for number, (word, _) in enumerate(Counter(words).most_common())}
        tokens = np.fromiter((rank[word] for word in words), np.int32, len(words))
    else:
        tokens = np.fromfile(path, np.uint16, length).astype(np.int32)
    tokens %= vocabulary
    tenth = len(tokens) // 10
    return {"train": tokens[2 * tenth :], "validation": tokens[:tenth], "test": tokens[tenth : 2 * tenth]}


@hookimpl
def harness_register_benchmarks() -> Sequence[Entry]:
    """Register it."""
    return [Entry("gpu_tokens", GpuTokens, "words of Python's library, or a file of uint16 tokens")]
