"""Runs one stage to its end, from its newest checkpoint where there is one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from harness.core.benchmark import Benchmark
from harness.core.data import Split, TrainingData
from harness.core.phases import Average, Bake, Calibrate, Ensemble, Inherit, Phase, Prune, Reinitialize, Rewind, Train
from harness.core.returned import kind
from harness.errors import BadScore, HarnessError, PluginError
from harness.seeds import derived_seed
from harness.stages.calibration import calibrate
from harness.stages.calibration_batches import Batches
from harness.stages.discrete_phases import average, bake, inherit, prune, reinitialise, set_back
from harness.stages.network import Network, NetworkBuilder
from harness.stages.rehearsal import require_classes
from harness.stages.running_statistics import changed_since_training, estimated, needed
from harness.stages.scored import Scored, mean_prediction
from harness.stages.scoring import Checked, checked, hook
from harness.stages.series import Series
from harness.stages.store import StageStore
from harness.stages.training_run import CHECKPOINT, Report, TrainingRun
from harness.stages.unfit_state import UnfitState, fitting
from harness.training.distributed import Substrate
from harness.training.environment import describe

if TYPE_CHECKING:
    from harness.registry.plugins import Kind, Registry
    from harness.stages.graph import PlannedCell, Stage
    from harness.suites.cell import Cell, Part
    from harness.training.trainer import Trainer
    from harness.training.weights import Weights


class StageRunner:
    """Runs stages in this process.

    Attributes (and arguments):
        registry: where plugins come from.
        store: where outcomes and checkpoints go.
        substrate: the processes that share a stage.
        checkpoint_seconds: time between checkpoints.
        warn: called with one line about something that went wrong but was repaired.
        stopping: asked between steps; True ends the stage with a checkpoint and ``Interrupted``.
    """

    def __init__(
        self,
        registry: Registry,
        store: StageStore,
        substrate: Substrate,
        *,
        checkpoint_seconds: float = 300.0,
        warn: Callable[[str], None] = lambda text: print(text, file=sys.stderr),  # noqa: T201
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._registry = registry
        self.store = store
        self.substrate = substrate
        self._builder = NetworkBuilder(registry, store, substrate.device)
        self.checkpoint_seconds = checkpoint_seconds
        self._warn = warn
        self.stopping = stopping
        self._benchmark = lru_cache(maxsize=4)(self._load_benchmark)
        self._data = lru_cache(maxsize=2)(self._load_data)

    def run(self, stage: Stage, report: Report = lambda _: None) -> None:
        """Bring a stage to its end; does nothing if it is finished.

        Raises:
            Diverged: if the loss was not finite.
            Interrupted: if asked to stop.
        """
        for trainer in self.legs(stage, report):
            trainer.advance()

    def legs(self, stage: Stage, report: Report = lambda _: None) -> Generator[Trainer]:
        """:meth:`run`, whose optimizer steps somebody else takes: yields a trainer whenever some are due."""
        if self.substrate.first(self.store.manifest(stage.hash) is not None):
            if self.substrate.rank == 0:  # of a process that stood still, or died when it had written the outcome
                self.store.forget_progress(stage.hash)
            return
        torch.set_num_threads(stage.cell.training.threads)
        resumed = self._resumed(stage)
        version = None if resumed is None else resumed.get("format")
        if resumed is not None and (not isinstance(version, int) or version != CHECKPOINT):
            self._warn("its checkpoint is of another version of the harness; the stage begins anew")
            resumed = None
        try:
            yield from self._go_on(stage, resumed, report)
        except UnfitState as error:
            self._warn(f"{error}; the stage begins anew")
            if self.substrate.rank == 0:
                self.store.forget_checkpoints(stage.hash)
            yield from self._go_on(stage, None, report)

    def _go_on(self, stage: Stage, resumed: dict[str, Any] | None, report: Report) -> Generator[Trainer]:
        """Bring a stage to its end from a checkpoint, or from its beginning.

        Raises:
            UnfitState: if the checkpoint is whole, and not this stage's.
        """
        torch.manual_seed(derived_seed(stage.cell.seed, "stage", stage.offset))
        network = self._builder.build(stage, self._benchmark_of(stage.cell.training_part).spec())
        series: dict[str, Any] = {"loss": [], "evaluations": [], "densities": []}
        if stage.parent is not None:
            self._load(network, stage.parent)
            series = {**series, **self.store.series(stage.parent.hash)}
        first, before = 0, list(network.trained_by)
        if resumed is not None:
            with fitting("its checkpoint"):
                if resumed.get("stage", stage.hash) != stage.hash:  # older ones do not say
                    raise ValueError(f"it is of stage {resumed['stage']}")
                network.load(resumed["network"])
                Series.model_validate(resumed["series"], strict=False)
                series, first = resumed["series"], resumed["phase"]
                if not isinstance(stage.phases[first], Train) or not isinstance(resumed["training"], dict):
                    raise ValueError("it is of no training")
        here = self.environment(stage.cell, stage.cell.training_part)
        if here not in network.trained_by and (stage.steps or len(stage.phases) > 1 or stage.calibrates):
            network.trained_by.append(here)
        for index in range(first, len(stage.phases)):
            phase = stage.phases[index]
            network.context.phase, network.context.running = stage.offset + index, phase
            if isinstance(phase, Train):
                run = TrainingRun(self, stage, network, series, index, phase, report)
                yield from run.legs(resumed["training"] if resumed is not None else None)
                resumed = None
                if run.packed > 1:
                    others = [*before, *(one for one in network.trained_by if one not in before and one != here)]
                    made = {**here, "packed": run.packed}
                    network.trained_by = others if made in others else [*others, made]
            else:
                self._discrete(stage, network, phase, stage.offset + index)
        if network.soft:
            network.current.hard = network.final_masks()
        manifest = {
            "densities": {name: row.state() for name, row in network.densities(network.current.hard).items()},
            "trained": network.trained,
            "trained_by": network.trained_by,
            "seconds_per_step": round(network.spent.seconds / max(1, network.spent.steps), 9),
        }
        if self.substrate.rank == 0:
            self.store.finish(stage.hash, network.state(), series, manifest)
        self.substrate.any(False)  # no process goes on before the stage is on disk

    def environment(self, cell: Cell, benchmark: Part) -> dict[str, Any]:
        """Where and with what this process works on a cell: machine, versions, and the plugins that take part."""
        parts: dict[Kind, Part] = {
            "architecture": cell.architecture_part,
            "method": cell.method_part,
            "benchmark": benchmark,
        }
        plugins = [self._registry.find(kind, part.plugin).origin for kind, part in parts.items()]
        brought = {origin.distribution or str(origin.plugin): origin.version or origin.code for origin in plugins}
        return {**describe(self.substrate.device), "processes": self.substrate.world, "plugins": brought}

    def _resumed(self, stage: Stage) -> dict[str, Any] | None:
        """The newest checkpoint; the first process says which one that is."""
        found = self.store.newest_checkpoint(stage.hash, self._warn) if self.substrate.rank == 0 else None
        name = self.substrate.first(self.store.reached(stage.hash))
        return found if self.substrate.rank == 0 or name is None else self.store.checkpoint(stage.hash, name)

    def _discrete(self, stage: Stage, network: Network, phase: Phase, index: int) -> None:
        part, training, seed = stage.cell.training_part, stage.cell.training, stage.cell.seed
        batches = Batches(network, lambda: self.training_data(part), training, seed)
        if isinstance(phase, Prune):
            prune(network, phase, batches)
        elif isinstance(phase, Calibrate):
            calibrate(network, phase, batches)
        elif isinstance(phase, Bake):
            bake(network)
        elif isinstance(phase, Reinitialize):
            reinitialise(network, phase, index)
        elif isinstance(phase, Inherit):
            inherit(network)
        elif isinstance(phase, Average):
            average(network, phase, [self.store.state(stage.ancestor(i).hash) for i in phase.phases])
        elif isinstance(phase, Ensemble):
            pass  # its members are restored when they are scored
        elif isinstance(phase, Rewind):
            if phase.phase < 0:
                target: Mapping[str, Any] = network.initial().state_dict()
            else:
                target = self.store.state(stage.ancestor(phase.phase).hash)["weights"]
            set_back(network, target)
        else:
            raise HarnessError(f"phase {type(phase).__name__} is unknown to this version")
        # Each process has computed all of it; where sums round by chance, the first one's are meant.
        hard = network.current.hard
        masks = [] if hard is None else list(hard.values())
        self.substrate.same([*network.module.state_dict().values(), *masks])

    def restored(self, stage: Stage, cell: Cell) -> Network:
        """The network at the end of a finished stage, as ``cell`` sees it: scope and density are its own."""
        stage = replace(stage, cell=cell)
        torch.set_num_threads(stage.cell.training.threads)
        network = self._builder.build(stage, self._benchmark_of(stage.cell.training_part).spec())
        self._load(network, stage)
        phases = [phase for each in stage.chain() for phase in each.phases]
        network.changed = changed_since_training(phases, network.method.final_differs() is not None)
        return network

    def _load(self, network: Network, stage: Stage) -> None:
        """Take over the state of a finished stage.

        Raises:
            CorruptFile: if it is whole, and another network's; the stage no longer counts as finished.
        """
        state = self.store.state(stage.hash)
        try:
            with fitting(str(self.store.folder(stage.hash) / "state.safetensors")):
                network.load(state)
        except UnfitState as error:
            raise self.store.distrust(stage.hash, str(error)) from error

    def scored(self, planned: PlannedCell) -> Scored:
        """What a finished cell's evaluation scores."""
        last = planned.stages[-1]
        final = last.phases[-1]
        stages = [last.ancestor(i) for i in final.phases] if isinstance(final, Ensemble) else [last]
        return Scored([self.restored(stage, planned.cell) for stage in stages])

    @contextmanager
    def predicting(self, scored: Scored, masks: str) -> Iterator[nn.Module]:
        """The module that is scored, of one network or several; see :meth:`evaluating`."""
        with ExitStack() as stack:
            pairs = zip(scored.networks, scored.weights, strict=True)
            members = [stack.enter_context(self.evaluating(*pair, masks)) for pair in pairs]
            yield mean_prediction(members, scored.networks[-1].context.data.real_targets)

    @contextmanager
    def evaluating(self, network: Network, weights: Weights, masks: str) -> Iterator[nn.Module]:
        """The module as it is scored; random state and weights are afterwards as they were."""
        hard = network.hard_masks() if masks == "hard" else None
        device, cell = self.substrate.device, network.cell
        forked = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
        with forked, weights.evaluating("hard" if masks == "hard" else "soft", hard) as model:
            if not needed(network, masks):
                yield model
                return
            batches = Batches(network, lambda: self.training_data(cell.training_part), cell.training, cell.seed, False)
            with estimated(model, batches):
                yield model

    def score(
        self,
        model: nn.Module,
        network: Network | None,
        cell: Cell,
        benchmark: Benchmark[Any],
        split: Split,
    ) -> Checked:
        """Scores of a module within :meth:`evaluating`; no ``network`` where it is several.

        Raises:
            BadScore: if the benchmark returned none, or changed the network.
        """
        torch.manual_seed(derived_seed(cell.seed, "evaluation"))
        before = _content(model)
        architecture = network.architecture if network else None
        declared = (network.declared if network else None) or architecture
        scores = benchmark.evaluate_network(model, architecture, declared, split, self.substrate.device)
        found = checked(benchmark, split, scores)
        if _content(model) != before:
            raise BadScore(f"{hook(benchmark, split)} changed the network that it was to score")
        return found

    def evaluate(
        self, network: Network, weights: Weights, benchmark: Benchmark[Any], split: Split, masks: str
    ) -> Checked:
        """Scores of a network; leaves random state and weights as they were."""
        with self.evaluating(network, weights, masks) as model:
            return self.score(model, network, network.cell, benchmark, split)

    def benchmark(self, part: Part) -> Benchmark[Any]:
        """The benchmark behind a part; a few are kept."""
        return self._benchmark_of(part)

    def _benchmark_of(self, part: Part) -> Benchmark[Any]:
        return self._benchmark(part.plugin, part.options.model_dump_json())

    def _load_benchmark(self, plugin: str, options: str) -> Benchmark[Any]:
        cls = self._registry.get("benchmark", plugin)
        loaded: Benchmark[Any] = cls(cls.Options.model_validate_json(options))
        return loaded

    def training_data(self, part: Part) -> TrainingData:
        """Training examples on this process's device; a few are kept."""
        return self._data(part.plugin, part.options.model_dump_json())

    def _load_data(self, plugin: str, options: str) -> TrainingData:
        benchmark = self._benchmark(plugin, options)
        data = benchmark.training_data(self.substrate.device)
        if not (hasattr(data, "batch") and hasattr(data, "__len__")):
            raise PluginError(
                f"{type(benchmark).__name__}.training_data() is {kind(data)}, must have batch(indices) and a length"
            )
        require_classes(type(benchmark).__name__, benchmark.spec(), data)
        return data


def _content(module: nn.Module) -> list[int]:
    """A sum over the bits of every parameter and persistent buffer: which one changes shows, in one pass."""
    kinds = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}
    tensors = [tensor.detach() for tensor in module.state_dict().values() if not tensor.is_complex()]
    sums = [tensor.view(kinds[tensor.element_size()]).sum(dtype=torch.int64) for tensor in tensors]
    return torch.stack(sums).tolist() if sums else []
