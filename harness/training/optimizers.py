"""Optimizers and learning-rate schedules: the same parameter groups for every method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.core.method import ParameterGroup

if TYPE_CHECKING:
    from harness.core.phases import Train
    from harness.suites.schema import Training


def rate(
    step: int, steps: int, schedule: str, warmup: int = 0, final: float = 0.0, cooldown: int | None = None
) -> float:
    """Learning rate as a fraction of the peak at optimizer step ``step`` of ``steps`` (counted from 0).

    Linear warm-up over ``warmup`` steps, then ``cosine`` or ``linear`` down to ``final`` (a fraction of
    the peak, reached one step after the last), or ``constant``; with a ``cooldown`` the latter goes down to
    ``final`` linearly over the last so many steps.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    if schedule == "cosine":
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "linear":
        return 1 - (1 - final) * progress
    if cooldown is not None and step > steps - cooldown:
        return 1 - (1 - final) * (step - (steps - cooldown)) / cooldown
    return 1.0


class Optimizers:
    """The optimizer of the weights, and Adam for a method's own parameters.

    Weight decay applies to parameters of two or more dimensions, never to biases and norms, for every
    method alike. Clipping covers the weights, not a method's own parameters: its size must not change
    how the weights are trained.

    Attributes:
        all: the optimizers.
        peaks: per optimizer and group the rate at the peak, and whether it follows the ``same`` schedule as weights.
    """

    def __init__(
        self,
        weights: Sequence[nn.Parameter],
        method_groups: Sequence[ParameterGroup],
        training: Training,
        phase: Train,
    ) -> None:
        self._begin, self._steps = phase.begin, phase.whole
        self.clip_norm = training.clip_norm
        self._weights = [p for p in weights if p.requires_grad]
        self._schedule = phase.schedule or training.schedule
        self._warmup = training.warmup_steps if phase.schedule is None else 0
        self._final = training.final_lr
        self._cooldown = training.cooldown_steps if phase.schedule is None else None
        peak = training.lr if phase.lr is None else phase.lr
        decay = training.weight_decay if phase.weight_decay is None else phase.weight_decay
        groups = [
            {"params": [p for p in self._weights if p.ndim >= 2], "lr": peak, "weight_decay": decay},
            {"params": [p for p in self._weights if p.ndim < 2], "lr": peak, "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        self.peaks: list[list[tuple[float, str]]] = [[(peak, "same")] * len(groups)]
        own = [_own(group) for group in method_groups]
        peaks: list[tuple[float, str]] = [(group.lr, group.schedule) for group in method_groups]
        if training.optimizer != "sgd" and not any(group.weight_decay for group in method_groups):
            # Without decay Adam and AdamW are the same, and one optimizer's step is shorter than two's.
            groups, own = groups + own, []
            self.peaks[0] = self.peaks[0] + peaks
        self.all: list[torch.optim.Optimizer] = [_make(training, groups)]
        if own:
            self.all.append(torch.optim.AdamW(own, fused=True))
            self.peaks.append(peaks)

    def zero_grad(self) -> None:
        """Forget gradients of everything that is optimised."""
        for optimizer in self.all:
            optimizer.zero_grad(set_to_none=True)

    def prepare(self, step: int) -> float:
        """Clip, and set the scheduled rates of optimizer step ``step`` (from 0); returns the weights' rate."""
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._weights, self.clip_norm)
        fraction = rate(self._begin + step, self._steps, self._schedule, self._warmup, self._final, self._cooldown)
        for optimizer, peaks in zip(self.all, self.peaks, strict=True):
            for group, (peak, schedule) in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * fraction if schedule == "same" else peak
        return self.peaks[0][0][0] * fraction

    def step(self, step: int) -> float:
        """Clip, take optimizer step ``step`` (from 0) at its scheduled rate; returns the weights' rate."""
        rate = self.prepare(step)
        for optimizer in self.all:
            optimizer.step()
        return rate

    def reset(self, parameter: nn.Parameter, changed: Tensor) -> None:
        """Zero the state (momentum and the like) of the entries of ``parameter`` that are ``changed``."""
        for optimizer in self.all:
            for value in optimizer.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    value[changed] = 0

    def state_dict(self) -> list[dict[str, Any]]:
        """State of every optimizer, for a checkpoint."""
        return [optimizer.state_dict() for optimizer in self.all]

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """The inverse of :meth:`state_dict`; settings stay this optimizer's own.

        Raises:
            ValueError, and others of torch: for the state of other parameters.
        """
        for optimizer, state in zip(self.all, states, strict=True):
            settings = [{key: group[key] for key in group if key != "params"} for group in optimizer.param_groups]
            optimizer.load_state_dict(dict(state))
            for group, own in zip(optimizer.param_groups, settings, strict=True):
                group.update(own)
            sgd = isinstance(optimizer, torch.optim.SGD)
            names = ("momentum_buffer",) if sgd else ("step", "exp_avg", "exp_avg_sq")
            for parameter, found in optimizer.state.items():
                for key in names:
                    if not sgd or found.get(key) is not None:  # without momentum there is none
                        found[key] = _like(found[key], parameter, scalar=key == "step")


def _like(value: Any, parameter: Tensor, scalar: bool) -> Any:
    """State as fused kernels want it: they walk through memory, so it must be as large as its parameter and lie so."""
    if value.shape != (() if scalar else parameter.shape) or not value.is_floating_point():
        raise ValueError(f"state of the shape {tuple(value.shape)} for a parameter of {tuple(parameter.shape)}")
    return value if scalar else torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _own(group: ParameterGroup) -> dict[str, Any]:
    """A method's parameters: Adam with its usual settings, whatever those of the weights are."""
    settings = {"lr": group.lr, "weight_decay": group.weight_decay, "betas": (0.9, 0.999), "eps": 1e-8}
    return {"params": list(group.parameters), **settings}


def _make(training: Training, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=training.lr, momentum=training.momentum, fused=True)
    kind = torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=training.lr, betas=training.betas, eps=training.eps, fused=True)
