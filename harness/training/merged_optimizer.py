"""One optimizer step of several networks."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.training.optimizers import Optimizers


class MergedOptimizer:
    """Steps the optimizers of several networks by as few kernels as their settings allow.

    Every number becomes what its own optimizer would make of it, to the bit. State stays where it was: checkpoints,
    and resets of what a mask has changed, go on as if each network were alone.

    Args:
        members: those to step, each with a key; those of the same key follow the same schedule, at the same step.
    """

    def __init__(self, members: Sequence[tuple[Hashable, Optimizers]]) -> None:
        self._home: dict[Tensor, dict[Any, Any]] = {}
        first: dict[tuple[type[torch.optim.Optimizer], Hashable], dict[str, Any]] = {}
        parameters: dict[Hashable, list[Tensor]] = {}
        for key, member in members:
            for number, optimizer in enumerate(member.all):
                self._home |= {p: optimizer.state for group in optimizer.param_groups for p in group["params"]}
                for peak, group in zip(member.peaks[number], optimizer.param_groups, strict=True):
                    settings = repr([group[name] for name in group if name not in ("params", "lr")])
                    alike = (type(optimizer), (key, peak, settings))
                    first.setdefault(alike, group)
                    parameters.setdefault(alike, []).extend(group["params"])
        self._all: list[tuple[torch.optim.Optimizer, list[dict[str, Any]]]] = []
        for kind in dict.fromkeys(kind for kind, _ in first):
            own = [alike for alike in first if alike[0] is kind]
            merged = kind([{**first[alike], "params": parameters[alike]} for alike in own], lr=0.0)  # type: ignore[call-arg]
            for parameter in (p for alike in own for p in parameters[alike]):
                if parameter in self._home[parameter]:
                    merged.state[parameter] = self._home[parameter][parameter]
            self._all.append((merged, [first[alike] for alike in own]))

    def step(self) -> None:
        """One step at the rates that :meth:`Optimizers.prepare` has set for the members."""
        for optimizer, own in self._all:
            for merged, group in zip(optimizer.param_groups, own, strict=True):
                merged["lr"] = group["lr"]
            known = len(optimizer.state)
            optimizer.step()
            if len(optimizer.state) > known:
                for parameter, state in optimizer.state.items():
                    self._home[parameter][parameter] = state
