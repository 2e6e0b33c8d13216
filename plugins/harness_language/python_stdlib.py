"""Language modelling on text that every machine with this harness has."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness import DataMissing
from harness_language.language import LanguageBenchmark, LanguageOptions, Tokens
from harness_language.splits import share

_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "encodings", "pydoc_data"}


class PythonStdlibOptions(LanguageOptions):
    """Options of ``python_stdlib``."""

    train_bytes: int | None = Field(default=2_000_000, ge=2)
    """Training text is cut after so many bytes; null takes all, some 8 MB."""


class PythonStdlib(LanguageBenchmark[PythonStdlibOptions]):
    """Byte-level language modelling on the running Python's own standard library sources; vocabulary 256.

    All ``.py`` files of the standard library, without third-party packages, tests, the tables in
    ``encodings``, the generated ``pydoc_data`` and the build's own ``_sysconfigdata``. The SHA-256 of a
    file's path within the library says which split it is in (validation 10 %, test 10 %) and orders the
    files of a split; they follow each other without a mark, and ``train_bytes`` cuts the training split.

    Another Python version is other text: the protocol names the version, the fingerprint the content.

    Source: the CPython developers. Licence: Python Software Foundation License, version 2.
    """

    Options: ClassVar = PythonStdlibOptions

    def __init__(self, options: PythonStdlibOptions) -> None:
        super().__init__(options)
        self.protocol += f", library of Python {platform.python_version()}"

    def splits(self) -> Mapping[str, Tokens]:
        """The bytes of each split."""
        text = _read(Path(sysconfig.get_path("stdlib")))
        return {**text, "train": text["train"][: self.options.train_bytes]}

    def documents(self, split: str) -> NDArray[np.int64]:
        """The files."""
        lengths = [len(content) for content in _files(Path(sysconfig.get_path("stdlib")))[split]]
        return np.repeat(np.arange(len(lengths)), lengths)

    def fingerprint(self) -> str:
        """Python's version, and a SHA-256 of the bytes that training and evaluation use."""
        digest = hashlib.sha256()
        for name, tokens in self.splits().items():
            limit = None if name == "train" or not self.options.eval_tokens else self.options.eval_tokens + 1
            digest.update(hashlib.sha256(tokens[:limit].tobytes()).digest())
        return f"{platform.python_version()}-{digest.hexdigest()}"


@functools.cache
def _files(root: Path) -> dict[str, list[bytes]]:
    splits: dict[str, list[bytes]] = {"train": [], "validation": [], "test": []}
    for digest, path in sorted(_sources(root)):
        splits[share(digest, 0.1, 0.1)].append(path.read_bytes())
    if not splits["train"]:
        raise DataMissing(f"this Python has no library sources in {root}: use a Python installed with its .py files.")
    return splits


@functools.cache
def _read(root: Path) -> dict[str, Tokens]:
    # A copy, as torch wants memory that may be written.
    return {name: np.frombuffer(b"".join(files), dtype=np.uint8).copy() for name, files in _files(root).items()}


def _sources(root: Path) -> list[tuple[bytes, Path]]:
    found = []
    for folder, subfolders, names in os.walk(root):
        # Pruned on the way down, as site-packages may hold many thousands of files.
        subfolders[:] = [name for name in subfolders if name not in _LEFT_OUT]
        for name in names:
            if name.endswith(".py") and not name.startswith("_sysconfigdata"):
                path = Path(folder) / name
                found.append((hashlib.sha256(path.relative_to(root).as_posix().encode()).digest(), path))
    return found
