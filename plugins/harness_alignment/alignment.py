"""What the benchmarks of alignment with humans share: files of known content, and a tokenizer."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from pydantic import BaseModel, ConfigDict

from harness import (
    Architecture,
    Benchmark,
    CorruptFile,
    DataMissing,
    DataSpec,
    LanguageNetwork,
    Model,
    Scores,
    Split,
    Unsupported,
    data_directory,
)
from harness.storage.digests import described, digest, digest_now
from harness_alignment.download import download
from harness_language.scoring import network
from harness_language.tokenizers import ENCODINGS, TokenizerName, encoding, tokenizer, tokenizer_files


class AlignmentOptions(BaseModel):
    """Options of an alignment benchmark."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    tokenizer: TokenizerName = "gpt2"
    """What the network was trained with: ``bytes``, one of tiktoken's encodings, or the path of a tokenizers JSON,
    relative to the suite or the data directory."""


OptionsT = TypeVar("OptionsT", bound=AlignmentOptions)


class AlignmentBenchmark(Benchmark[OptionsT], Generic[OptionsT]):
    """Evaluation only, with a test split and no other, of a language network on a few files.

    Attributes:
        name: as registered, for messages.
        folder: of the files, below the data directory.
        sha256: of the files, by name.
        source: address of the folder that the files are downloaded from; empty where they cannot be.
        origin: whose the data are, their licence, and how to get them by hand.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    sha256: ClassVar[Mapping[str, str]]
    source: ClassVar[str] = ""
    origin: ClassVar[str]

    @abstractmethod
    def compare(self, model: LanguageNetwork, device: torch.device) -> Scores:
        """Scores on the test split; the files are there."""

    def evaluate(self, model: Model, split: Split, device: torch.device) -> Scores:
        """Scores on all of the data as test split; the validation split is empty."""
        if split == "validation":
            return Scores({})
        self.prepare(download=False)
        with torch.no_grad():
            return self.compare(network(model, self.name), device)

    def examples(self, split: Split) -> int | None:
        """0 for validation."""
        return 0 if split == "validation" else None

    def spec(self) -> DataSpec:
        """There is none."""
        raise Unsupported(f"{self.name} offers no training data: train on another benchmark and evaluate on this one")

    def unsupported(self, architecture: Architecture[Any]) -> str | None:
        """Refuses a network that was trained on other tokens."""
        wanted, found = tokenizer(self.options.tokenizer).identity, architecture.data.tokenizer
        if found == wanted:
            return None
        return (
            f"{self.name} is set to {self.options.tokenizer} tokens ({wanted}), the network is trained on "
            f"{f'tokens of {found}' if found else 'no text'}: set its `tokenizer` to the network's"
        )

    def fingerprint(self) -> str:
        """SHA-256 of the files and of the tokenizer's identity."""
        self.prepare(download=False)
        parts = [*map(digest, self.paths()), tokenizer(self.options.tokenizer).identity]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def data_source(self) -> Mapping[str, Any]:
        """The files."""
        self.prepare(download=False)
        return described(data_directory() / self.folder, self.paths())

    def paths(self) -> list[Path]:
        """The data files, in the order of ``sha256``."""
        return [data_directory() / self.folder / name for name in self.sha256]

    def files(self) -> Sequence[Path]:
        """The data files and those of the tokenizer."""
        return [*self.paths(), *tokenizer_files(self.options.tokenizer)]

    def prepare(self, download: bool = True) -> None:
        """Download what is missing, where it can be, and the tokenizer."""
        for path in self.paths():
            if not path.is_file():
                self._fetch(path, download)
        if self.options.tokenizer in ENCODINGS:
            encoding(self.options.tokenizer, download)

    def verify(self) -> Sequence[str]:
        """One line per file that is missing or has another SHA-256 than the release that scores are quoted for."""
        problems = []
        for path in self.paths():
            if not path.is_file():
                problems.append(f"{path} is missing. {self.origin}")
            elif digest_now(path) != self.sha256[path.name]:
                problems.append(f"{path} is damaged or of another release: delete it. {self.origin}")
        return problems

    def _fetch(self, path: Path, allowed: bool) -> None:
        text = f"{self.name}: {path} is missing (HARNESS_DATA sets the data directory). {self.origin}"
        if not (allowed and self.source):
            raise DataMissing(text)
        try:
            download(f"{self.source}/{path.name}", path, self.sha256[path.name])
        except (OSError, CorruptFile) as error:
            raise DataMissing(f"{text} The download failed: {error}") from error
