"""Runs one stage to its end, from its newest checkpoint where there is one."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch

from harness.benchmark import Benchmark, Measurement, Split, TrainingData
from harness.discrete import prune, reinitialise, set_back
from harness.errors import Diverged, HarnessError
from harness.masks import Masks
from harness.network import Network, NetworkBuilder, initial_module
from harness.phases import Phase, Prune, Reinitialize, Rewind, Train
from harness.sampler import Sampler
from harness.seeds import derived_seed
from harness.stage_store import StageStore
from harness.substrate import Substrate, random_state, set_random_state
from harness.trainer import WINDOW, Clock, StepReport, Trainer

if TYPE_CHECKING:
    from harness.cell import Cell, Part
    from harness.plugins import Registry
    from harness.stages import Stage
    from harness.weights import Weights

Report = Callable[[StepReport], None]
POINTS = 200
"""About how many points of the loss curve a phase keeps."""


class Interrupted(Exception):
    """The run was asked to stop; a checkpoint has been written."""


class StageRunner:
    """Runs stages in this process.

    Args:
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
        self._store = store
        self._substrate = substrate
        self._builder = NetworkBuilder(registry, store, substrate.device)
        self._checkpoint_seconds = checkpoint_seconds
        self._warn = warn
        self._stopping = stopping
        self._benchmark = lru_cache(maxsize=4)(self._load_benchmark)
        self._data = lru_cache(maxsize=2)(self._load_data)

    def run(self, stage: Stage, report: Report = lambda _: None) -> None:
        """Bring a stage to its end; does nothing if it is finished.

        Raises:
            Diverged: if the loss was not finite.
            Interrupted: if asked to stop.
        """
        if self._store.manifest(stage.hash) is not None:
            return
        torch.set_num_threads(stage.cell.training.threads)
        torch.manual_seed(derived_seed(stage.cell.seed, "stage", stage.offset))
        network = self._builder.build(stage, self._benchmark_of(stage.cell.training_part).spec())
        series: dict[str, Any] = {"loss": [], "evaluations": [], "densities": []}
        if stage.parent is not None:
            network.load(self._store.state(stage.parent.hash))
            series = {**series, **self._store.series(stage.parent.hash)}
        resumed = self._store.newest_checkpoint(stage.hash, self._warn)
        first = 0
        if resumed is not None:
            network.load(resumed["network"])
            series, first = resumed["series"], resumed["phase"]
        for index in range(first, len(stage.phases)):
            phase = stage.phases[index]
            if isinstance(phase, Train):
                run = _TrainingRun(self, stage, network, series, index, phase, report)
                run.go(resumed["training"] if resumed is not None else None)
                resumed = None
            else:
                self._discrete(stage, network, phase)
        if network.soft:
            network.masks = network.method.final_masks(network.context)
        manifest = {
            "stage": stage.hash,
            "densities": densities(network),
            "seconds_per_step": round(network.spent.seconds / max(1, network.spent.steps), 9),
        }
        if self._substrate.rank == 0:
            self._store.finish(stage.hash, network.state(), series, manifest)
        self._substrate.any(False)  # no process goes on before the stage is on disk

    def _discrete(self, stage: Stage, network: Network, phase: Phase) -> None:
        if isinstance(phase, Prune):
            prune(network, phase)
        elif isinstance(phase, Reinitialize):
            reinitialise(network, phase)
        elif isinstance(phase, Rewind):
            if phase.phase < 0:
                target: Mapping[str, Any] = initial_module(network.architecture, network.cell.seed).state_dict()
            else:
                target = self._store.state(stage.ancestor(phase.phase).hash)["weights"]
            set_back(network, target)
        else:
            raise HarnessError(f"phase {type(phase).__name__} is unknown to this version")

    def restored(self, stage: Stage) -> Network:
        """The network at the end of a finished stage, for evaluation."""
        torch.set_num_threads(stage.cell.training.threads)
        network = self._builder.build(stage, self._benchmark_of(stage.cell.training_part).spec())
        network.load(self._store.state(stage.hash))
        return network

    def evaluate(
        self, network: Network, weights: Weights, benchmark: Benchmark[Any], split: Split, masks: str
    ) -> dict[str, Measurement]:
        """Scores of a network; leaves random state and weights as they were."""
        hard = network.hard_masks() if masks == "hard" else None
        device = self._substrate.device
        forked = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
        with forked, weights.evaluating("hard" if masks == "hard" else "soft", hard) as model:
            torch.manual_seed(derived_seed(network.cell.seed, "evaluation"))
            return dict(benchmark.evaluate(model, split, device))

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
        return self._benchmark(plugin, options).training_data(self._substrate.device)


