"""The exceptions that the harness raises on purpose.

HarnessError                  every one of them; the CLI prints it and exits, no traceback
├── UserError                 the input can be repaired by whoever typed it (exit code 2)
│   ├── SuiteError            a suite file is wrong; carries file, line and column
│   ├── PluginError           a plugin cannot be loaded, or breaks its contract
│   ├── Unsupported           a method, architecture and benchmark do not go together
│   ├── DataMissing           data is not on this machine; the text says which command gets it
│   └── NotInstalled          an optional package is missing; the text says what installs it
├── StorageError              a file cannot be written: full disk, read-only folder (exit code 2)
├── CorruptFile               a file is truncated or its checksum does not match
├── BadScore                  an evaluation gave nothing that could be a score
├── WrongCount                a network keeps another number of weights than was asked for
└── Diverged                  the loss or a weight became NaN or infinite; ends one cell, not the run

An invariant of the harness itself that does not hold is an AssertionError: a bug, with traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Base of every error raised on purpose; ``exit_code`` is what the CLI ends with."""

    exit_code = 2


class UserError(HarnessError):
    """Something the user gave is wrong; the text says what, what is allowed, and how to repair it."""


class SuiteError(UserError):
    """A suite file is wrong; the text starts with ``file:line:column``."""


class PluginError(UserError):
    """A plugin cannot be loaded or breaks its contract; the text names its origin."""


class Unsupported(UserError):
    """This combination of architecture, method and benchmark cannot run; the text says why."""


class DataMissing(UserError):
    """Data is not on this machine; the text says where it was looked for and how to get it."""


class NotInstalled(UserError, ImportError):
    """A package of one of the extras is missing; the text says which command installs it."""


class StorageError(HarnessError):
    """A file cannot be written; nothing that was finished before is lost."""


class CorruptFile(HarnessError):
    """A file is truncated, or its checksum does not match its content."""


class BadScore(HarnessError):
    """An evaluation gave nothing that could be a score; ends one cell, not the run."""


class WrongCount(HarnessError):
    """A network keeps another number of weights than was asked for; ends one cell, not the run."""


class Diverged(HarnessError):
    """The loss, or ``what`` is named, was NaN or infinite at optimizer step ``step`` (counted from 1) of a phase.

    ``cause`` says why, where that is known.
    """

    def __init__(self, step: int, value: float, what: str = "the loss", cause: str = "") -> None:
        super().__init__(f"{what} became {value} at step {step}{f': {cause}' if cause else ''}")
        self.step, self.value, self.what, self.cause = step, value, what, cause

    def __reduce__(self) -> tuple[type[Diverged], tuple[int, float, str, str]]:
        return type(self), (self.step, self.value, self.what, self.cause)


def unknown_name(what: str, name: str, known: Iterable[str], of: str = "") -> str:
    """Text for a name that does not exist (``of`` something): the nearest right name, then all that are known."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"unknown {what} '{name}'{f' of {of}' if of else ''}.{hint} Known: {', '.join(choices) or 'none'}."
