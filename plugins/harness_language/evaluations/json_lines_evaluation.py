"""An evaluation on a published file of one JSON object a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import Field

from harness import data_directory
from harness_language.evaluations.evaluation import EvaluationOptions
from harness_language.evaluations.file_evaluation import FileEvaluation
from harness_language.evaluations.json_lines import read_json_lines
from harness_language.evaluations.source import PublishedFile


class JsonLinesOptions(EvaluationOptions):
    """Options of an evaluation on such a file; who derives gives ``path`` its default and says what the lines hold."""

    path: Path = Field(json_schema_extra={"hashed": False})
    """The file; a relative path is relative to the suite or the data directory. Says only where: the content is
    hashed."""
    limit: int | None = Field(default=None, ge=1)
    """Score only the first so many examples; null scores all."""


OptionsT = TypeVar("OptionsT", bound=JsonLinesOptions)
T = TypeVar("T")


class JsonLinesEvaluation(FileEvaluation[OptionsT], Generic[OptionsT]):
    """Scores the examples of one file, of which the published copy can be fetched.

    Attributes:
        published: where the file of the default ``path`` is from.
        unit: what an example is called, in the plural.
    """

    published: ClassVar[PublishedFile]
    unit: ClassVar[str]

    @property
    def file(self) -> Path:
        """``path``."""
        return data_directory() / self.options.path.expanduser()

    @property
    def source(self) -> PublishedFile | None:
        """The published copy, unless the user names another file."""
        default = type(self.options).model_fields["path"].default
        return self.published if self.options.path == default else None

    @property
    def count(self) -> str:
        """How many examples are scored, for the protocol: ``first 100 questions``."""
        return f"{f'first {self.options.limit}' if self.options.limit else 'all'} {self.unit}"

    def read(self, parse: Callable[[dict[str, Any]], T]) -> list[T]:
        """The examples that are scored; see :func:`read_json_lines`."""
        return read_json_lines(self.file, self.text(), parse, self.options.limit)
