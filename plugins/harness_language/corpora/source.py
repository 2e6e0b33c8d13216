"""Where documents come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

CHUNK = 2**20
"""Characters that are handed to a tokenizer at once; part of what is written (see ``Preparation``)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole documents.

    Attributes:
        texts: the documents.
        position: where the source goes on after them; JSON.
        done: fraction of the source that has been read, in [0, 1], or None if that is not known.
    """

    texts: list[str]
    position: Any
    done: float | None


class DocumentSource(ABC):
    """Documents in a fixed order, which can be read from any position on.

    Attributes:
        skipped: rows without text that were left out by this process.
    """

    skipped: int = 0

    @abstractmethod
    def describe(self, before: Mapping[str, Any] | None) -> dict[str, Any]:
        """What is read, for the manifest; JSON. Called once, before :meth:`chunks`.

        Args:
            before: what this said when an interrupted preparation began: the same revision is read again.
        """

    def sealed(self, described: Mapping[str, Any]) -> Mapping[str, Any]:
        """What was described before it was read, with all that identifies its content.

        Raises:
            UserError: if it has changed since.
        """
        return described

    @abstractmethod
    def chunks(self, position: Any) -> Iterator[Chunk]:
        """All documents from ``position`` on (None: from the beginning), cut alike whatever the position."""