class _TrainingRun:
    """One training phase with its curves, evaluations, selection and checkpoints."""

    def __init__(
        self,
        runner: StageRunner,
        stage: Stage,
        network: Network,
        series: dict[str, Any],
        index: int,
        phase: Train,
        report: Report,
    ) -> None:
        self.runner = runner
        self.stage = stage
        self.cell: Cell = stage.cell
        self.network = network
        self.series = series
        self.index = index
        self.phase = phase
        self.report = report
        self.program_phase = stage.offset + index
        self.best: dict[str, Any] | None = None
        self.checked = 0
        self.data = runner.training_data(self.cell.training_part)
        self.benchmark = runner.benchmark(self.cell.training_part)
        self.clock = Clock(network.spent.seconds)
        self._saved = monotonic()
        self._keep_every = max(1, phase.steps // WINDOW // POINTS)

    def go(self, resumed: Mapping[str, Any] | None) -> None:
        network, runner = self.network, self.runner
        weights = network.weights(self.phase.hooks)
        method = network.method if self.phase.hooks else None
        network.soft = method is not None and method.mode == "composed"
        if self.phase.restart_data and resumed is None:
            network.position = 0
        torch.manual_seed(derived_seed(self.cell.seed, "training", self.program_phase))
        trainer = Trainer(
            weights=weights,
            method=method,
            context=network.context,
            data=self.data,
            sampler=Sampler(len(self.data), self.cell.seed),
            training=self.cell.training,
            phase=self.phase,
            substrate=runner._substrate,
            position=network.position,
        )
        if resumed is not None:
            trainer.optimizers.load_state_dict(resumed["optimizers"])
            trainer.step = resumed["step"]
            self.best, self.checked = resumed["best"], resumed["checked"]
            set_random_state(resumed["random"])
        else:
            self._record_densities(0)
        self.trainer, self.weights = trainer, weights
        checks = self.cell.evaluation.checks
        for end in sorted({round(self.phase.steps * (i + 1) / checks) for i in range(checks)} - {0}):
            # Not by trainer.step: a checkpoint at a check's own step is written before the check.
            if end > self.checked:
                trainer.run(self._window, until=end)
                self._check(end)
                self.checked = end
        self._finish()

    def _window(self, seen: StepReport) -> None:
        """Between steps: note the loss, show progress, checkpoint if it is time, stop if asked."""
        self.report(seen)
        if seen.step // WINDOW % self._keep_every == 0 or seen.step == seen.steps:
            self.series["loss"].append([self.program_phase, seen.step, round(seen.loss, 6), seen.lr])
        stop = self.runner._substrate.any(self.runner._stopping())
        if stop or monotonic() - self._saved >= self.runner._checkpoint_seconds:
            self._checkpoint()
        if stop:
            raise Interrupted

    def _checkpoint(self) -> None:
        """Save everything that a restart needs to go on bit-identically."""
        network, trainer = self.network, self.trainer
        self._tally()
        if not network.soft:
            network.masks = self.weights.masks
        state = {
            "phase": self.index,
            "network": network.state(self.weights.state()),
            "series": self.series,
            "training": {
                "step": trainer.step,
                "optimizers": trainer.optimizers.state_dict(),
                "best": self.best,
                "checked": self.checked,
                "random": random_state(),
            },
        }
        if self.runner._substrate.rank == 0:
            self.runner._store.save_checkpoint(self.stage.hash, self.program_phase * 10**9 + trainer.step, state)
        self._saved = monotonic()

    def _tally(self) -> None:
        spent = self.network.spent
        spent.seconds = self.clock.seconds
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if self.runner._substrate.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated()
        spent.peak_memory_bytes = max(spent.peak_memory_bytes, peak)

    def _check(self, step: int) -> None:
        """Evaluate between steps; keep the state if it is the best so far and selection is on."""
        self._record_densities(step)
        evaluation = self.cell.evaluation
        split: Split = "test" if evaluation.select == "best_test" else "validation"
        values: dict[str, float] = {}
        if type(self.benchmark).evaluate is not Benchmark.evaluate:  # some only offer training data
            found = self.runner.evaluate(self.network, self.weights, self.benchmark, split, evaluation.masks)
            values = {name: measurement.value for name, measurement in found.items()}
        for value in values.values():
            if not math.isfinite(value):
                raise Diverged(step, value)
        self.series["evaluations"].append([self.program_phase, step, split, values])
        if evaluation.select == "final":
            return
        primary = next(iter(self.benchmark.metrics), None)
        if primary is None or primary.name not in values:
            raise HarnessError(
                f"evaluation.select is '{evaluation.select}', but benchmark '{self.cell.training_part.label}' has no "
                f"{split} data: give it a validation split, or select: final"
            )
        value = values[primary.name] * (1 if primary.direction == "max" else -1)
        if self.best is None or value > self.best["value"]:
            state = {name: tensor.clone() for name, tensor in self.weights.state().items()}
            masks = self.weights.masks.packed() if self.weights.masks is not None else None
            method = _cloned(self.network.method_state())
            self.best = {"value": value, "step": step, "weights": state, "masks": masks, "method": method}

    def _record_densities(self, step: int) -> None:
        """Hard and soft density per connection, for methods that change them while training."""
        network = self.network
        if not self.phase.hooks or not network.connections:
            return
        masks = network.method.final_masks(network.context)
        soft = network.method.soft_densities()
        self.series["densities"].append(
            [
                self.program_phase,
                step,
                {name: [kept / masks[name].numel(), soft[name] if soft else None] for name, kept in masks.kept.items()},
            ]
        )

    def _finish(self) -> None:
        """End of the phase: the chosen weights go back into the module in their raw form."""
        network = self.network
        network.spent.steps += self.phase.steps
        examples = self.phase.steps * self.cell.training.batch_size
        network.spent.examples += examples
        network.position += examples
        if self.best is not None:
            if self.best["masks"] is not None:  # first, or weights that have closed since would be cleared
                shapes = {c.name: c.shape for c in network.connections}
                self.weights.hold(Masks.unpacked(self.best["masks"], shapes).to(network.context.device))
            self.weights.load(self.best["weights"])
            network.load_method(self.best["method"])
            self.series["evaluations"].append([self.program_phase, self.best["step"], "chosen", {}])
        if not network.soft:
            network.masks = self.weights.masks
        with torch.no_grad():
            for name, raw in self.weights.raw.items():
                self.weights.parameters[name].copy_(raw)
        self._tally()


def densities(network: Network) -> dict[str, dict[str, Any]]:
    """Per connection: shape, size, weights kept by the hard mask, and the soft density (equal where masks are hard)."""
    masks = network.masks if network.masks is not None else Masks.full(network.connections)
    soft = network.method.soft_densities() if network.soft else None
    found = {}
    for connection in network.connections:
        kept = int(masks[connection.name].sum())
        found[connection.name] = {
            "shape": list(connection.shape),
            "size": connection.size,
            "kept": kept,
            "soft": soft[connection.name] if soft else kept / connection.size,
        }
    return found


def _cloned(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return tree.detach().clone()
    if isinstance(tree, Mapping):
        return {key: _cloned(value) for key, value in tree.items()}
    return [_cloned(value) for value in tree] if isinstance(tree, list | tuple) else tree
