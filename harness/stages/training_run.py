"""One training phase of a stage: its curves, evaluations, selection and checkpoints."""

from __future__ import annotations

import operator
import resource
from collections.abc import Callable, Generator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import torch

from harness.core.benchmark import Benchmark
from harness.core.connections import weights_among
from harness.core.data import Split, TrainingData
from harness.core.masks import Masks
from harness.core.phases import Train
from harness.errors import BadScore, Diverged, HarnessError
from harness.seeds import derived_seed
from harness.stages.network import Network
from harness.stages.rehearsal import rehearse
from harness.stages.scoring import Checked
from harness.stages.settling import Settling
from harness.stages.unfit_state import fitting
from harness.training.distributed import Substrate, random_state, set_random_state
from harness.training.sampler import Sampler
from harness.training.trainer import WINDOW, Clock, StepReport, Trainer

if TYPE_CHECKING:
    from harness.stages.graph import Stage
    from harness.stages.store import StageStore
    from harness.suites.cell import Cell, Part
    from harness.training.weights import Weights

Report = Callable[[StepReport], None]
POINTS = 200
"""About how many points of the loss curve a phase keeps."""

BEST = {"step", "value", "weights", "masks", "method"}
"""What is kept of the best check so far."""
CHECKPOINT = 3
"""Format of a checkpoint; raised whenever one of an older version could not be continued."""


class Interrupted(Exception):
    """The run was asked to stop; a checkpoint has been written."""


class Surroundings(Protocol):
    """What a training phase needs of whatever runs its stage.

    Attributes:
        store: where checkpoints go.
        substrate: the processes that share the stage.
        checkpoint_seconds: time between checkpoints.
        stopping: asked between steps; True ends the phase with a checkpoint and :class:`Interrupted`.
    """

    store: StageStore
    substrate: Substrate
    checkpoint_seconds: float
    stopping: Callable[[], bool]

    def benchmark(self, part: Part) -> Benchmark[Any]:
        """The benchmark behind a part."""

    def training_data(self, part: Part) -> TrainingData:
        """Training examples on this process's device."""

    def evaluate(
        self, network: Network, weights: Weights, benchmark: Benchmark[Any], split: Split, masks: str
    ) -> Checked:
        """Scores of a network; leaves random state and weights as they were."""


