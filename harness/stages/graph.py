"""From cells to a graph of stages, each named by the hash of everything that determines its outcome."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from harness.core.method import SparsityMethod, TrainingBudget
from harness.core.phases import Calibrate, Ensemble, Phase, Reinitialize, Train, earlier_ends, total_steps
from harness.core.returned import kind
from harness.errors import PluginError, Unsupported, UserError
from harness.suites.cell import program_of

if TYPE_CHECKING:
    from harness.registry.plugins import Registry
    from harness.suites.cell import Cell, Key

FORMAT = 1
"""Part of every hash: raised when the core itself would compute something else from the same cell."""

NOT_CHOSEN = "ends with its last checkpoint"
"""Part of the hash of trainings before the last one of a program whose checkpoint is chosen."""


LONGEST_NAME, SHORT = 200, 36
"""Characters of a cell's name, and of each label in one that would be longer; its hash tells them apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A training phase with the discrete phases that lead up to it: the unit of work, run once.

    Attributes:
        hash: hex digest of everything that determines the outcome.
        cell: the first cell that needs it; for any other one the stage would do the same.
        phases: what it executes, in order.
        offset: index of its first phase in the cell's program.
        parent: the stage whose outcome it starts from, or None for the initial weights.
        chooses: whether its training is the last of the program: the only one whose checkpoints are chosen among.
        density_from, source_from: hash of the final stage of the cell that gives the density, or that the
            method starts from; None where this stage needs none.
    """

    hash: str
    cell: Cell
    phases: tuple[Phase, ...]
    offset: int
    parent: Stage | None
    chooses: bool
    density_from: str | None
    source_from: str | None

    @property
    def steps(self) -> int:
        """Optimizer steps of this stage."""
        return total_steps(self.phases)

    @property
    def calibrates(self) -> bool:
        """Whether a phase computes something from training data without training."""
        return any(isinstance(phase, Calibrate) for phase in self.phases)

    @property
    def needs(self) -> tuple[str, ...]:
        """Hashes of the stages that must be finished before."""
        parent = (self.parent.hash,) if self.parent else ()
        return (*parent, *(h for h in (self.density_from, self.source_from) if h))

    def chain(self) -> list[Stage]:
        """Those of the whole program up to here, in order."""
        return [*(self.parent.chain() if self.parent else ()), self]

    def ancestor(self, phase: int) -> Stage:
        """The stage that ends with program phase ``phase``.

        Raises:
            ValueError: if no earlier stage ends there (only training phases end stages).
        """
        stage = self.parent
        while stage is not None:
            if stage.offset + len(stage.phases) - 1 == phase:
                return stage
            stage = stage.parent
        raise ValueError(f"phase {phase} is no earlier training phase: its end is not kept")


@dataclass(frozen=True, slots=True, eq=False)
class PlannedCell:
    """A cell with its stages, its id, and the ids of the cells that it refers to."""

    id: str
    cell: Cell
    stages: tuple[Stage, ...]
    match_id: str | None
    source_id: str | None

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole program."""
        return sum(stage.steps for stage in self.stages)


@dataclass(slots=True)
class Graph:
    """All cells of a suite and the stages they share, in an order in which they could run."""

    cells: list[PlannedCell] = field(default_factory=list)
    stages: dict[str, Stage] = field(default_factory=dict)


def compile_graph(cells: Iterable[Cell], registry: Registry) -> Graph:
    """Compile cells to stages; equal prefixes become the same stage."""
    return _Compiler(cells, registry).graph()


