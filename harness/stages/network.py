"""The network of one stage, and what passes from stage to stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, JsonValue, StrictBool, StrictInt
from torch import Tensor, nn

from harness.core.connection_density import ConnectionDensity, connection_densities
from harness.core.connections import Connection, weights_among
from harness.core.current_masks import CurrentMasks
from harness.core.densities import DensityBudget
from harness.core.mask_history import MaskHistory
from harness.core.masks import Masks
from harness.core.method import SparsityMethod
from harness.core.method_context import MethodContext, Source
from harness.core.returned import kind, require_kind, require_list, require_shares
from harness.core.units import UnitGroup
from harness.errors import HarnessError, PluginError, Unsupported
from harness.interchange import bundle
from harness.interchange.fit import require_fit
from harness.seeds import derived_seed
from harness.stages.rehearsal import require_regions
from harness.training.weights import Weights

if TYPE_CHECKING:
    from harness.core.architecture import Architecture
    from harness.core.data import DataSpec
    from harness.core.phases import Phase
    from harness.registry.plugins import Registry
    from harness.stages.graph import Stage
    from harness.stages.store import StageStore
    from harness.suites.cell import Cell
    from harness.suites.schema import MatchBy


@dataclass(slots=True)
class Spent:
    """What a program has used so far; ``calibration_...`` is what it looked at without training on it.

    ``mask_updates`` is how often masks changed while it trained; None where they are not to, or that is not known.
    """

    steps: int = 0
    examples: int = 0
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    calibration_batches: int = 0
    calibration_examples: int = 0
    mask_updates: int | None = None


class _State(BaseModel):
    """What is taken over beside weights and masks, which the module and the connections check."""

    method: dict[str, Any]
    soft: StrictBool
    position: StrictInt
    trained_by: list[dict[str, JsonValue]]
    spent: Spent


@dataclass(slots=True)
class Network:
    """A built module with its masks and method, between phases.

    Between phases the module's parameters hold raw weights, with masked entries at zero where masks are
    held. ``soft`` says that the last training was composed: the network then computes with the method's
    effective weights, not with the raw ones. ``attached`` says that the method takes part in this stage;
    where it does not, its state is only ``carried`` on. ``trained`` is what this stage's training phase computed,
    for its FLOPs, and ``trained_by`` the environments in which the weights came about, in order. ``changed`` says that
    the weights have changed since the last training. ``history`` are the masks of the last training, where a
    suite wants them. ``declared`` is the architecture as the suite has it, where the method took another one.
    """

    cell: Cell
    architecture: Architecture[Any]
    module: nn.Module
    connections: tuple[Connection, ...]
    method: SparsityMethod[Any]
    context: MethodContext
    attached: bool = True
    carried: Mapping[str, Any] = field(default_factory=dict)
    soft: bool = False
    position: int = 0
    spent: Spent = field(default_factory=Spent)
    trained: dict[str, Any] | None = None
    trained_by: list[dict[str, Any]] = field(default_factory=list)
    changed: bool = False
    history: MaskHistory | None = None
    declared: Architecture[Any] | None = None

    @property
    def current(self) -> CurrentMasks:
        """The hard masks that hold."""
        return self.context.current

    def state(self, weights: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
        """Everything the next stage needs; ``weights`` overrides the module's own."""
        history = {} if self.history is None else {"history": self.history.state()}
        return {
            "weights": dict(weights) if weights is not None else dict(self.module.state_dict()),
            "masks": self.current.hard.packed() if self.current.hard is not None else None,
            "method": self.method_state(),
            "soft": self.soft,
            "position": self.position,
            "trained_by": self.trained_by,
            "spent": asdict(self.spent),
            **history,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self.module.load_state_dict(state["weights"])
        shapes = {c.name: c.shape for c in self.connections}
        self.current.hard = None
        if state["masks"] is not None:
            self.current.hard = Masks.unpacked(state["masks"], shapes).to(self.context.device)
        taken = _State.model_validate(state)
        self.load_method(state["method"])
        self.soft, self.position, self.spent = taken.soft, taken.position, taken.spent
        self.trained_by = list(state["trained_by"])
        self.history = MaskHistory.of_state(state["history"]) if "history" in state else None

    def method_state(self) -> Mapping[str, Any]:
        """The method's state, whether or not it takes part in this stage."""
        if not self.attached:
            return self.carried
        state = self.method.state_dict()
        if not isinstance(state, Mapping):
            raise PluginError(f"{type(self.method).__name__}.state_dict() returned {kind(state)}: must be a dict")
        return state

    def load_method(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`method_state`; an empty state leaves the method as attached."""
        self.carried = state
        if self.attached and state:
            self.method.load_state_dict(state)

    def begin_phase(self, hooks: bool) -> Weights:
        """The weights for a phase with or without the method's hooks; what the masks close becomes zero.

        A projected method and a phase without hooks hold the current masks; a composed method starts
        from raw weights and makes its own. Where those are not raw yet, the method makes them so: ``soft`` is to be set
        afterwards.
        """
        method = self.method if hooks else None
        weights = Weights(self.module, self.connections, self.current, method)
        if not self.soft:
            weights.start()
        self.context.raw = weights.inputs
        return weights

    def require_final(self, phase: Phase, soft: bool | None = None) -> None:
        """Before a phase that goes on from raw weights under final masks: those must be the final network.

        ``soft`` says of weights from an earlier stage whether they were trained in composed mode.

        Raises:
            HarnessError: if the method's final network computes with others.
        """
        if (self.soft if soft is None else soft) and type(self.method).final is not SparsityMethod.final:
            name = type(phase).__name__
            raise HarnessError(
                f"method '{self.cell.method}' was trained with weights that it composes, and {name} would go on from "
                f"its raw ones: put Bake() between them in program(), which writes its final weights into them"
            )

    def initial(self, draw: int = 0) -> nn.Module:
        """A module with the cell's initial weights, or with another random ``draw`` of them."""
        return initial_module(self.architecture, self.cell.seed, draw, self.cell.architecture_part.weights)

    def hard_masks(self) -> Masks | None:
        """The masks that hard evaluation applies; None for a dense network."""
        return self.final_masks() if self.soft else self.current.hard

    def own_parameters(self, in_network: bool) -> dict[str, int]:
        """How many numbers of its own, by name, the method leaves in the final network, or had for training alone.

        Only a network that computes with the method's effective weights can need them. Asked at a program's end.
        """
        found: dict[str, int] = {}
        for group in self.method.parameter_groups() if self.attached else ():
            if (self.soft and bool(group.in_network)) == in_network:
                found[group.name] = found.get(group.name, 0) + sum(p.numel() for p in group.parameters)
        return found

    def densities(self, hard: Masks | None) -> dict[str, ConnectionDensity]:
        """The table of densities under ``hard`` masks, with the soft ones where the network runs with such."""
        soft = self.method.soft_densities() if self.soft else None
        require_shares(soft, f"{type(self.method).__name__}.soft_densities()")
        return connection_densities(self.connections, hard, soft)

    def final_masks(self) -> Masks:
        """The method's final masks, whole."""
        masks = self.method.final_masks(self.context)
        return self.context.masks.updated(masks, f"{type(self.method).__name__}.final_masks()")


class NetworkBuilder:
    """Builds networks, the same one for every stage of a cell."""

    def __init__(self, registry: Registry, store: StageStore, device: torch.device) -> None:
        self._registry = registry
        self._store = store
        self._device = device

    def build(self, stage: Stage, spec: DataSpec, draw: int = 0) -> Network:
        """The network of a stage with its initial weights; ``draw`` > 0 gives other ones."""
        cell = stage.cell
        architecture = self._registry.get("architecture", cell.architecture_part.plugin)(
            cell.architecture_part.options, spec
        )
        method = self._registry.get("method", cell.method_part.plugin)(cell.method_part.options)
        scope = cell.in_scope(architecture.connections(), method.kinds)
        budget = self._budget(stage, scope)
        adapted = method.adapt(architecture, scope, budget)
        if adapted is not architecture and cell.architecture_part.weights is not None:
            raise Unsupported(f"method '{cell.method}' changes the network, so it cannot start from imported weights")
        declared, architecture = architecture if adapted is not architecture else None, adapted
        module = initial_module(architecture, cell.seed, draw, cell.architecture_part.weights).to(self._device)
        everything, units = architecture.connections(), architecture.units()
        require_list(units, UnitGroup, f"{type(architecture).__name__}.units()", "[UnitGroup(...)]")
        connections = cell.in_scope(everything, method.kinds)
        require_regions(cell.architecture, everything, module)
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        context = MethodContext(
            model=module,
            connections=connections,
            raw={c.parameter: tensors[c.parameter] for c in connections},
            current=CurrentMasks(connections, self._device),
            budget=budget,
            source=self._source(stage, connections),
            seed=derived_seed(cell.seed, "method"),
            device=self._device,
            bands=1 + max((band.depth for c in everything for band in (c.source, c.target)), default=-1),
            data=spec,
            units=units,
        )
        attached = any(phase.hooks for phase in stage.phases)
        if attached:
            method.attach(context)
        return Network(cell, architecture, module, connections, method, context, attached, declared=declared)

    def _budget(self, stage: Stage, connections: tuple[Connection, ...]) -> DensityBudget | None:
        cell, connections = stage.cell, weights_among(connections)
        if stage.density_from is None:
            return (
                DensityBudget.of(cell.density, connections) if cell.match is None and cell.density is not None else None
            )
        manifest = self._store.manifest(stage.density_from)
        if manifest is None:
            raise HarnessError(f"the stage that gives the density, {stage.density_from}, is not finished")
        theirs = _table(manifest)
        budget = matched(cell.match_by, {n: row for n, row in theirs.items() if row.kind == "weight"}, connections)
        soft = cell.match_by in ("soft", "soft_pairs")
        attention = {
            name: round(row.mean * row.size) if soft else row.kept
            for name, row in theirs.items()
            if row.kind == "attention"
        }
        return replace(budget, attention=attention) if attention else budget

    def _source(self, stage: Stage, connections: tuple[Connection, ...]) -> Source | None:
        if stage.source_from is None:
            return None
        manifest = self._store.manifest(stage.source_from)
        if manifest is None:
            raise HarnessError(f"the stage that the method starts from, {stage.source_from}, is not finished")
        state = self._store.state(stage.source_from)
        theirs = _table(manifest)
        shapes = {name: row.shape for name, row in theirs.items()}
        packed = state["masks"]
        masks = Masks.unpacked(packed, shapes) if packed is not None else Masks.full(connections)
        seen = [c for c in connections if c.kind == "attention"]
        masks = Masks({**Masks.full(seen), **masks})  # attention that its method does not mask is open there
        return Source(
            cell=".".join(str(part) for part in stage.cell.source or ()),
            masks=masks.to(self._device),
            method_state=state["method"],
            weights=state["weights"],
            spent=state["spent"],
            densities=theirs,
            trained_by=state["trained_by"],
        )


def _table(manifest: Mapping[str, Any]) -> dict[str, ConnectionDensity]:
    return {name: ConnectionDensity.of_state(row) for name, row in manifest["densities"].items()}


def initial_module(architecture: Architecture[Any], seed: int, draw: int = 0, weights: str | None = None) -> nn.Module:
    """A module with the initial weights of a seed: equal for every method; leaves torch's random state alone.

    Draw 0 takes imported ``weights`` where they are named; other draws are always random.

    Raises:
        UserError: if the imported weights do not fit the network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "weights", draw))
        module = architecture.build()
    require_kind(module, nn.Module, f"{type(architecture).__name__}.build()")
    if weights is not None and draw == 0:
        _load_imported(module, weights)
    return module


@torch.no_grad()
def _load_imported(module: nn.Module, name: str) -> None:
    """Copy imported weights into a module, strictly."""
    given = bundle.read(name).weights()
    require_fit(module, {n: tensor.shape for n, tensor in given.items()}, name)
    own = dict(module.state_dict())
    for n in own.keys() & given.keys():
        own[n].copy_(given[n])


def matched(by: MatchBy, theirs: Mapping[str, ConnectionDensity], connections: Sequence[Connection]) -> DensityBudget:
    """What a cell keeps whose density is another cell's.

    Args:
        by: ``hard``: as many weights, or the same share of another number; ``per_layer``: as many of each connection;
            ``soft``: the mean of the other's soft masks over its weights; ``soft_pairs``: over its (out, in) pairs,
            each kernel counted once.
        theirs: the other cell's densities, of weights.
        connections: its own, of weights.

    Raises:
        HarnessError: for counts of each connection, where the connections are not the same.
    """
    kept, size = sum(row.kept for row in theirs.values()), sum(row.size for row in theirs.values())
    own = sum(c.size for c in connections)
    if not size:  # it masks attention alone
        return DensityBudget(own, 1.0)
    if by in ("soft", "soft_pairs"):
        counted = {name: prod(row.shape[:2]) if by == "soft_pairs" else row.size for name, row in theirs.items()}
        soft = sum(row.mean * counted[name] for name, row in theirs.items()) / sum(counted.values())
        return DensityBudget(round(soft * own), soft)
    if by == "per_layer":
        if {c.name: c.size for c in connections} != {name: row.size for name, row in theirs.items()}:
            raise HarnessError("densities per layer can only be taken from a run with the same connections")
        return DensityBudget(kept, kept / size, {name: row.kept for name, row in theirs.items()})
    return DensityBudget(kept if own == size else round(kept / size * own), kept / size)
