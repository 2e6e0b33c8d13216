"""Seconds of optimizer steps, from a few that are really taken, on random examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from harness.core.connections import weights_among
from harness.core.densities import select
from harness.core.phases import Prune, Train
from harness.stages.network import NetworkBuilder
from harness.stages.store import StageStore
from harness.training.distributed import Substrate
from harness.training.sampler import Sampler
from harness.training.trainer import WINDOW, Trainer

if TYPE_CHECKING:
    from harness.core.data import DataSpec
    from harness.registry.plugins import Registry
    from harness.stages.graph import Stage

SECONDS = 5.0
"""That all timings of a suite may take together: after that no other one begins."""
EACH = 0.3
"""Most seconds over which steps of one kind are timed, once its network is built and warm."""
DENSITY = 0.1
"""Of masks whose density another cell decides."""


class Timed(NamedTuple):
    """A step that is to be timed.

    Attributes:
        stage: of which it is one.
        spec: shape of its data.
        composed: whether its method composes weights.
        own: whether the step is its method's own.
    """

    stage: Stage
    spec: DataSpec
    composed: bool
    own: bool


def short_timing(
    steps: Sequence[Timed],
    registry: Registry,
    device: torch.device,
    seconds: float = SECONDS,
    clock: Callable[[], float] = perf_counter,
) -> Iterator[tuple[int, float]]:
    """Index and mean seconds of each step, at the beginning of a training.

    The mean and not the best: what else runs on this machine will slow the training too. The beginning and not the
    middle: to choose the largest of weights that were not trained up to there can take five times as long. Left out
    are those for which no time was left, and those that cannot be tried without real data or an earlier stage.

    Args:
        steps: the most important ones first.
        registry: the plugins.
        device: to take the steps on.
        seconds: for all of them together.
        clock: seconds that never go back.
    """
    end = clock() + seconds
    for index, timed in enumerate(steps):
        share = min(EACH, (end - clock()) / (len(steps) - index))
        if share <= 0:
            break
        torch.set_num_threads(timed.stage.cell.training.threads)
        torch.manual_seed(0)
        try:
            taken = step_seconds(trainer_of(timed, registry, device), share, clock)
        except Exception:  # what a plugin raises that needs more than this has no end
            continue
        yield index, taken


def step_seconds(trainer: Trainer, seconds: float, clock: Callable[[], float] = perf_counter) -> float:
    """Mean time of a phase's steps, over about so many ``seconds``, after the first one, which warms up."""
    end = trainer.phase.steps

    def take(most: int) -> int:
        begin = trainer.step % end  # a phase that is too short begins anew
        trainer.step = begin
        trainer.run(lambda _: None, until=min(begin + most, end))
        return trainer.step - begin

    take(1)
    start, chunk = clock(), 2
    taken = take(1)
    while (total := clock() - start) < seconds:
        taken += take(chunk)
        chunk = min(2 * chunk, WINDOW)
    return total / taken


def trainer_of(timed: Timed, registry: Registry, device: torch.device) -> Trainer:
    """A trainer of a stage's last training, from initial weights, on random examples.

    Where a method with a step of its own begins with masks, they are random.
    """
    stage, spec, training = timed.stage, timed.spec, timed.stage.cell.training
    density = stage.cell.density
    if density is None and registry.get("method", stage.cell.method_part.plugin).takes_density == "required":
        density = DENSITY
    part = replace(stage.cell.architecture_part, weights=None)
    cell = replace(stage.cell, architecture_part=part, match=None, source=None, density=density)
    alone = replace(stage, cell=cell, parent=None, density_from=None, source_from=None)
    network = NetworkBuilder(registry, StageStore(Path()), device).build(alone, spec)
    context = network.context
    begins_masked = stage.parent is not None or any(isinstance(phase, Prune) for phase in stage.phases)
    if timed.own and not timed.composed and begins_masked and context.budget is not None:
        scores = {c.name: torch.rand(c.shape) for c in weights_among(network.connections)}
        network.current.hard = select(scores, context.budget, weights_among(network.connections), "uniform").to(device)
    phase = next(phase for phase in reversed(stage.phases) if isinstance(phase, Train))
    data = RandomExamples(spec, 2 * training.batch_size, device)
    return Trainer(
        weights=network.begin_phase(phase.hooks),
        method=network.method if phase.hooks else None,
        context=context,
        data=data,
        sampler=Sampler(len(data), cell.seed),
        training=training,
        phase=phase,
        substrate=Substrate(0, 1, device),
    )


class RandomExamples:
    """``count`` training examples of a shape, in the device's memory."""

    def __init__(self, spec: DataSpec, count: int, device: torch.device) -> None:
        shape, drawn = (count, *spec.inputs), torch.rand((count, *spec.targets))
        self._inputs = (torch.randint(spec.token_ids, shape) if spec.token_ids else torch.rand(shape)).to(device)
        self._targets = (drawn if spec.real_targets else (drawn * spec.outputs).long()).to(device)

    def __len__(self) -> int:
        return len(self._inputs)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`harness.core.data.TrainingData`."""
        indices = indices.to(self._inputs.device)
        return self._inputs[indices], self._targets[indices]
