"""A method on the toy network in float64, one optimizer step at a time, and what naive loops need beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import (
    CurrentMasks,
    DataSpec,
    DensityBudget,
    Masks,
    MethodContext,
    NoOptions,
    Prune,
    SparsityMethod,
    Train,
    TrainingBudget,
    select,
)
from harness.stages.network import initial_module
from harness.suites.schema import Training
from harness.testing.toy import ToyArchitecture, ToyData
from harness.training.distributed import Substrate
from harness.training.sampler import Sampler
from harness.training.trainer import Trainer
from harness.training.weights import Weights

CPU, BATCH, LAYERS = torch.device("cpu"), 8, 3


class _Doubled(ToyData):
    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        inputs, targets = super().batch(indices)
        return inputs.double(), targets


class DoubleTraining:
    """The last phase of a method's program, after its prunings.

    Args:
        method: whose program has only ``Prune`` before its training.
        density: in [0, 1].
        steps: of the training.
        training: keys of a suite's ``training``; the rate is constant.
    """

    def __init__(self, method: SparsityMethod[Any], density: float, steps: int, **training: Any) -> None:
        architecture = ToyArchitecture(NoOptions(), DataSpec("classification", (8,), 4, examples=32))
        self.module = initial_module(architecture, seed=0).double()
        self.data, self.sampler = _Doubled(architecture.data), Sampler(32, 1)
        self.connections = tuple(architecture.connections())
        self.budget = DensityBudget.of(density, self.connections)
        parameters = dict(self.module.named_parameters())
        raw = {c.parameter: parameters[c.parameter] for c in self.connections}
        current = CurrentMasks(self.connections)
        self.context = MethodContext(self.module, self.connections, raw, current, self.budget, None, 5, CPU)
        method.attach(self.context)
        *prunings, phase = method.program(TrainingBudget(steps, BATCH, density))
        for prune in prunings:
            assert isinstance(prune, Prune)
            chosen = select(method.scores(self.context), self.budget, self.connections, prune.distribution)
            found = method.refine(chosen, self.context)
            assert isinstance(found, Masks)
            current.hard = found
        self.context.phase = len(prunings)
        assert isinstance(phase, Train)
        self.weights = Weights(self.module, self.connections, current, method)
        self.context.raw = self.weights.inputs
        self.trainer = Trainer(
            weights=self.weights,
            method=method,
            context=self.context,
            data=self.data,
            sampler=self.sampler,
            training=Training(steps=steps, batch_size=BATCH, schedule="constant", **training),
            phase=phase,
            substrate=Substrate(0, 1, CPU),
        )

    def step(self) -> None:
        """Take one more."""
        self.trainer.run(lambda _: None, until=self.trainer.step + 1)

    @property
    def masks(self) -> list[Tensor]:
        """Those that hold now, layer by layer."""
        return [self.context.masks[c.name].clone() for c in self.connections]

    @property
    def raw(self) -> list[Tensor]:
        """Raw weights, layer by layer, then biases."""
        weights = [self.weights.raw[c.parameter].detach().clone() for c in self.connections]
        return weights + [self.module.get_parameter(f"layers.{i}.bias").detach().clone() for i in range(LAYERS)]

    def moments(self, name: str) -> list[Tensor]:
        """A state of the optimizer for each layer's weights."""
        (optimizer,) = self.trainer.optimizers.all
        return [optimizer.state[self.weights.raw[c.parameter]][name] for c in self.connections]

    def gradients(self, values: list[Tensor], step: int) -> list[Tensor]:
        """Of the loss of a step's batch by weights and biases, by plain autograd."""
        inputs, targets = self.data.batch(self.sampler.indices(step * BATCH, BATCH))
        leaves = [value.clone().requires_grad_() for value in values]
        x = inputs
        for i in range(LAYERS):
            x = x @ leaves[i].t() + leaves[LAYERS + i]
            x = x.relu() if i < LAYERS - 1 else x
        return list(torch.autograd.grad(cross_entropy(x, targets), leaves))


class Sgd:
    """With momentum; decay for weights alone."""

    def __init__(self, values: list[Tensor], lr: float, momentum: float, decay: float) -> None:
        self.states = [[torch.zeros_like(value)] for value in values]
        self.lr, self.momentum, self.decay = lr, momentum, decay

    def step(self, values: list[Tensor], gradients: list[Tensor]) -> None:
        for value, gradient, (velocity,) in zip(values, gradients, self.states, strict=True):
            decay = self.decay if value.ndim > 1 else 0.0
            velocity.copy_(self.momentum * velocity + gradient + decay * value)
            value -= self.lr * velocity


class AdamW:
    """Decay for weights alone."""

    def __init__(self, values: list[Tensor], lr: float, betas: tuple[float, float], eps: float, decay: float) -> None:
        self.states = [[torch.zeros_like(value) for _ in range(2)] for value in values]
        self.lr, self.betas, self.eps, self.decay, self.steps = lr, betas, eps, decay, 0

    def step(self, values: list[Tensor], gradients: list[Tensor]) -> None:
        self.steps += 1
        (a, b), t = self.betas, self.steps
        for value, gradient, (first, second) in zip(values, gradients, self.states, strict=True):
            value -= self.lr * (self.decay if value.ndim > 1 else 0.0) * value
            first.copy_(a * first + (1 - a) * gradient)
            second.copy_(b * second + (1 - b) * gradient**2)
            value -= self.lr * (first / (1 - a**t)) / ((second / (1 - b**t)).sqrt() + self.eps)


Choose = Callable[[int, list[Tensor], list[Tensor], list[Tensor], list[Tensor]], list[Tensor] | None]
"""(step, values before the optimizer's step, values after it, gradients, masks) to new masks or None."""


def follow(run: DoubleTraining, steps: int, optimizer: Sgd | AdamW, choose: Choose, *, dense: bool = False) -> int:
    """Train naively beside ``run`` and compare after every step; how many weights masks opened.

    Projected: gradients of masked weights are zero, and what opens or closes has fresh state. ``dense``: gradients and
    state know nothing of masks. Either way what masks close is zero after the step.
    """
    values, masks, opened = run.raw, run.masks, 0
    for t in range(steps):
        gradients = run.gradients(values, t)
        before = [value.clone() for value in values]
        held = [g if dense or i >= LAYERS else g * masks[i] for i, g in enumerate(gradients)]
        optimizer.step(values, held)
        new = choose(t, before, values, gradients, masks) or masks
        for i in range(LAYERS):
            opened += int((new[i] & ~masks[i]).sum())
            for state in optimizer.states[i] if not dense else ():
                state[new[i] != masks[i]] = 0
            values[i][~new[i]] = 0
        masks = [mask.clone() for mask in new]
        run.step()
        for i, (found, expected) in enumerate(zip(run.masks, masks, strict=True)):
            assert torch.equal(found, expected), f"masks of layer {i} after step {t}"
        for i, (found, expected) in enumerate(zip(run.raw, values, strict=True)):
            assert torch.allclose(found, expected, rtol=0, atol=1e-11), f"values {i} after step {t}"
    return opened


def ranked(values: Tensor, among: Tensor, *, largest: bool) -> list[tuple[int, ...]]:
    """Indices of a bool tensor's entries in the order of their values."""
    indices = [tuple(index) for index in among.nonzero().tolist()]
    return sorted(indices, key=lambda index: float(values[index]), reverse=largest)


def only(indices: Iterable[tuple[int, ...]], shape: torch.Size) -> Tensor:
    """The mask that keeps these."""
    mask = torch.zeros(shape, dtype=torch.bool)
    for index in indices:
        mask[index] = True
    return mask
