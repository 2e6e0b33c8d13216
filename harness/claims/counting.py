"""Numbers that follow from a network and a method by building them, on torch's meta device: nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from torch import nn

from harness.claims.schema import Count
from harness.core.architecture import Architecture
from harness.core.connections import Connection
from harness.core.current_masks import CurrentMasks
from harness.core.data import DataSpec
from harness.core.method import SparsityMethod, TrainingBudget
from harness.core.method_context import MethodContext
from harness.core.phases import Prune
from harness.errors import UserError
from harness.suites.cell import Scope, in_scope
from harness.suites.schema import Named
from harness.suites.wrong_value import wrong_value

if TYPE_CHECKING:
    from harness.registry.plugins import Registry


def counted(count: Count, registry: Registry) -> float:
    """What a :class:`~harness.claims.schema.Count` asks for.

    Raises:
        UserError: if a plugin does not exist or does not take these options or this data, or has no such units.
    """
    spec = DataSpec(count.data.kind, count.data.inputs, count.data.outputs, examples=1)
    architecture: Architecture[Any] = _plugin(registry, "architecture", count.architecture, spec)
    if reason := architecture.unsupported():
        raise UserError(f"architecture '{count.architecture.use}' {reason}")
    scope: Scope = tuple(count.scope) if isinstance(count.scope, list) else count.scope
    connections = in_scope(scope, architecture.connections())
    size = sum(connection.size for connection in connections)
    if count.count == "connections":
        return size
    if count.count == "units":
        return _units(architecture, count)
    with torch.device("meta"):
        model = architecture.build()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if count.count == "parameters":
        return parameters
    if count.count == "parameters_left":
        return parameters - size + round(count.density * size)
    assert count.method is not None
    method: SparsityMethod[Any] = _plugin(registry, "method", count.method)
    if count.count == "program_density":
        return _program_density(method)
    own = _own_parameters(method, model, connections, architecture)
    if count.count == "own_parameters":
        return own
    return parameters + own if count.count == "parameters_with_own" else size / own


def _units(architecture: Architecture[Any], count: Count) -> int:
    groups = architecture.units()
    if count.kind is not None and count.kind not in (kinds := sorted({group.kind for group in groups})):
        raise UserError(
            f"architecture '{count.architecture.use}' has no units of the kind {count.kind!r}, only: {', '.join(kinds)}"
        )
    return sum(group.count for group in groups if count.kind in (None, group.kind))


def _plugin(registry: Registry, kind: Any, entry: Named, *arguments: Any) -> Any:
    assert entry.use is not None
    cls = registry.get(kind, entry.use)
    try:
        return cls(cls.Options.model_validate(entry.options), *arguments)
    except ValidationError as error:
        text = wrong_value(error, cls.Options, lambda _: tuple(cls.Options.model_fields))
        raise UserError(f"{kind} '{entry.use}': {text}") from error


def _own_parameters(
    method: SparsityMethod[Any], model: nn.Module, connections: Sequence[Connection], architecture: Architecture[Any]
) -> int:
    """Numbers that the method trains beside the network's weights."""
    every = architecture.connections()
    bands = 1 + max(band.depth for connection in every for band in (connection.source, connection.target))
    method.attach(
        MethodContext(
            model=model,
            connections=tuple(connections),
            raw=dict(model.named_parameters()),
            current=CurrentMasks(connections, "meta"),
            budget=None,
            source=None,
            seed=0,
            device=torch.device("cpu"),
            bands=bands,
            units=architecture.units(),
        )
    )
    return sum(parameter.numel() for group in method.parameter_groups() for parameter in group.parameters)


def _program_density(method: SparsityMethod[Any]) -> float:
    """What a program's prunings leave, each a fraction of what remains."""
    density = 1.0
    for phase in method.program(TrainingBudget(steps=1, batch_size=1)):
        if isinstance(phase, Prune):
            if phase.fraction is None:
                raise UserError(f"{type(method).__name__} does not prune by fractions: its program has no density")
            density *= 1 - phase.fraction
    return density
