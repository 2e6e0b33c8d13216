"""A cell of the comparison matrix, fully resolved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel

from harness.core.method import SparsityMethod
from harness.core.phases import Phase, inverted
from harness.core.returned import require_list
from harness.errors import UserError
from harness.suites.named_files import NamedFiles
from harness.suites.schema import Evaluation, MatchBy, Training
from harness.suites.trials import Trial

if TYPE_CHECKING:
    from harness.core.connections import Connection, Kind
    from harness.core.method import TrainingBudget

Scope = tuple[str, ...] | Literal["default", "all"]
"""Roles of the connections that a method controls, or ``default``, or ``all``."""


class Tuned(NamedTuple):
    """What settings are chosen for: a method on a network and its training data; labels of a suite."""

    experiment: str
    architecture: str
    trained_on: str
    method: str


class Key(NamedTuple):
    """What names a cell within a suite: labels, and the density as a number where one was asked for."""

    experiment: str
    architecture: str
    benchmark: str
    method: str
    density: float | None
    seed: int


@dataclass(frozen=True, slots=True)
class Part:
    """One plugin with its options: what a label in a suite stands for.

    ``identity`` holds plugin, version, hashed options (and a single-file plugin's source digest).
    ``weights`` is the folder of imported weights that an architecture starts from, by name or path. ``inverted`` says
    of a method that its prunings keep the lowest scores. ``files`` knows how the suite names what has full paths here.
    """

    label: str
    plugin: str
    options: BaseModel
    identity: Mapping[str, Any]
    files: NamedFiles
    weights: str | None = None
    inverted: bool = False

    def record(self) -> dict[str, Any]:
        """For result files: label, plugin, version, options, with paths as the suite has them."""
        record: dict[str, Any] = {
            "label": self.label,
            "plugin": self.plugin,
            "version": self.identity["version"],
            "options": self.files.as_written(self.options.model_dump(mode="json")),
        }
        if self.weights is not None:
            record["weights_from"] = self.files.as_written(self.weights)
        if self.inverted:
            record["inverted"] = True
        return {**record, **{key: self.identity[key] for key in ("weights", "content") if key in self.identity}}


def program_of(part: Part, method: SparsityMethod[Any], budget: TrainingBudget) -> Sequence[Phase]:
    """The phases of a method's cells, inverted where the suite says so.

    Raises:
        PluginError: if they are no phases.
        UserError: if they cannot be, or the method refuses the budget.
    """
    phases = method.program(budget)
    require_list(phases, Phase, f"method '{part.plugin}': {type(method).__name__}.program()", "[Train(budget.steps)]")
    if not part.inverted:
        return phases
    if type(method).after_step is not SparsityMethod.after_step:
        raise UserError("inverted keeps the lowest scores of Prune phases, and this method also masks while it trains")
    return inverted(phases)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One fully resolved combination; what a leaderboard row averages over seeds.

    ``density`` is the number that the suite asks for. Where another cell decides (``match``, ``source``) it
    is the number that was asked of that one, and None where the method decides.
    ``match`` and ``source`` name other cells of the same suite by key. ``trial`` is the trial of a tuning that the
    cell belongs to; None for those that are reported.
    """

    suite: str
    experiment: str
    architecture: str
    benchmark: str
    method: str
    density: float | None
    seed: int
    architecture_part: Part
    benchmark_part: Part
    training_part: Part
    method_part: Part
    fingerprint: str
    benchmark_fingerprint: str
    scope: Scope
    training: Training
    evaluation: Evaluation
    match: Key | None
    match_by: MatchBy
    source: Key | None
    published: float | None
    note: str | None
    trial: Trial | None = None

    @property
    def tuned(self) -> Tuned:
        """Whose settings it has, or tries."""
        experiment = self.trial.of if self.trial else self.experiment
        return Tuned(experiment, self.architecture, self.training_part.label, self.method)

    @property
    def key(self) -> Key:
        """What names this cell within its suite."""
        return Key(self.experiment, self.architecture, self.benchmark, self.method, self.density, self.seed)

    @property
    def steps(self) -> int:
        """Optimizer steps of one training."""
        assert self.training.steps is not None
        return self.training.steps

    @property
    def scope_name(self) -> str:
        """For reports: ``maskable``, or with the roles it is limited to."""
        if self.scope == "default":
            return "maskable"
        return f"maskable[{self.scope if isinstance(self.scope, str) else ','.join(self.scope)}]"

    def in_scope(self, connections: Iterable[Connection], kinds: frozenset[Kind]) -> tuple[Connection, ...]:
        """The connections that the cell's method, which masks such ``kinds``, controls."""
        return in_scope(self.scope, connections, kinds)


def in_scope(
    scope: Scope, connections: Iterable[Connection], kinds: frozenset[Kind] = frozenset({"weight"})
) -> tuple[Connection, ...]:
    """The connections of some kinds that belong to a scope, in order."""
    connections = [c for c in connections if c.kind in kinds]
    if scope == "default":
        return tuple(c for c in connections if c.default)
    return tuple(c for c in connections if scope == "all" or c.role in scope)
