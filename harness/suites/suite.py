"""A suite file as its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import DataMissing, SuiteError
from harness.suites.cell import Cell, Key, Tuned
from harness.suites.comparisons import Comparisons, comparisons
from harness.suites.declaration import Declaration
from harness.suites.expansion import Expansion
from harness.suites.mask_pairs import Pair, mask_pairs
from harness.suites.network_pairs import NetworkPair, NetworkRow, network_pairs
from harness.suites.schema import Selector
from harness.suites.tuning import Tuning

if TYPE_CHECKING:
    from harness.registry.plugins import Registry


class Suite(Declaration):
    """A loaded suite. Use :func:`load_suite`, or this where the expansion into cells is not wanted.

    The trials of an experiment that is tuned are experiments of their own, before it.
    """

    def __init__(
        self,
        path: Path,
        registry: Registry,
        overrides: Sequence[str] = (),
        dry: bool = False,
        folder: Path | None = None,
    ) -> None:
        super().__init__(path, registry, overrides, dry, folder)
        self._check_spaces()
        for name, experiment in self.reported.items():
            if experiment.tune is not None:
                self._add_trials(name)

    @cached_property
    def cells(self) -> list[Cell]:
        """Every cell whose settings are known, in order of the file; seeds innermost."""
        return [cell for cell in self._all_cells if cell.key not in self._waiting]

    @cached_property
    def pending(self) -> list[Cell]:
        """The cells whose settings are not chosen yet, or of one that they refer to; as they are by default."""
        return [cell for cell in self._all_cells if cell.key in self._waiting]

    @cached_property
    def comparisons(self) -> dict[str, Comparisons]:
        """What each experiment compares with what."""
        return comparisons(self, Expansion(self))

    @cached_property
    def agreements_asked(self) -> list[tuple[Selector, Selector, list[Pair]]]:
        """Selectors of cells whose masks are set beside each other, with the cells, as far as their names are known."""
        found = []
        for at, (first, second) in enumerate(self.agreements):
            try:
                found.append((first, second, mask_pairs(first, second, self._all_cells)))
            except ValueError as error:
                raise self._yaml.error(("agreements", at), f"agreements: {error}") from None
        return found

    @cached_property
    def networks_asked(self) -> list[NetworkPair]:
        """Rows of different architectures that are tested against each other."""
        found: dict[frozenset[NetworkRow], NetworkPair] = {}  # nothing is tested twice, either way round
        for at, text in enumerate(self.networks):
            try:
                pairs = network_pairs(text, self._all_cells)
            except ValueError as error:
                raise self._yaml.error(("networks", at), f"networks: {error}") from None
            for pair in pairs:
                found.setdefault(frozenset((pair.first, pair.second)), pair)
        return list(found.values())

    def with_choices(self, choices: Mapping[Tuned, int]) -> Suite:
        """The same suite with the trials that were chosen; what is not among them waits."""
        other = copy(self)
        for name in ("cells", "pending", "_all_cells", "_waiting"):
            other.__dict__.pop(name, None)
        other.choices = dict(choices)
        return other

    def _check_spaces(self) -> None:
        """A method's space is of use where something is tuned."""
        if any(experiment.tune is not None for experiment in self.experiments.values()):
            return
        for name, experiment in self.experiments.items():
            for label, entry in experiment.methods.items():
                if entry.space:
                    text = f"method '{label}' has a space, and nothing says how many trials: tune: {{trials: 6}}"
                    raise self.error(name, ("methods", label, "space"), text, at_key=True)

    def _add_trials(self, name: str) -> None:
        """Put the trials of an experiment before it."""
        tuning = Tuning(self, name)
        trials = {trial.name: trial for trial in tuning.trials()}
        self.trials |= trials
        experiments = {trial.name: tuning.experiment(trial) for trial in trials.values()}
        at = list(self.experiments).index(name)
        known = list(self.experiments.items())
        self.experiments = dict([*known[:at], *experiments.items(), *known[at:]])

    @cached_property
    def _all_cells(self) -> list[Cell]:
        return Expansion(self).cells()

    @cached_property
    def _waiting(self) -> set[Key]:
        """Cells of tuned experiments that wait for a choice: for their own, or for that of a cell whose steps, density,
        masks or weights they take.
        """
        cells = {cell.key: cell for cell in self._all_cells}
        first = {cell.key[:4]: cell for cell in reversed(self._all_cells)}
        found: dict[Key, bool] = {}

        def waits(cell: Cell) -> bool:
            if cell.key not in found:
                others = [cells[key] for key in (cell.match, cell.source) if key is not None]
                budget = self.experiments[cell.experiment].methods[cell.method].budget
                if budget is not None and (longest := first.get((*cell.key[:3], budget.match))):
                    others.append(longest)
                found[cell.key] = self._unchosen(cell.tuned) or any(map(waits, others))
            return found[cell.key]

        return {cell.key for cell in self._all_cells if cell.trial is None and waits(cell)}

    def _unchosen(self, tuned: Tuned) -> bool:
        """Whether a method's own settings are not known yet."""
        return self.experiments[tuned.experiment].tune is not None and tuned not in self.choices


def load_suite(
    path: Path,
    registry: Registry,
    overrides: Sequence[str] = (),
    dry: bool = False,
    folder: Path | None = None,
) -> Suite:
    """Read, validate and expand a suite file; ``dry`` and ``folder`` as in :class:`Declaration`.

    Raises:
        SuiteError: with file, line and column, what is allowed, and the nearest right name.
        DataMissing: if the number of training examples is not known without data that is missing.
    """
    suite = Suite(path, registry, overrides, dry, folder)
    if suite.cells or suite.pending:
        _ = (
            suite.comparisons,
            suite.agreements_asked,
            suite.networks_asked,
        )  # here, so that wrong ones are told before anything runs
    else:
        if suite.missing:
            raise DataMissing(next(iter(suite.missing.values())))
        raise SuiteError(f"{path}: include and exclude leave no runs")
    return suite
