"""The Importer and Exporter interfaces: from the files of others, and to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel

from harness.core.architecture import Architecture, NoOptions

if TYPE_CHECKING:
    from torch import Tensor

    from harness.interchange.bundle import Bundle

OptionsT = TypeVar("OptionsT", bound=BaseModel)


class Importer(ABC, Generic[OptionsT]):
    """Reads one kind of published file; must never run code that the file carries.

    Attributes:
        Options: pydantic model of what ``--option`` may set; unknown keys are errors.
        version: raise it whenever the same file and options would give something else.
    """

    Options: ClassVar[type[BaseModel]] = NoOptions
    version: ClassVar[str] = "1"

    def __init__(self, options: OptionsT) -> None:
        self.options = options

    @abstractmethod
    def load(self, source: Path, name: str) -> Bundle:
        """Everything that ``source``, a file or a folder that exists, holds.

        Args:
            source: what to read.
            name: what it will be kept under, for ``Bundle.suite``.

        Raises:
            UserError: for a name that is missing or unexpected, or a tensor of another shape; names them.
        """


class Exporter(ABC):
    """Writes a network in the format of another library."""

    Options: ClassVar[type[BaseModel]] = NoOptions
    version: ClassVar[str] = "1"

    @abstractmethod
    def unsupported(self, architecture: Architecture[Any]) -> str | None:
        """Why a network of this architecture cannot be written, or None if it can."""

    @abstractmethod
    def write(
        self,
        folder: Path,
        architecture: Architecture[Any],
        weights: Mapping[str, Tensor],
        keep: Mapping[str, Tensor],
    ) -> None:
        """Write into a folder that is there and empty; it is thrown away where this raises.

        Args:
            folder: where to.
            architecture: what the weights belong to.
            weights: effective weights under the names of the network's own ``state_dict``, tied ones once.
            keep: parameter -> bool tensor of its shape, for those that are masked.
        """
