"""The Logger interface: shows runs in programs that others wrote."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from harness.core.architecture import NoOptions


@dataclass(frozen=True, slots=True)
class Logged:
    """What is logged as one run: a stage while it trains, or a cell when it has been evaluated.

    Attributes:
        kind: which of the two.
        suite: its name.
        name: for people, and fit for a file name.
        id: of the stage or the cell; the same whenever it runs again.
        folder: the suite's folder of results; what is written there goes into a folder of the logger's own.
        config: the resolved cell.
        first_step: optimizer steps that its program took before it.
    """

    kind: Literal["stage", "cell"]
    suite: str
    name: str
    id: str
    folder: Path
    config: Mapping[str, Any]
    first_step: int


class Logger(ABC):
    """Writes numbers somewhere; one object serves one run after another.

    A run that was interrupted is started again, and everything that it had logged up to its checkpoint is logged once
    more: ``start`` must see to it that nothing is there twice. Whatever raises is told to the user once, and ends the
    logging of that run, never the run itself. Nothing here may draw from global generators of random numbers.
    """

    Options: ClassVar[type[BaseModel]] = NoOptions
    version: ClassVar[str] = "1"

    def check(self) -> None:  # noqa: B027 (most have nothing to check)
        """Called once before anything runs.

        Raises:
            UserError: if it cannot work on this machine; says what to install.
        """

    @abstractmethod
    def start(self, run: Logged) -> None:
        """A run begins, or begins again."""

    @abstractmethod
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers at an optimizer step of the program; steps never decrease, and one may come several times."""

    def finish(self) -> None:  # noqa: B027
        """The run ends, is interrupted or has failed."""