class TrainingRun:
    """One training phase with its curves, evaluations, selection and checkpoints."""

    def __init__(
        self,
        runner: Surroundings,
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
        self.benchmark = runner.benchmark(self.cell.training_part)
        noted = self.cell.evaluation.settling and phase.steps > 0
        self.settling = Settling(runner.store, stage.hash, self.program_phase, network.connections) if noted else None
        self.clock = Clock(network.spent.seconds)
        if runner.substrate.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(runner.substrate.device)
        self._saved = monotonic()
        self._keep_every = max(1, phase.steps // WINDOW // POINTS)

    def legs(self, resumed: Mapping[str, Any] | None) -> Generator[Trainer]:
        """Train to the phase's end, from the ``training`` part of a checkpoint where there is one.

        Yields the trainer whenever optimizer steps are due, which somebody else takes.
        """
        network, runner = self.network, self.runner
        if not self.phase.hooks:
            network.require_final(self.phase)
        weights = network.begin_phase(self.phase.hooks)
        method = network.method if self.phase.hooks else None
        network.soft = method is not None and method.mode == "composed"
        if (self.phase.restart_data or self.phase.begin) and resumed is None:
            network.position = self.phase.begin * self.cell.training.batch_size
        torch.manual_seed(derived_seed(self.cell.seed, "training", self.program_phase))
        self.weights = weights
        if self.phase.steps == 0:  # only to evaluate what is there: no data is read
            self._record_densities(0)
            self._finish()
            return
        data = runner.training_data(self.cell.training_part)
        if resumed is None and network.spent.steps == 0:
            rehearse(self.cell.architecture, network.module, network.context.data, data)
        trainer = Trainer(
            weights=weights,
            method=method,
            context=network.context,
            data=data,
            sampler=Sampler(len(data), self.cell.seed),
            training=self.cell.training,
            phase=self.phase,
            substrate=runner.substrate,
            position=network.position,
        )
        if resumed is not None:
            with fitting("its checkpoint"):
                trainer.optimizers.load_state_dict(resumed["optimizers"])
                trainer.losses = [loss.to(runner.substrate.device) for loss in resumed["losses"]]
                trainer.step = operator.index(resumed["step"])
                trainer.updates = resumed.get("updates")  # not in checkpoints of before
                trainer.density.load_state_dict(resumed["density"])
                trainer.density.change(weights.masks, trainer.step)
                self.best, self.checked = resumed["best"], operator.index(resumed["checked"])
                if self.best is not None and not self.best.keys() >= BEST:
                    raise ValueError("the best state so far is none")
                set_random_state(resumed["random"])
        else:
            self._record_densities(0)
            self._note(0)
        self.trainer = trainer
        if self.settling is not None:
            self.settling.epoch = len(data) / self.cell.training.batch_size
        for end in self._checks():
            # Not by trainer.step: a checkpoint at a check's own step is written before the check.
            if end > self.checked:
                yield from trainer.legs(self._window, self._look, until=end)
                self._check(end)
                self.checked = end
        self._finish()

    @property
    def packed(self) -> int:
        """How many networks, this one included, have taken steps together at most."""
        return self.trainer.packed if self.phase.steps else 1

    def _checks(self) -> list[int]:
        """Steps that are followed by a check, the last one included."""
        checks = self.cell.evaluation.checks
        return sorted({round(self.phase.steps * (i + 1) / checks) for i in range(checks)} - {0})

    def _window(self, seen: StepReport) -> None:
        """At the end of a window of steps: note the loss."""
        if seen.step // WINDOW % self._keep_every == 0 or seen.step == seen.steps:
            self.series["loss"].append([self.program_phase, seen.step, round(seen.loss, 6), seen.lr])
        self._look(seen)

    def _look(self, seen: StepReport) -> None:
        """Between steps: show progress, checkpoint if it is time, stop if asked."""
        seen.validation, seen.density, seen.series = *self._standing(), self.series
        self.report(seen)
        stop = self.runner.substrate.any(self.runner.stopping())
        if stop or monotonic() - self._saved >= self.runner.checkpoint_seconds:
            self._checkpoint()
        if stop:
            raise Interrupted

    def _standing(self) -> tuple[Mapping[str, float], float | None]:
        """Newest validation scores and mean hard density of this phase, as far as there are any."""

        def newest(curve: str) -> Any:
            return next((row for row in self.series[curve][-1:] if row[0] == self.program_phase), None)

        evaluated, recorded = newest("evaluations"), newest("densities")
        scores = evaluated[3] if evaluated and evaluated[2] == "validation" else {}
        if recorded is None:
            return scores, None
        sizes = {connection.name: connection.size for connection in weights_among(self.network.connections)}
        return scores, sum(sizes[name] * pair[0] for name, pair in recorded[2].items()) / max(1, sum(sizes.values()))

    def _checkpoint(self) -> None:
        """Save everything that a restart needs to go on bit-identically."""
        network, trainer = self.network, self.trainer
        trainer.density.advance(trainer.step)
        self._tally()
        state = {
            "format": CHECKPOINT,
            "stage": self.stage.hash,
            "phase": self.index,
            "network": network.state(self.weights.state()),
            "series": self.series,
            "training": {
                "step": trainer.step,
                "updates": trainer.updates,
                "losses": trainer.losses,
                "optimizers": trainer.optimizers.state_dict(),
                "density": trainer.density.state_dict(),
                "best": self.best,
                "checked": self.checked,
                "random": random_state(),
            },
        }
        if self.runner.substrate.rank == 0:
            self.runner.store.save_checkpoint(self.stage.hash, self.program_phase * 10**9 + trainer.step, state)
        self._saved = monotonic()

    def _tally(self) -> None:
        spent = self.network.spent
        spent.seconds = self.clock.seconds - (self.trainer.elsewhere if self.phase.steps else 0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if self.runner.substrate.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated()
        spent.peak_memory_bytes = max(spent.peak_memory_bytes, peak)

    def _check(self, step: int) -> None:
        """Evaluate between steps; keep the state if it is the best so far and this stage chooses."""
        self._record_densities(step)
        self._note(step)
        evaluation = self.cell.evaluation
        split: Split = "test" if evaluation.select == "best_test" else "validation"
        values: Mapping[str, float] = {}
        beyond: Mapping[str, str] = {}
        if type(self.benchmark).evaluate is not Benchmark.evaluate:  # some only offer training data
            found = self.runner.evaluate(self.network, self.weights, self.benchmark, split, evaluation.masks)
            # The first process's, so that all of them choose alike.
            values, beyond = self.runner.substrate.first((found.values, found.not_finite))
        self.series["evaluations"].append([self.program_phase, step, split, values])
        if not self.stage.chooses:
            return
        primary = next(iter(self.benchmark.metrics), None)
        if primary is not None and primary.name in beyond:  # never the best
            return
        if primary is None or primary.name not in values or primary.direction == "none":
            raise HarnessError(
                f"evaluation.select is '{evaluation.select}', but benchmark '{self.cell.training_part.label}' has no "
                f"{split} score to choose by: give it a validation split, or select: final"
            )
        value, exact = values[primary.name] * (1 if primary.direction == "max" else -1), self._exact()
        if self.best is None or (exact, value) > (self.best.get("exact", True), self.best["value"]):
            state = {name: tensor.clone() for name, tensor in self.weights.state().items()}
            masks = self.weights.masks.packed() if self.weights.masks is not None else None
            method = _cloned(self.network.method_state())
            self.best = {
                "value": value,
                "exact": exact,
                "step": step,
                "weights": state,
                "masks": masks,
                "method": method,
            }

    def _exact(self) -> bool:
        """Whether the masks keep the count that was asked for, as methods that prune while they train do at last.

        A checkpoint that does is chosen before any that does not, however good that is.
        """
        network = self.network
        budget = network.context.budget if self.phase.hooks else None
        if budget is None:
            return True
        kept = network.final_masks().kept
        return sum(kept[c.name] for c in weights_among(network.connections)) == budget.keep

    def _record_densities(self, step: int) -> None:
        """Hard and soft density per connection with weights, for methods that change them while training."""
        network = self.network
        if not self.phase.hooks or not network.connections:
            return
        table = network.densities(network.final_masks())
        curve = {name: [row.hard, row.soft] for name, row in table.items() if row.kind == "weight"}
        self.series["densities"].append([self.program_phase, step, curve])

    def _note(self, step: int) -> None:
        """Keep what masks and weights are now, where a suite wants to know when they settle."""
        if self.settling is not None and self.runner.substrate.rank == 0:
            network = self.network
            masks = network.final_masks() if self.phase.hooks else network.current.hard
            device = self.runner.substrate.device
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                self.settling.note(step, self.weights, masks)

    def _finish(self) -> None:
        """End of the phase: the chosen weights go back into the module in their raw form."""
        network = self.network
        if self.best is None and self.checked and self.stage.chooses:
            raise BadScore(
                f"evaluation.select is '{self.cell.evaluation.select}', but '{self.cell.training_part.label}' had no "
                "finite score to choose by at any check"
            )
        network.spent.steps += self.phase.steps
        examples = self.phase.steps * self.cell.training.batch_size
        if self.phase.steps:
            for name, parameter in self.weights.trained.items():
                if not bool(torch.isfinite(parameter.detach()).all()):
                    raise Diverged(self.phase.steps, _not_finite(parameter), f"weights of {name}")
            self.trainer.density.advance(self.phase.steps)
            if self.trainer.updates is not None:
                network.spent.mask_updates = (network.spent.mask_updates or 0) + self.trainer.updates
            network.trained = {
                "examples": examples,
                "soft": network.soft and network.method.soft_densities() is not None,
                "dense_gradients": network.method.dense_gradient_share if self.phase.hooks else 0.0,
                "densities": self.trainer.density.means(),
            }
        network.spent.examples += examples
        network.position += examples
        if self.settling is not None and self.runner.substrate.rank == 0:
            rows, network.history = self.settling.concluded([0, *self._checks()])
            self.series.setdefault("settling", []).extend(rows)
        if self.best is not None:
            if self.best["masks"] is not None:  # first, or weights that have closed since would be cleared
                shapes = {c.name: c.shape for c in network.connections}
                self.weights.hold(Masks.unpacked(self.best["masks"], shapes).to(network.context.device))
            self.weights.load(self.best["weights"])
            network.load_method(self.best["method"])
            self.series["evaluations"].append([self.program_phase, self.best["step"], "chosen", {}])
        self.weights.put_back()
        self._tally()


def _not_finite(tensor: torch.Tensor) -> float:
    flat = tensor.detach().flatten()
    return float(flat[~torch.isfinite(flat)][0])


def _cloned(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return tree.detach().clone()
    if isinstance(tree, Mapping):
        return {key: _cloned(value) for key, value in tree.items()}
    return [_cloned(value) for value in tree] if isinstance(tree, list | tuple) else tree
