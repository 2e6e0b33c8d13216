"""The training loop and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.core.connections import weights_among
from harness.core.data import TrainingData
from harness.core.method import ParameterGroup, SparsityMethod
from harness.core.method_context import MethodContext
from harness.core.phases import Train
from harness.core.returned import require_list, require_terms
from harness.errors import Diverged
from harness.training.density_meter import DensityMeter
from harness.training.distributed import Substrate
from harness.training.optimizers import Optimizers
from harness.training.sampler import Sampler
from harness.training.weights import Weights

if TYPE_CHECKING:
    from harness.suites.schema import Training

WINDOW = 20
"""Optimizer steps between two looks at the losses: a look waits for the device."""
PATIENCE = 2.0
"""Seconds after which to look even within a window."""


@dataclass(slots=True)
class StepReport:
    """What a look at the losses found: the mean over the window, the rate, and where training stands.

    Whoever runs the phase may add the newest ``validation`` scores, the mean hard ``density``, and the ``series`` of
    the program so far, which are not to be changed.
    """

    step: int
    steps: int
    loss: float
    lr: float
    validation: Mapping[str, float] = field(default_factory=dict)
    density: float | None = None
    series: Mapping[str, Any] = field(default_factory=dict)


class Trainer:
    """Trains one phase.

    Args:
        weights: of the network; in composed mode with the phase's method.
        method: the method whose hooks run, or None to hold the current masks.
        context: what the method sees; its ``step`` and ``steps`` are kept current here.
        data: the training examples.
        sampler: which examples make up which batch.
        training: batch size, precision, clipping.
        phase: how long, at which rate.
        substrate: the processes that share each batch.
        position: examples that the program consumed before this phase.

    Attributes:
        density: mean density of each connection over the steps done; soft masks, which zero nothing, are not looked at.
        lr: the weights' rate at the last step.
        random: state of torch's generators while other trainings go on in this process.
        elsewhere: seconds that this process has spent on those.
        packed: how many networks, this one included, took steps together at most.
        updates: how often the method has changed masks after a step; None where it never does, or composes.
    """

    def __init__(
        self,
        *,
        weights: Weights,
        method: SparsityMethod[Any] | None,
        context: MethodContext | None,
        data: TrainingData,
        sampler: Sampler,
        training: Training,
        phase: Train,
        substrate: Substrate,
        position: int = 0,
    ) -> None:
        self.weights = weights
        self.method = method
        self.context = context
        self.phase = phase
        self.step = self.goal = 0
        self.random: dict[str, Any] = {}
        self.elsewhere = 0.0
        self.packed = 1
        self.data = data
        self.sampler = sampler
        self.training = training
        self.substrate = substrate
        self._begin = position
        self.lr = 0.0
        self.losses: list[Tensor] = []
        groups = method.parameter_groups() if method is not None else ()
        self._name = type(method).__name__
        require_list(
            groups, ParameterGroup, f"{self._name}.parameter_groups()", "[ParameterGroup([self.own], lr=1e-3)]"
        )
        self._updates_masks = _overrides(method, "after_step")
        self.updates: int | None = 0 if self._updates_masks and weights.method is None else None
        self.density = DensityMeter(weights_among(weights.connections), substrate.device)
        self.density.change(weights.masks, 0)
        self._hard = method is not None and method.mode == "composed" and method.soft_densities() is None
        # A clipping norm sums in another order over the kept entries alone, which rounds differently.
        lasting = not self._updates_masks and training.clip_norm is None
        self.optimizers = Optimizers(weights.owned(lasting), groups, training, phase)
        unused = substrate.world > 1 and self._leaves_some_unused()
        module = torch.compile(weights.module) if training.compile else weights.module
        self._module: nn.Module = substrate.wrap(module, unused)  # type: ignore[arg-type]
        self._looks_at_gradients = _overrides(method, "on_gradients")
        self._regularizes = _overrides(method, "regularizers")

    def run(
        self,
        on_window: Callable[[StepReport], None],
        on_look: Callable[[StepReport], None] | None = None,
        until: int | None = None,
    ) -> None:
        """Train from ``self.step`` to ``until`` (default: the phase's end).

        ``on_window`` is called every ``WINDOW`` steps and at the end, with the window's mean loss; ``on_look``
        in between where steps are slow. Both are called between steps, when the state may be saved.

        Raises:
            Diverged: with the first step at which the loss was not finite.
        """
        for leg in self.legs(on_window, on_look, until):
            leg.advance()

    def legs(
        self,
        on_window: Callable[[StepReport], None],
        on_look: Callable[[StepReport], None] | None = None,
        until: int | None = None,
    ) -> Iterator[Trainer]:
        """:meth:`run`, whose steps somebody else takes: yields itself where steps up to ``goal``, or a few, are due."""
        end = self.phase.steps if until is None else until
        self._module.train()
        while self.step < end:
            self.goal = min(end, (self.step // WINDOW + 1) * WINDOW)
            yield self
            if self.step % WINDOW == 0 or self.step == end:
                values = self.substrate.mean(torch.stack(self.losses)).tolist()
                self.losses = []
                if diverged := self._diverged(values, self.step - len(values)):
                    raise diverged
                on_window(StepReport(self.step, self.phase.steps, sum(values) / len(values), self.lr))
            elif on_look is not None and self.substrate.world == 1:
                # One process only: clocks differ, and what follows may wait for all processes.
                on_look(StepReport(self.step, self.phase.steps, float(self.losses[-1]), self.lr))

    def advance(self) -> None:
        """Take steps up to ``goal``, or as many as ``PATIENCE`` allows."""
        began = monotonic()
        while self.step < self.goal:
            loss: Tensor | None = None
            try:
                self.prepare()
                loss = self._gradients()
                self.pull_back()
                self.lr = self.optimizers.step(self.step)
                self.conclude(loss)
            except Exception as error:
                if diverged := self.divergence(loss):
                    raise diverged from error
                raise
            if monotonic() - began > PATIENCE:
                return

    @property
    def position(self) -> int:
        """Where the step's batch begins in the stream of training examples."""
        return self._begin + self.step * self.training.batch_size

    # --- the parts of a step, in order: gradients come after the first, the optimizers' step before the last -------

    def prepare(self) -> None:
        """Before the forward pass: effective weights."""
        if self.context is not None:
            self.context.step, self.context.steps = self.step, self.phase.steps
        self.weights.materialise()
        if self._hard:
            self.density.composed(self.weights.parameters, self.step)

    def pull_back(self) -> None:
        """After the backward pass: gradients of what the optimizers own."""
        if self.method is None or self.context is None:
            self.weights.pull_back()
            return
        if self._looks_at_gradients:
            self.context.dense_gradients = {
                name: gradient
                for name, parameter in self.weights.tensors.items()
                if (gradient := parameter.grad) is not None
            }
            self.method.on_gradients(self.context)
            self.context.dense_gradients = {}
        terms: Mapping[str, Tensor] = self.method.regularizers(self.context) if self._regularizes else {}
        require_terms(terms, f"{self._name}.regularizers()")
        self.weights.pull_back(sum(terms.values(), torch.zeros(())) if terms else None)

    def conclude(self, loss: Tensor) -> None:
        """After the optimizers' step: masks. ``loss`` is the batch's mean, a scalar, detached."""
        self.weights.stepped()
        given = None
        if self.method is not None and self.context is not None and self._updates_masks:
            given = self.method.after_step(self.context)
        if given is None:
            self.weights.clear()
        else:
            assert self.context is not None
            masks = self.context.masks.updated(given, f"{self._name}.after_step()")
            self.weights.hold(masks, self.optimizers.reset)
            self.density.change(masks, self.step + 1)
            self.updates = None if self.updates is None else self.updates + 1
        self.losses.append(loss)
        self.step += 1

    def divergence(self, loss: Tensor | None) -> Diverged | None:
        """Whether a step failed because its ``loss``, one that nobody has looked at yet, or a gradient is not finite.

        Weights become so by a gradient, and the next loss by them: what a method ranks may be worse than every loss.
        """
        losses = self.losses if loss is None else [*self.losses, loss]
        values: list[float] = torch.stack(losses).tolist() if losses else []
        if found := self._diverged(values, self.step - len(self.losses)):
            return found
        for name, parameter in self.weights.module.named_parameters():
            for what, numbers in (("weights", parameter.detach()), ("gradient", parameter.grad)):
                if numbers is not None and not numbers.isfinite().all():
                    worst = float(numbers[~numbers.isfinite()].flatten()[0])
                    return Diverged(self.step + 1, worst, f"the {what} of {name}")
        return None

    def _diverged(self, losses: Sequence[float], first: int) -> Diverged | None:
        """Of the losses of steps from number ``first`` on, the first that is not finite."""
        for step, value in enumerate(losses, first):
            if not math.isfinite(value):
                return Diverged(step + 1, value, cause=self._not_finite(step))
        return None

    def _not_finite(self, step: int) -> str:
        """What of a step's batch holds NaN or infinite numbers, and what to do; "" if all of it is finite."""
        position = self._begin + step * self.training.batch_size
        batch = self.sampler.batch(self.data, position, self.training.batch_size, self.substrate.share)
        named = zip(("inputs", "targets"), batch, strict=True)
        if not (found := [name for name, numbers in named if not numbers.isfinite().all()]):
            return ""
        return (
            f"the {' and '.join(found)} of this batch hold NaN or infinite numbers, as the benchmark gives them: fill "
            "or drop missing values there"
        )

    def _leaves_some_unused(self) -> bool:
        """Whether some parameter takes no part in the loss; changes nothing."""
        module = self.weights.module
        training = module.training
        module.eval()  # no random numbers, no running statistics
        inputs, targets = self.data.batch(self.sampler.indices(0, 1))
        with torch.autocast(self.substrate.device.type, torch.bfloat16, enabled=self.training.precision == "bf16"):
            module(inputs, targets).backward()
        unused = any(p.requires_grad and p.grad is None for p in self.weights.parameters.values())
        for tensor in self.weights.tensors.values():
            tensor.grad = None
        module.train(training)
        return unused

    def _gradients(self) -> Tensor:
        """Accumulate the batch's mean gradient over its micro-batches; the mean loss, detached."""
        self.optimizers.zero_grad()
        position, count = self.position, self.training.micro_batches
        size = self.training.batch_size // count
        total = torch.zeros((), device=self.substrate.device)
        for micro in range(count):
            start = position + micro * size
            inputs, targets = self.sampler.batch(self.data, start, size, self.substrate.share)
            with self.substrate.accumulating(self._module, last=micro == count - 1):
                # Entered per forward: autocast caches weight casts, which go stale when weights change.
                with torch.autocast(
                    self.substrate.device.type, torch.bfloat16, enabled=self.training.precision == "bf16"
                ):
                    loss = self._module(inputs, targets) / count
                loss.backward()
            total += loss.detach()
        for bias in self.weights.biases.values():  # of parameters alone gradients are averaged in backward
            if bias.grad is not None:
                self.substrate.mean(bias.grad)
        return total


class Clock:
    """Seconds spent, over restarts."""

    def __init__(self, before: float = 0.0) -> None:
        self._before = before
        self._start = monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the first start, pauses not counted."""
        return self._before + monotonic() - self._start


def _overrides(method: SparsityMethod[Any] | None, hook: str) -> bool:
    return method is not None and getattr(type(method), hook) is not getattr(SparsityMethod, hook)
