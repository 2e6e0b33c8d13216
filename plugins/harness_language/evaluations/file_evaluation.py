"""An evaluation on one file below the data directory."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from harness import DataMissing, Split, UserError, data_directory
from harness.storage.digests import described, digest, digest_now
from harness_language.evaluations.evaluation import EvaluationOptions, LanguageEvaluation
from harness_language.evaluations.source import PublishedFile
from harness_language.tokenizers import tokenizer

OptionsT = TypeVar("OptionsT", bound=EvaluationOptions)


class FileEvaluation(LanguageEvaluation[OptionsT], Generic[OptionsT]):
    """An evaluation that reads one file; its content is in every hash, its place is not.

    Attributes:
        choices: options that choose among files, with their values.
    """

    choices: ClassVar[Mapping[str, Sequence[str]]] = {}

    @property
    @abstractmethod
    def file(self) -> Path:
        """The data, absolute."""

    @property
    def source(self) -> PublishedFile | None:
        """Where :attr:`file` can be fetched into its folder; None if it is the user's own."""
        return None

    def content(self) -> bytes:
        """The whole file.

        Raises:
            DataMissing: if it is not there.
        """
        if not self.file.is_file():
            raise DataMissing(self._missing())
        return self.file.read_bytes()

    def text(self) -> str:
        """The whole file as UTF-8, line ends as they are."""
        try:
            return self.content().decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{self.name}: {self.file} is not all UTF-8 ({error}): convert it.") from error

    def examples(self, split: Split) -> int | None:
        """0 also in an empty file."""
        if not self.file.is_file():
            raise DataMissing(self._missing())
        return super().examples(split) if self.file.stat().st_size else 0

    def fingerprint(self) -> str:
        """SHA-256 of the file's content and of the tokenizer's identity."""
        if not self.file.is_file():
            raise DataMissing(self._missing())
        content = f"{digest(self.file)} {tokenizer(self.options.tokenizer).identity}"
        return hashlib.sha256(content.encode()).hexdigest()

    def data_source(self) -> Mapping[str, Any]:
        """The file."""
        return described(self.file, [self.file])

    def files(self) -> Sequence[Path]:
        """The data, and the tokenizer's files."""
        return [self.file, *super().files()]

    def prepare(self, download: bool = True) -> None:
        """Fetch what is missing, the tokenizer included."""
        if not self.file.is_file():
            if not download or self.source is None:
                raise DataMissing(self._missing())
            try:
                self.source.fetch(self.file.parent)
            except (OSError, HTTPException) as error:
                raise DataMissing(f"{self._missing()} The download failed: {error}") from error
        super().prepare(download)

    def verify(self) -> Sequence[str]:
        """One line if the file is not the published one, where that is known."""
        if not self.file.is_file():
            return [self._missing()]
        known = None if self.source is None or self.source.members else self.source.sha256
        if known is not None and digest_now(self.file) != known:
            return [f"{self.file} is damaged: delete it and run `harness data prepare {self.name}`"]
        return []

    def _missing(self) -> str:
        help_text = f"{self.name}: {self.file} does not exist.{self._instead()}"
        if self.source is None:
            return f"{help_text} Put it there, or set `path`; HARNESS_DATA sets the data directory {data_directory()}."
        return (
            f"{help_text} Run `harness data prepare {self.name}` with internet, or get {self.source.what} from "
            f"{self.source.url} and put it there; HARNESS_DATA sets the data directory {data_directory()}."
        )

    def _instead(self) -> str:
        for option, values in self.choices.items():
            for value in values:
                other = type(self)(self.options.model_copy(update={option: value})).file
                if other.is_file():
                    return f" There is {other}: set `{option}: {value}` to take that."
        return ""