class _Compiler:
    """Compiles each cell after the cells it refers to."""

    def __init__(self, cells: Iterable[Cell], registry: Registry) -> None:
        self._cells = {cell.key: cell for cell in cells}
        self._registry = registry
        self._done: dict[Key, PlannedCell] = {}
        self._graph = Graph()
        self._programs: dict[Any, Any] = {}
        self._roots: dict[Any, str] = {}

    def graph(self) -> Graph:
        for cell in self._cells.values():
            self._compile(cell)
        return self._graph

    def _compile(self, cell: Cell) -> PlannedCell:
        if cell.key in self._done:
            return self._done[cell.key]
        match = self._compile(self._cells[cell.match]) if cell.match else None
        source = self._compile(self._cells[cell.source]) if cell.source else None
        for other in filter(None, (match, source)):
            if isinstance(other.stages[-1].phases[-1], Ensemble):
                raise Unsupported(
                    f"method '{cell.method}' refers to '{other.cell.method}', which ends with several networks: there "
                    "is no one mask to take. Refer to a method that ends with one"
                )
        program, adapts = self._program(cell)
        digest = self._root(cell)
        if adapts:
            scaled = self._registry.get("architecture", cell.architecture_part.plugin).scaled_version
            newer = [] if scaled == "1" else [scaled]  # it came later than results that are still valid
            digest = _hash(digest, self._method_key(cell, match, source), _canonical(cell.method_part.identity), *newer)
        stages: list[Stage] = []
        last = max((index for index, (_, phases, *_) in enumerate(program) if isinstance(phases[-1], Train)), default=0)
        for index, (offset, phases, texts, uses) in enumerate(program):
            key = self._method_key(cell, match, source) if uses else ""
            # Where nothing is chosen all trainings are alike, and shared whatever comes after them.
            earlier = cell.evaluation.select != "final" and index < last
            digest = _hash(digest, key, *texts, *([NOT_CHOSEN] if earlier else []))
            if digest not in self._graph.stages:
                uses_refs = uses or adapts
                self._graph.stages[digest] = Stage(
                    hash=digest,
                    cell=cell,
                    phases=phases,
                    offset=offset,
                    parent=stages[-1] if stages else None,
                    chooses=cell.evaluation.select != "final" and index == last,
                    density_from=match.stages[-1].hash if match and uses_refs else None,
                    source_from=source.stages[-1].hash if source and uses_refs else None,
                )
            stages.append(self._graph.stages[digest])
        planned = PlannedCell(
            id=self._cell_id(cell, digest),
            cell=cell,
            stages=tuple(stages),
            match_id=match.id if match else None,
            source_id=source.id if source else None,
        )
        self._done[cell.key] = planned
        self._graph.cells.append(planned)
        return planned

    def _program(self, cell: Cell) -> tuple[list[tuple[int, tuple[Phase, ...], list[str], bool]], bool]:
        """Per stage (offset, phases, their hash texts, whether the method takes part), and whether it adapts."""
        memo = (id(cell.method_part), id(cell.training), cell.density, cell.match is not None)
        if memo not in self._programs:
            cls: type[SparsityMethod[Any]] = self._registry.get("method", cell.method_part.plugin)
            method = cls(cell.method_part.options)
            budget = TrainingBudget(cell.steps, cell.training.batch_size, cell.density, cell.match is not None)
            phases = program_of(cell.method_part, method, budget)
            for index in range(len(phases)):
                try:
                    earlier_ends(phases, index)
                except UserError as error:
                    raise UserError(f"method '{cell.method}': {error}") from error
            groups: list[tuple[int, tuple[Phase, ...], list[str], bool]] = []
            for offset, group in _split(phases):
                with cell.method_part.files.explained():
                    texts = [_phase_text(method, phase) for phase in group]
                # What is reinitialised depends on the scope, which is in the method's key.
                uses = any(phase.hooks or isinstance(phase, Reinitialize) for phase in group)
                groups.append((offset, group, texts, uses))
            # Holding on to the parts keeps the ids in the memo's key from being used again.
            self._programs[memo] = (groups, cls.adapt is not SparsityMethod.adapt, cell.method_part, cell.training)
        groups, adapts, *_ = self._programs[memo]
        return groups, adapts

    def _root(self, cell: Cell) -> str:
        """Digest of what every program starts from: network, data, training settings, seed."""
        memo = (id(cell.architecture_part), id(cell.training_part), id(cell.training), id(cell.evaluation))
        if memo not in self._roots:
            training = cell.training.model_dump(mode="json", exclude={"steps", "epochs"})
            if training["cooldown_steps"] is None:  # came later than results that are still valid
                del training["cooldown_steps"]
            evaluation: dict[str, Any] = {"select": cell.evaluation.select, "checks": cell.evaluation.checks}
            if cell.evaluation.select != "final":
                evaluation |= cell.evaluation.model_dump(mode="json", include={"masks", "batch_norms"})
            if cell.evaluation.settling:  # computes nothing else, but a stage without its notes would not do
                evaluation["settling"] = True
            self._roots[memo] = _canonical(
                {
                    "format": FORMAT,
                    "architecture": cell.architecture_part.identity,
                    "data": cell.training_part.identity,
                    "fingerprint": cell.fingerprint,
                    "training": training,
                    "evaluation": evaluation,
                }
            )
        return _hash(self._roots[memo], str(cell.seed))

    def _method_key(self, cell: Cell, match: PlannedCell | None, source: PlannedCell | None) -> str:
        identity = {k: v for k, v in cell.method_part.identity.items() if k != "options"}
        return _canonical(
            {
                **identity,
                "scope": cell.scope,
                "density": cell.density if match is None else [match.stages[-1].hash, cell.match_by],
                "source": source.stages[-1].hash if source else None,
            }
        )

    def _cell_id(self, cell: Cell, last: str) -> str:
        digest = _hash(
            last,
            _canonical(
                {
                    "evaluation": cell.evaluation.model_dump(mode="json"),
                    "benchmark": cell.benchmark_part.identity,
                    "method": cell.method_part.identity,
                    "fingerprint": cell.benchmark_fingerprint,
                    "suite": cell.suite,
                    "key": cell.key,
                    "scope": cell.scope,
                }
            ),
        )
        parts = [cell.experiment, cell.architecture, cell.benchmark, cell.method]
        rest = [f"d{cell.density:g}"] if cell.density is not None else []
        rest += [f"s{cell.seed}", digest[:10]]
        name = ".".join([*parts, *rest])
        # File systems take names of 255 bytes, and files are called after cells with something before and behind.
        return name if len(name) <= LONGEST_NAME else ".".join([*(part[:SHORT] for part in parts), *rest])


def _split(phases: Sequence[Phase]) -> list[tuple[int, tuple[Phase, ...]]]:
    """Cut a program after each training phase; (index of the first phase, phases)."""
    groups: list[tuple[int, tuple[Phase, ...]]] = []
    start = 0
    for index, phase in enumerate(phases):
        if isinstance(phase, Train) or index == len(phases) - 1:
            groups.append((start, tuple(phases[start : index + 1])))
            start = index + 1
    return groups


def _phase_text(method: SparsityMethod[Any], phase: Phase) -> str:
    own = method.influences(phase) if phase.hooks else {}
    hook = f"{type(method).__name__}.influences()"
    if not isinstance(own, Mapping):
        raise PluginError(f"{hook} returned {kind(own)}: must be a mapping of what the phase depends on")
    data = {
        f.name: value
        for f in fields(phase)
        if (value := getattr(phase, f.name)) != f.default or f.metadata.get("hashed") != "unless_default"
    }
    try:
        return _canonical({"type": type(phase).__qualname__, **data, "method": own if phase.hooks else None})
    except TypeError as error:
        raise PluginError(f"{hook} must be what JSON can hold: {error}") from error


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=sorted)


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]
