"""A suite file as its cells."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import DataMissing, SuiteError
from harness.suites.cell import Cell
from harness.suites.comparisons import Comparisons, comparisons
from harness.suites.declaration import Declaration
from harness.suites.expansion import Expansion

if TYPE_CHECKING:
    from harness.registry.plugins import Registry


class Suite(Declaration):
    """A loaded suite. Use :func:`load_suite`, or this where the expansion into cells is not wanted."""

    @cached_property
    def cells(self) -> list[Cell]:
        """Every cell, in order of the file; seeds innermost."""
        return Expansion(self).cells()

    @cached_property
    def comparisons(self) -> dict[str, Comparisons]:
        """What each experiment compares with what."""
        return comparisons(self, Expansion(self))


def load_suite(path: Path, registry: Registry, overrides: Sequence[str] = (), dry: bool = False) -> Suite:
    """Read, validate and expand a suite file; ``dry`` as in :class:`Declaration`.

    Raises:
        SuiteError: with file, line and column, what is allowed, and the nearest right name.
        DataMissing: if the number of training examples is not known without data that is missing.
    """
    suite = Suite(path, registry, overrides, dry)
    if suite.cells:
        _ = suite.comparisons  # asked for here, so that wrong questions are told before anything runs
    else:
        if suite.missing:
            raise DataMissing(next(iter(suite.missing.values())))
        raise SuiteError(f"{path}: include and exclude leave no cells")
    return suite
