"""What the tests of learned masks and thresholds share: a context made by hand, and small cells on digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from harness import Band, Connection, CurrentMasks, DataSpec, DensityBudget, MethodContext
from harness.registry.plugins import Registry
from harness.stages.graph import PlannedCell, compile_graph
from harness.suites.suite import load_suite

SHAPES = {"a": (6, 5), "b": (4, 6)}


def connection(name: str, shape: tuple[int, ...], depth: int = 1) -> Connection:
    bands = Band(f"{name}.in", shape[1], depth), Band(f"{name}.out", shape[0], depth + 1)
    return Connection(name, name, "dense", *bands, shape)


def context_of(
    shapes: dict[str, tuple[int, ...]] = SHAPES, budget: DensityBudget | None = None, examples: int = 100, seed: int = 0
) -> MethodContext:
    """Raw weights in float64, normal, one parameter a connection; the first one reads the input."""
    generator = torch.Generator().manual_seed(seed)
    connections = tuple(connection(name, shape, depth) for depth, (name, shape) in enumerate(shapes.items()))
    raw = {c.name: torch.randn(c.shape, generator=generator, dtype=torch.float64) for c in connections}
    return MethodContext(
        model=nn.Module(),
        connections=connections,
        raw=raw,
        current=CurrentMasks(connections),
        budget=budget,
        source=None,
        seed=seed,
        device=torch.device("cpu"),
        steps=100,
        data=DataSpec("classification", (5,), 4, examples),
    )


def gradients(method: Any, context: MethodContext, outward: dict[str, Tensor]) -> tuple[dict[str, Tensor], ...]:
    """Effective weights, and the raw weights' gradient of the sum of ``outward`` times them."""
    raw = {name: tensor.clone().requires_grad_() for name, tensor in context.raw.items()}
    effective = method.effective(raw, context.connections)
    torch.stack([(outward[name] * effective[name]).sum() for name in raw]).sum().backward()
    found = {name: tensor.grad for name, tensor in raw.items() if tensor.grad is not None}
    return {name: tensor.detach() for name, tensor in effective.items()}, found


def random_like(context: MethodContext, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {c.name: torch.randn(c.shape, generator=generator, dtype=torch.float64) for c in context.connections}


def cell_on_digits(folder: Path, registry: Registry, steps: int = 30, **method: Any) -> PlannedCell:
    """A cell of an mlp of 1,184 weights."""
    described = {
        "architectures": {"mlp": {"hidden": [16]}},
        "benchmarks": ["digits"],
        "seeds": [3],
        "training": {"steps": steps, "batch_size": 16, "lr": 0.01, "weight_decay": 0.1},
        "evaluation": {"checks": 2},
        "methods": {"one": method},
    }
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(described))
    (planned,) = compile_graph(load_suite(path, registry).cells, registry).cells
    return planned
